"""How a sentinel describes a caller, to agents and to other sentinels."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from a2a_grpc.principal import Principal

PRINCIPAL, END = "principal", "end"
"""The members that describe the caller."""


def description_of(principal: Principal, **more: object) -> bytes:
    """Return JSON that describes a caller. The credentials of the caller are no part of it.

    Args:
        principal: The caller.
        **more: Further members.
    """
    said = {**more, END: principal.expires_at, PRINCIPAL: json.loads(principal.to_json() or "{}")}
    return json.dumps(said, separators=(",", ":")).encode()


def principal_of(said: Mapping[str, Any]) -> Principal:
    """Return the caller that a sentinel has described.

    Args:
        said: The members of the description, whose origin is verified.

    Raises:
        KeyError: A member is missing.
        TypeError: A member is of a wrong type.
        ValueError: A member has a wrong value.
    """
    facts = said[PRINCIPAL]
    return Principal(**{**facts, "claims": MappingProxyType(facts.get("claims", {}))}, expires_at=said.get(END))
