"""The errors of the protocol: one tree of exceptions, each with its gRPC status code and its reason.

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
    ├── NoAgentFound                             NOT_FOUND            AGENT_NOT_FOUND
    ├── InvalidRequestError                      INVALID_ARGUMENT     INVALID_PARAMS
    ├── ResourceExhaustedError                   RESOURCE_EXHAUSTED   RESOURCE_EXHAUSTED
    ├── UnavailableError                         UNAVAILABLE          UNAVAILABLE
    ├── UnauthenticatedError                     UNAUTHENTICATED      UNAUTHENTICATED
    ├── PermissionDeniedError                    PERMISSION_DENIED    PERMISSION_DENIED
    ├── DeadlineExceededError                    DEADLINE_EXCEEDED    DEADLINE_EXCEEDED
    ├── UnimplementedError                       UNIMPLEMENTED        UNIMPLEMENTED
    └── InternalError                            INTERNAL             INTERNAL_ERROR

A server sends the message of such an exception to the caller. Any other exception is sent as InternalError with the
general message of that class, and its traceback goes to the log. A client raises the class that the reason names.
`client/errors.py` adds the errors that only a client can find.
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

    Use it for an exception that is kept as a value. The traceback of an exception holds the frame that caught it. If
    this frame keeps the exception, both stay in memory until the garbage collector runs.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def is_closing(error: BaseException, task: "asyncio.Task[Any] | None") -> bool:
    """Return True if the exception closes the coroutine that catches it. Then the coroutine must not await anything.

    The exception is then a GeneratorExit, and the coroutine's `task` is not the current one. Code that a coroutine
    calls can raise GeneratorExit, too. In this case the coroutine's `task` is the current one.
    """
    if not isinstance(error, GeneratorExit):
        return False
    try:
        return asyncio.current_task() is not task
    except RuntimeError:  # no event loop runs
        return True


class Violation(NamedTuple):
    """A field of a request that the server refused.

    Attributes:
        field: The path of the field, with the names of a2a.proto, for example `message.parts[0]`.
        description: What is wrong, or what would be valid.
    """

    field: str
    description: str


class A2AError(Exception):
    """The operation failed.

    The base class of all errors of the protocol. On a server, raise one of its subclasses in a `validate` function to
    refuse a message. On a client, catch this class, or a subclass, around a call.

    Args:
        message: What happened, for the caller; by default the first line of the class's docstring.
        metadata: Facts for programs, such as the id of the task (`ErrorInfo.metadata`).
        violations: The refused fields of the request.
        retry_after_s: Seconds after which the same call may succeed; None if this is not known.

    Attributes:
        code: The gRPC status code.
        reason: The reason on the wire (`ErrorInfo.reason`, spec §10.6). It identifies the class, since several classes
            share a status code.
        retryable: True if the same call may succeed later.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    reason: str = ""
    retryable: bool = False

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
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    def say(self, message: str) -> None:
        """Replace the message.

        Args:
            message: The new message.
        """
        self.message = message
        self.args = (message,)


class TaskNotFoundError(A2AError):
    """The task does not exist, or is not the caller's.

    A task that was deleted after its retention (`retention_s`) does not exist any more (spec §3.3.2).
    """

    code = grpc.StatusCode.NOT_FOUND
    reason = "TASK_NOT_FOUND"

    @classmethod
    def of(cls, task_id: str) -> "TaskNotFoundError":
        """Return the error for a task id.

        The message is the same for an unknown task, a deleted task, and a task of another caller. So a caller cannot
        learn which tasks of others exist (spec §3.3.2).

        Args:
            task_id: The id that the caller gave.
        """
        return cls(f"task '{task_id}' was not found", metadata={"task_id": task_id})


class TaskNotCancelableError(A2AError):
    """The task cannot be canceled any more.

    It has ended in COMPLETED, FAILED or REJECTED (spec §3.1.5). A task that is CANCELED already is returned as it is.
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TASK_NOT_CANCELABLE"


class PushNotificationNotSupportedError(A2AError):
    """This agent does not offer push notifications.

    A server of this package does with the setting `push`. Otherwise subscribe to the task, or poll it.
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "PUSH_NOTIFICATION_NOT_SUPPORTED"


