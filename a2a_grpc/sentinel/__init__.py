"""The sentinel: one address in front of agents that attach to it from anywhere."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from a2a_grpc.sentinel.agent_settings import AttachSettings, RegisterSettings
from a2a_grpc.sentinel.settings import SentinelSettings

if TYPE_CHECKING:
    from a2a_grpc.sentinel.attachment import Attachment
    from a2a_grpc.sentinel.registration import Registration
    from a2a_grpc.sentinel.rules import Rule, Rules
    from a2a_grpc.sentinel.sentinel import Sentinel
else:
    _HOMES = {
        "Attachment": "a2a_grpc.sentinel.attachment",
        "Rule": "a2a_grpc.sentinel.rules",
        "Rules": "a2a_grpc.sentinel.rules",
        "Registration": "a2a_grpc.sentinel.registration",
        "Sentinel": "a2a_grpc.sentinel.sentinel",
    }

    def __getattr__(name: str) -> Any:
        """Import the module of a name at its first use: the command `serve` needs the settings only."""
        if name not in _HOMES:
            raise AttributeError(f"module 'a2a_grpc.sentinel' has no attribute '{name}'")
        return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "AttachSettings",
    "Attachment",
    "RegisterSettings",
    "Registration",
    "Rule",
    "Rules",
    "Sentinel",
    "SentinelSettings",
]
