"""What an agent means that refuses a subscription: decisions, as pure functions."""

import grpc

from a2a_grpc.errors import A2AError, InvalidRequestError, UnsupportedOperationError
from a2a_grpc.protocol import Key

MAX_SEQ_DIGITS = 15
"""As many as a server reads of a place to resume after."""


def may_have_ended(error: A2AError) -> bool:
    """Whether the end of the task may be why a stream failed: an ended one cannot be subscribed to (SUB-3; the SDK said
    INVALID_PARAMS up to 1.1), and where an agent raises the SDK breaks the stream off without a reason."""
    match error:
        case UnsupportedOperationError():
            return True
        case InvalidRequestError():
            return not names_place(error)
    return error.code is grpc.StatusCode.UNKNOWN and not error.reason


def place_of(text: str) -> int | None:
    """Return the seq that an entry of metadata gives; None for what cannot be one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_SEQ_DIGITS else None


def names_place(error: InvalidRequestError) -> bool:
    """Whether the request was refused for the seq that it asks to resume after."""
    return any(violation.field == Key.AFTER for violation in error.violations)
