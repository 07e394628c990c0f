"""Decisions about an agent that refuses a subscription, as pure functions."""

import grpc

from a2a_grpc.errors import A2AError, InvalidRequestError, UnsupportedOperationError
from a2a_grpc.protocol import Key

MAX_SEQ_DIGITS = 15
"""The largest number of digits of a place to resume after, as servers read it."""


def may_have_ended(error: A2AError) -> bool:
    """Return True if a stream may have failed because its task has ended.

    A task that has ended cannot be subscribed to (SUB-3). The official SDK says INVALID_PARAMS up to 1.1. If the code
    of an agent raises an exception, the SDK breaks the stream off without a reason.
    """
    match error:
        case UnsupportedOperationError():
            return True
        case InvalidRequestError():
            return not names_place(error)
    return error.code is grpc.StatusCode.UNKNOWN and not error.reason


def place_of(text: str) -> int | None:
    """Return the seq that an entry of metadata gives; None if it is no seq."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_SEQ_DIGITS else None


def names_place(error: InvalidRequestError) -> bool:
    """Return True if a request was refused because of the seq that it wants to resume after."""
    return any(violation.field == Key.AFTER for violation in error.violations)
