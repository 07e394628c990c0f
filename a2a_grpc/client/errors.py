"""What only a client can tell, under the tree of `a2a_grpc/errors.py`.

A2AError
├── UnavailableError
│   ├── UnreachableError         the agent was never reached
│   └── ConnectionLostError      the agent was lost, and not found again in time; holds the last known task
├── TaskNotFoundError
│   └── TaskLostError            the task that was being followed is gone; holds the last known task
├── TaskNotCompletedError        a task ended, or paused, in another state than COMPLETED; holds it
├── ResourceExhaustedError
│   └── ResponseTooLargeError    a response, or the task that a stream makes, is over a limit of this client
└── AgentCardError               the agent's card cannot be used
"""

from a2a_grpc.client.origin import Origin
from a2a_grpc.errors import A2AError, ResourceExhaustedError, TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import text_of
from a2a_grpc.wire import Task


class UnreachableError(UnavailableError):
    """The agent cannot be reached."""


class ConnectionLostError(UnavailableError):
    """The connection to the agent was lost, and could not be had again in time."""

    def __init__(self, message: str, *, task: Task | None = None, origin: Origin = Origin.LOST) -> None:
        super().__init__(message)
        self.task = task
        """The task as it was last seen; None if nothing was seen of it."""
        self.origin = origin
        """How far the last call came."""


class TaskLostError(TaskNotFoundError):
    """The task that was being followed is gone."""

    def __init__(self, message: str, *, task: Task | None) -> None:
        super().__init__(message)
        self.task = task
        """The task as it was last seen; None if nothing was seen of it."""


class TaskNotCompletedError(A2AError):
    """The task did not complete."""

    def __init__(self, task: Task) -> None:
        said = text_of(task.status.message)
        super().__init__(f"task '{task.id}' is {state_name(task.status.state)}{f': {said}' if said else ''}")
        self.task = task
        """The task, as it ended or paused."""


class ResponseTooLargeError(ResourceExhaustedError):
    """The agent's response is larger than this client's limits."""

    retryable = False


class AgentCardError(A2AError):
    """The agent's card cannot be used."""
