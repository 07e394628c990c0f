"""A task of a remote agent that was started, and is waited for later."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from a2a_grpc import lifecycle
from a2a_grpc.client.client import Client
from a2a_grpc.client.errors import TaskNotCompletedError
from a2a_grpc.client.pieces import Pieces
from a2a_grpc.client.waiting import Strategy
from a2a_grpc.wire import Task


class RemoteTask:
    """A task that `RemoteAgent.start` has started. The task goes on when the caller is canceled.

    Attributes:
        task: The task as it was read last.
    """

    def __init__(self, task: Task, client: Callable[[], AbstractAsyncContextManager[Client]]) -> None:
        self.task = task
        self._client = client

    @property
    def id(self) -> str:
        """The id of the task. `Client.wait` takes it in any process."""
        return self.task.id

    async def wait(self, *, strategy: Strategy = "auto", poll_s: float | None = None) -> Task:
        """Wait until the task has ended or waits for its user. Return the task.

        Args:
            strategy: How to wait, as for `Client.wait`.
            poll_s: Seconds between two looks at a task that is polled, as for `Client.wait`.

        Raises:
            A2AError: The task cannot be read, with the same classes as in `Client.wait`.
        """
        async with self._client() as client:
            self.task = await client.wait(self.task, strategy=strategy, poll_s=poll_s)
        return self.task

    async def result(self, *, strategy: Strategy = "auto", poll_s: float | None = None) -> str:
        """Wait until the task has ended. Return its text, as `RemoteAgent.run` does.

        Args:
            strategy: How to wait, as for `Client.wait`.
            poll_s: Seconds between two looks at a task that is polled, as for `Client.wait`.

        Raises:
            TaskNotCompletedError: The task ended in another state than COMPLETED, or waits for its user.
            A2AError: The task cannot be read, with the same classes as in `Client.wait`.
        """
        return Pieces().text(completed(await self.wait(strategy=strategy, poll_s=poll_s)))

    async def get(self) -> Task:
        """Read the task as it is now. Return it.

        Raises:
            TaskNotFoundError: The task was deleted after its retention.
        """
        async with self._client() as client:
            self.task = await client.get(self.id)
        return self.task

    async def cancel(self) -> Task:
        """Cancel the task. Return it when the agent has stopped.

        Raises:
            TaskNotCancelableError: The task has ended in COMPLETED, FAILED or REJECTED.
        """
        async with self._client() as client:
            self.task = await client.cancel(self.id)
        return self.task


def completed(task: Task) -> Task:
    """Return a task that is COMPLETED. Raise TaskNotCompletedError for any other end."""
    if task.status.state != lifecycle.COMPLETED:
        raise TaskNotCompletedError(task)
    return task
