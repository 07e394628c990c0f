"""The errors that only a client finds. They belong to the tree of `a2a_grpc/errors.py`.

A2AError
├── UnavailableError
│   ├── UnreachableError         the agent was never reached
│   ├── CredentialsUnavailableError   no token can be had now; the server of tokens does not answer
│   └── ConnectionLostError      the agent was lost, and did not come back in time; holds the last known task
├── TaskNotFoundError
│   └── TaskLostError            the task that the client followed is gone; holds the last known task
├── TaskNotCompletedError        a task ended, or paused, in another state than COMPLETED; holds the task
├── ResourceExhaustedError
│   └── ResponseTooLargeError    a response, or the task that a stream builds, is over a limit of this client
└── AgentCardError               the agent's card cannot be used
"""

from a2a_grpc.client.origin import Origin
from a2a_grpc.errors import A2AError, ResourceExhaustedError, TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import text_of
from a2a_grpc.wire import Task


class UnreachableError(UnavailableError):
    """The agent cannot be reached.

    The client never had contact with it. Examples of reasons are a wrong address, a port on which nothing listens, and
    TLS that does not fit. The message names the reason.
    """


class CredentialsUnavailableError(UnavailableError):
    """The credentials of the call cannot be had now.

    The authorization server does not answer, for example, or a command that prints a token takes too long. The agent
    was not called.
    """


class ConnectionLostError(UnavailableError):
    """The connection to the agent was lost, and the agent did not come back in time.

    The time is `give_up_after_s`. The error is also raised at once for a message that cannot be sent again without the
    risk of a second task. The agent may or may not have got this message.

    Args:
        message: What happened.
        task: The task as the client saw it last; None if it saw nothing of the task.
        origin: How far the last call got.
    """

    def __init__(self, message: str, *, task: Task | None = None, origin: Origin = Origin.LOST) -> None:
        super().__init__(message)
        self.task = task
        self.origin = origin


class TaskLostError(TaskNotFoundError):
    """The task that the client followed is gone.

    The agent is back, but does not know the task. It was probably restarted without a durable store.

    Args:
        message: What happened.
        task: The task as the client saw it last; None if it saw nothing of the task.
    """

    def __init__(self, message: str, *, task: Task | None) -> None:
        super().__init__(message)
        self.task = task


class TaskNotCompletedError(A2AError):
    """The task did not complete.

    It ended in FAILED, CANCELED or REJECTED, or it waits for its user. Only `RemoteAgent` raises this.

    Args:
        task: The task as it ended or paused.
    """

    def __init__(self, task: Task) -> None:
        said = text_of(task.status.message)
        super().__init__(f"task '{task.id}' is {state_name(task.status.state)}{f': {said}' if said else ''}")
        self.task = task


class ResponseTooLargeError(ResourceExhaustedError):
    """The agent's response is larger than this client's limits.

    The limits are `max_response_bytes` and `max_response_fields`. They hold for one response, for one event, and for
    the task that the events of a stream build. The same call would fail again.
    """

    retryable = False


class AgentCardError(A2AError):
    """The agent's card cannot be used.

    It is missing, is no card, or names no gRPC interface that this client can call. The message names the card and the
    reason.
    """
