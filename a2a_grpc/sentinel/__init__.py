"""The sentinel: one address in front of agents that attach to it from anywhere."""

from a2a_grpc.sentinel.attachment import Attachment
from a2a_grpc.sentinel.sentinel import Sentinel
from a2a_grpc.sentinel.settings import AttachSettings, SentinelSettings

__all__ = ["AttachSettings", "Attachment", "Sentinel", "SentinelSettings"]