class UnsupportedOperationError(A2AError):
    """The agent does not support this operation here.

    Examples are a message to a task that has ended (spec §3.1.1), and a stream from an agent that does not stream.
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "UNSUPPORTED_OPERATION"


class ContentTypeNotSupportedError(A2AError):
    """The agent does not take this media type.

    A part of the message has a media type that is not among the input modes of the skill or the agent (spec §3.1.1).
    """

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "CONTENT_TYPE_NOT_SUPPORTED"


class InvalidAgentResponseError(A2AError):
    """The agent produced a response that the protocol does not allow.

    A server raises this for a skill that answers with a message. A client raises this for a response of the agent that
    breaks the protocol.
    """

    code = grpc.StatusCode.INTERNAL
    reason = "INVALID_AGENT_RESPONSE"


class ExtendedAgentCardNotConfiguredError(A2AError):
    """The agent declares an extended card, but none is configured.

    The agent card offers one, but no function was declared with `Agent.extended_card` (spec §3.1.11).
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "EXTENDED_AGENT_CARD_NOT_CONFIGURED"


class ExtensionSupportRequiredError(A2AError):
    """The agent requires an extension that the call did not declare.

    Name the extension in the metadata `a2a-extensions` of the call (spec §3.2.6).
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "EXTENSION_SUPPORT_REQUIRED"


class VersionNotSupportedError(A2AError):
    """The agent does not speak the requested version of the protocol.

    The metadata `a2a-version` of the call names the version (spec §3.6).
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "VERSION_NOT_SUPPORTED"


class NoAgentFound(A2AError):
    """The registry has no such agent that the caller may call.

    The message is the same for an agent that is not there, and for one that the caller may not call.
    """

    code = grpc.StatusCode.NOT_FOUND
    reason = "AGENT_NOT_FOUND"

    @classmethod
    def of(cls, name: str) -> "NoAgentFound":
        """Return the error for the name of an agent.

        Args:
            name: The name that the caller gave.
        """
        return cls(f"the registry has no agent '{name[:256]}' that you may call", metadata={"name": name[:256]})


class InvalidRequestError(A2AError):
    """The request is not valid.

    `violations` names each field that was refused. Nothing was stored.
    """

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_PARAMS"

    @classmethod
    def of(cls, *violations: Violation) -> "InvalidRequestError":
        """Return one error for all refused fields of a request. Its message names each field, for readers of logs.

        Args:
            *violations: The refused fields.
        """
        return cls("; ".join(f"{field}: {description}" for field, description in violations), violations=violations)


class ResourceExhaustedError(A2AError):
    """A limit of the server is reached; nothing was changed.

    Repeat the call after `retry_after_s`. The message names the limit.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"
    retryable = True


class UnavailableError(A2AError):
    """The server cannot serve this call now.

    It is shutting down, for example, or its store does not answer. Repeat the call after `retry_after_s`.
    """

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
    retryable = True

    @classmethod
    def shutting_down(cls, advice: str) -> "UnavailableError":
        """Return the error of a server that is shutting down.

        Args:
            advice: What the caller can do at another server, for example "resume at another".
        """
        return cls(f"the server is shutting down; {advice}, or later", retry_after_s=1.0)


class UnauthenticatedError(A2AError):
    """The call carries no valid credentials.

    The trailing metadata `www-authenticate` names the schemes that the server takes. The message is the same for all
    causes; the log of the server has the cause.
    """

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDeniedError(A2AError):
    """The caller may not do this.

    The caller lacks a scope that the skill needs, for example, or its credentials do not cover the tenant.
    """

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class DeadlineExceededError(A2AError):
    """The call was not answered in time.

    A task that the call created goes on. Get it by its id, or list the tasks.
    """

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"
    retryable = True


class UnimplementedError(A2AError):
    """The server does not have this method.

    It is perhaps no A2A server, or one of another version.
    """

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "UNIMPLEMENTED"


class InternalError(A2AError):
    """Internal error; the server's log says more.

    Code of the agent or of the server raised an exception that has no place in this tree.
    """

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL_ERROR"
