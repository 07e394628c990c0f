"""Everything that can go wrong on the wire, as one tree of exceptions that carry their wire facts.

    A2AError                                     gRPC status          reason
    ├── TaskNotFoundError                        NOT_FOUND            TASK_NOT_FOUND
    ├── TaskNotCancelableError                   FAILED_PRECONDITION  TASK_NOT_CANCELABLE
    ├── PushNotificationNotSupportedError        FAILED_PRECONDITION  PUSH_NOTIFICATION_NOT_SUPPORTED
    ├── UnsupportedOperationError                FAILED_PRECONDITION  UNSUPPORTED_OPERATION
    ├── ContentTypeNotSupportedError             INVALID_ARGUMENT     CONTENT_TYPE_NOT_SUPPORTED
    ├── InvalidAgentResponseError                INTERNAL             INVALID_AGENT_RESPONSE
    ├── ExtendedAgentCardNotConfiguredError      FAILED_PRECONDITION  EXTENDED_AGENT_CARD_NOT_CONFIGURED
    ├── ExtensionSupportRequiredError            FAILED_PRECONDITION  EXTENSION_SUPPORT_REQUIRED
    ├── VersionNotSupportedError                 FAILED_PRECONDITION  VERSION_NOT_SUPPORTED
    │   (the nine of the specification, §5.4; status codes of 1.0.1: clients key on the reason)
    ├── InvalidRequestError                      INVALID_ARGUMENT     INVALID_PARAMS
    ├── ResourceExhaustedError                   RESOURCE_EXHAUSTED   RESOURCE_EXHAUSTED
    ├── UnavailableError                         UNAVAILABLE          UNAVAILABLE
    ├── UnauthenticatedError                     UNAUTHENTICATED      UNAUTHENTICATED
    ├── PermissionDeniedError                    PERMISSION_DENIED    PERMISSION_DENIED
    ├── DeadlineExceededError                    DEADLINE_EXCEEDED    DEADLINE_EXCEEDED
    ├── UnimplementedError                       UNIMPLEMENTED        UNIMPLEMENTED
    └── InternalError                            INTERNAL             INTERNAL_ERROR

On a server an exception's text is written for the caller and goes to the wire; whatever is not of this tree leaves it
as InternalError with that class's generic text. A client raises the class that the reason names; `client/errors.py`
adds what only a client can tell.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import grpc

DOMAIN = "a2a-protocol.org"
"""`ErrorInfo.domain` of every error of the protocol (spec §10.6)."""


E = TypeVar("E", bound=BaseException)


def detached(error: E) -> E:
    """Return the exception without its traceback, cause and context.

    For an exception that is kept as a value: a frame that keeps an exception whose traceback holds this same frame is
    a cycle, and all that the frame holds stays in memory until the garbage collector comes.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def is_closing(error: BaseException, task: "asyncio.Task[Any] | None") -> bool:
    """Return True if the exception closes the coroutine that catches it, which then must not await anything.

    Code that a coroutine calls can raise GeneratorExit, too. Then the coroutine's `task` is at work; when a coroutine
    is closed, it is not.
    """
    if not isinstance(error, GeneratorExit):
        return False
    try:
        return asyncio.current_task() is not task
    except RuntimeError:  # no event loop runs
        return True


class Violation(NamedTuple):
    """One refused field of a request: its path in proto names (`message.parts[0]`) and what would be valid."""

    field: str
    description: str


class A2AError(Exception):
    """The operation failed."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    reason: str = ""
    """`ErrorInfo.reason`: what tells errors apart, as six of them share a status code."""
    retryable: bool = False
    """Whether the same call may succeed later."""

    def __init__(
        self,
        message: str | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        for name, value, kinds, expected in (
            ("message", message, str, "a str"),
            ("metadata", metadata, Mapping, "a dict"),
            ("violations", violations, Iterable, "a list of Violation"),
            ("retry_after_s", retry_after_s, (int, float), "a number"),
        ):
            if value is not None and not isinstance(value, kinds):
                raise TypeError(f"{type(self).__name__}(): {name} is of type {type(value).__name__}, not {expected}")
        self.message = message or type(self).__doc__ or ""
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    def say(self, message: str) -> None:
        """Says it in other words."""
        self.message = message
        self.args = (message,)


class TaskNotFoundError(A2AError):
    """The task does not exist, or is not the caller's."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "TASK_NOT_FOUND"

    @classmethod
    def of(cls, task_id: str) -> "TaskNotFoundError":
        """The same words whether the task is unknown, purged or somebody else's (spec §3.3.2)."""
        return cls(f"task '{task_id}' was not found", metadata={"task_id": task_id})


class TaskNotCancelableError(A2AError):
    """The task cannot be canceled any more."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TASK_NOT_CANCELABLE"


class PushNotificationNotSupportedError(A2AError):
    """This agent does not offer push notifications."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "PUSH_NOTIFICATION_NOT_SUPPORTED"


class UnsupportedOperationError(A2AError):
    """The agent does not support this operation here."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "UNSUPPORTED_OPERATION"


class ContentTypeNotSupportedError(A2AError):
    """The agent does not take this media type."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "CONTENT_TYPE_NOT_SUPPORTED"


class InvalidAgentResponseError(A2AError):
    """The agent produced a response that the protocol does not allow."""

    code = grpc.StatusCode.INTERNAL
    reason = "INVALID_AGENT_RESPONSE"


class ExtendedAgentCardNotConfiguredError(A2AError):
    """The agent declares an extended card, but none is configured."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "EXTENDED_AGENT_CARD_NOT_CONFIGURED"


class ExtensionSupportRequiredError(A2AError):
    """The agent requires an extension that the call did not declare."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "EXTENSION_SUPPORT_REQUIRED"


class VersionNotSupportedError(A2AError):
    """The agent does not speak the requested version of the protocol."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "VERSION_NOT_SUPPORTED"


class InvalidRequestError(A2AError):
    """The request is not valid."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_PARAMS"

    @classmethod
    def of(cls, *violations: Violation) -> "InvalidRequestError":
        """One error for all the violations of a request; its message repeats them for readers of plain logs."""
        return cls("; ".join(f"{field}: {description}" for field, description in violations), violations=violations)


class ResourceExhaustedError(A2AError):
    """A limit of the server is reached; nothing was changed."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"
    retryable = True


class UnavailableError(A2AError):
    """The server cannot serve this call now."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
    retryable = True

    @classmethod
    def shutting_down(cls, advice: str) -> "UnavailableError":
        """A server that drains; `advice` is what to do elsewhere: `resume at another`."""
        return cls(f"the server is shutting down; {advice}, or later", retry_after_s=1.0)


class UnauthenticatedError(A2AError):
    """The call carries no valid credentials."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDeniedError(A2AError):
    """The caller may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class DeadlineExceededError(A2AError):
    """The call was not answered in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"
    retryable = True


class UnimplementedError(A2AError):
    """The server does not have this method."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class InternalError(A2AError):
    """Internal error; the server's log says more."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL_ERROR"
