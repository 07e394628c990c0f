"""Decisions about failed calls, as pure functions: may the call be made again, and may its stream go on."""

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import grpc

from a2a_grpc.client.errors import ConnectionLostError, CredentialsUnavailableError, TaskLostError
from a2a_grpc.errors import (
    A2AError,
    InvalidRequestError,
    ResourceExhaustedError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnsupportedOperationError,
)
from a2a_grpc.protocol import Key

if TYPE_CHECKING:
    from a2a_grpc.client.followed import FollowedTask

Passing: TypeAlias = UnavailableError | ResourceExhaustedError
"""The errors after which the same call may succeed."""

MAX_SEQ_DIGITS = 15
"""The largest number of digits of a place to resume after, as servers read it."""


def is_refused_for_now(error: A2AError) -> bool:
    """Return True if a limit of the server has refused the call, and the server says when to send the call again.

    Such a call has changed nothing. Limits that do not pass, such as that for the size of a message, come without a
    time.
    """
    is_limit = isinstance(error, ResourceExhaustedError) and error.reason == ResourceExhaustedError.reason
    return is_limit and error.retry_after_s is not None


def is_passing(error: A2AError) -> bool:
    """Return True if the same call may succeed later."""
    return isinstance(error, UnavailableError) or is_refused_for_now(error)


def is_unsent(error: A2AError) -> bool:
    """Return True if no agent has begun with the call that failed, so that any call may be sent again."""
    if isinstance(error, CredentialsUnavailableError) or is_refused_for_now(error):
        return True
    return isinstance(error, ConnectionLostError) and error.origin.is_unsent


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


class Remedy(Enum):
    """What a stream does about a failed call."""

    RECONNECT = "wait, and begin another call"
    RENEW = "get other credentials"
    POLL = "read the task from time to time"
    SNAPSHOT = "begin another call with a snapshot"
    LOOK = "read the task, which may have ended"
    NONE = "raise the error"


def remedy_for(error: A2AError, *, has_task: bool, has_place: bool, may_renew: bool, may_poll: bool) -> Remedy:
    """Return what a stream does about a failed call.

    Args:
        error: The failure.
        has_task: True if the id of the task is known.
        has_place: True if the call asked for the events after a seq, and a snapshot may come in their place.
        may_renew: True if the call has shown credentials that other ones may replace.
        may_poll: True if the call was a stream, and the agent has not refused streams before.
    """
    match error:
        case UnavailableError():
            return Remedy.RECONNECT
        case UnauthenticatedError() if may_renew:
            return Remedy.RENEW
        case UnsupportedOperationError() | UnimplementedError() if may_poll:
            # A refusal that names a task may be about a message to a task that has ended: the next call says the same.
            if has_task or "task_id" not in error.metadata:
                return Remedy.POLL
        case InvalidRequestError() if has_place and names_place(error):
            return Remedy.SNAPSHOT  # the server knows less of the log than the stream has seen
    if is_refused_for_now(error):
        return Remedy.RECONNECT
    if has_task and (isinstance(error, TaskNotFoundError) or may_have_ended(error)):
        return Remedy.LOOK
    return Remedy.NONE


def given_up(last: UnavailableError, followed: "FollowedTask", limit_s: float) -> ConnectionLostError:
    """Return the error for a task that was lost, after the last of the tries."""
    task = f" following task '{followed.id}'" if followed.id else ""
    how = (
        f", without contact for {limit_s:g} s"
        if isinstance(last, ConnectionLostError)
        else f" after {limit_s:g} s; the agent answered last"
    )
    return ConnectionLostError(f"gave up{task}{how}: {last.message}", task=followed.task)


def gone(followed: "FollowedTask", target: str) -> TaskLostError:
    """Return the error for a task that the server does not know any more."""
    return TaskLostError(
        f"task '{followed.id}' is gone: '{target}' does not know it any more; "
        "was the agent restarted without a durable store?",
        task=followed.task,
    )
