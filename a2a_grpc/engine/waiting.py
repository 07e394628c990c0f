"""How many tasks wait for their users, without a query for each call."""

from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.lifecycle import INTERRUPTED
from a2a_grpc.store import TaskStore
from a2a_grpc.wire import TaskState

RETRY_AFTER_S = 60.0


class Waiting:
    """The number that the store gave at the last sweep, with what this process has changed since.

    Guarantee: only a new task is refused. Tasks that exist already may begin to wait, and every answer is taken. So the
    number can exceed its limit by the runs at work, and by what other replicas did since the last sweep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0

    def move(self, before: TaskState, after: TaskState) -> None:
        """Note that a task has come from one state to another."""
        self.count += (after in INTERRUPTED) - (before in INTERRUPTED)

    async def refresh(self, store: TaskStore) -> None:
        """Take the number from the store. Raise StoreUnavailable."""
        self.count = await store.count_waiting()

    def check(self) -> None:
        """Raise ResourceExhaustedError if there may not be more tasks that wait."""
        if self.count >= self._limit:
            raise ResourceExhaustedError(
                f"{self.count} tasks wait for their users, and --max-waiting-tasks is {self._limit}; answer or cancel "
                "some, or try again later",
                retry_after_s=RETRY_AFTER_S,
            )
