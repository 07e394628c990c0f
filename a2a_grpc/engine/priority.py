"""The priority of a message, which decides when its run gets a place."""

import reprlib
from enum import IntEnum

from a2a_grpc.agent.choice import named_in_metadata
from a2a_grpc.errors import InvalidRequestError, PermissionDeniedError, Violation
from a2a_grpc.principal import Principal
from a2a_grpc.protocol import PRIORITY
from a2a_grpc.wire import SendMessageRequest


class Priority(IntEnum):
    """Which of the runs that wait come first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


NAMES = "'high', 'normal' or 'low'"
_BY_NAME = {priority.name.lower(): priority for priority in Priority}


def priority_of(request: SendMessageRequest) -> Priority:
    """Return the priority that a stored request names; NORMAL for a name that is none."""
    message = request.message
    for holder in (message, request):
        if holder.HasField("metadata") and PRIORITY in holder.metadata.fields:
            return _BY_NAME.get(holder.metadata.fields[PRIORITY].string_value, Priority.NORMAL)
    return Priority.NORMAL


def check_priority(request: SendMessageRequest, principal: Principal, high_scope: str) -> None:
    """Check the priority that a caller asks for.

    Raises:
        InvalidRequestError: The metadata names no priority.
        PermissionDeniedError: The caller does not have the scope that HIGH needs.
    """
    named = named_in_metadata(request, PRIORITY, NAMES)
    if named is None:
        return
    field, name = named
    priority = _BY_NAME.get(name)
    if priority is None:
        raise InvalidRequestError.of(Violation(field, f"is {reprlib.repr(name)}; it must be {NAMES}"))
    if priority is Priority.HIGH and high_scope and high_scope not in principal.scopes:
        raise PermissionDeniedError(
            f"{field} 'high' needs the scope '{high_scope}', which the caller lacks",
            metadata={"field": field, "missing_scopes": high_scope},
        )
