"""The part of a store that keeps tasks."""

from collections.abc import Collection
from typing import Protocol

from a2a_grpc.store.values import WHOLE, Head, ListFilter, Page, Position, Record, Scope, Snapshot, TaskKey, TaskView
from a2a_grpc.store.writes import Append, Create
from a2a_grpc.store.written import Written


class Records(Protocol):
    """A store that keeps the logs of tasks. Implement it to keep tasks in a place of your own.

    One server can use such a store as `OneServer(records)`. To share a store among servers, implement `TaskStore`,
    which has two further parts. Test these nine methods with `RecordsContract`.

    Guarantees:

    - A record is durable when the future of its `write` has a result, as far as the store is durable. Then each read
      reflects it.
    - A call that raises another error than StoreUnavailable has changed nothing. The store retries transient faults
      for a while, and never writes twice.
    - A call that is canceled is over when its CancelledError arrives. Its change has happened or not, and does not
      happen later. Only `write` cannot be canceled.
    - Writes to one task happen in the order in which they were called, whether the caller awaits each of them or not.
    - An append succeeds only if the record is the next one of the log. Of several writers at the same time, one
      succeeds. Nothing is appended after a terminal state.
    - `load` returns a task and its seq as of one moment.
    - Keys are exact. The id of a task of another tenant or owner is an unknown id.

    Each method may raise StoreUnavailable.

    Attributes:
        durable: True if tasks outlive the process.
    """

    durable: bool

    async def open(self) -> Collection[TaskKey]:
        """Prepare the store for use. Connect, and create tables, for example.

        Returns:
            The tasks that have not ended, which the server goes on with. A store that keeps their claims itself returns
            none: it finds them in `orphaned`.

        Raises:
            ConfigurationError: The store cannot be used as it is.
            StoreUnavailable: The store does not answer.
        """

    async def close(self) -> None:
        """Release the connections and files of the store."""

    async def ping(self) -> None:
        """Check, without retries, that the store can be written now.

        Raises:
            StoreUnavailable: It cannot.
        """

    def write(self, write: Create | Append) -> Written:
        """Begin to create a task or to append a record. Return the future of this, and raise nothing.

        The writes of one task happen in the order of the calls. Once it was called, a write happens or fails: its
        callers cannot cancel it. If a store can write at once, the future that it returns is done.

        Args:
            write: The task to create, or the record to append. A store that only keeps tasks uses `key`, `record`,
                `context_id` and `epoch`. The other fields are changes to claims, messages and idempotency keys, which
                happen in the same transaction. A record with a terminal state releases the task, and deletes the
                messages and the request to cancel that wait.

        Returns:
            A future. Its result is the epoch of the new claim for a `Create`, and the newest turn for which a message
            was accepted for an `Append`. In a store that only keeps tasks these are 1 and the turn of the record. Its
            error is StaleAppend, AlreadyBound or StoreFull if nothing was written. It is StoreUnavailable if the write
            may have happened or not. Then callers read what is stored.
        """

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        """Return the records after a seq, in order and without gaps; None for an unknown task.

        Args:
            key: The name of the task.
            after: The seq before the first record; 0 for all records.
            limit: The largest number of records.
        """

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        """Return a task as it is now; None for an unknown task.

        Args:
            key: The name of the task.
            view: The parts of the task to read.
        """

    async def head(self, key: TaskKey) -> Head | None:
        """Return the row of a task; None for an unknown task.

        A store that only keeps tasks gives the fields up to `size`. Its `epoch` is the one of the newest append, or 1
        before the first one.

        Args:
            key: The name of the task.
        """

    async def list(
        self,
        scope: Scope,
        where: ListFilter,
        after: Position | None,
        limit: int,
        *,
        view: TaskView = WHOLE,
        max_bytes: int | None = None,
    ) -> Page:
        """Return a page of the tasks of a scope, from the newest status to the oldest.

        Args:
            scope: The owner of the tasks.
            where: The conditions.
            after: The position before the first task; None for the first page.
            limit: The largest number of tasks.
            view: The parts of each task to read.
            max_bytes: The largest size of all tasks of the page together. The page ends before the task that would
                exceed it, but has at least one task. A store knows sizes before it loads tasks, and may overestimate
                them.
        """

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        """Delete old tasks. Return their number; 0 if nothing is left to delete.

        Only tasks that have ended are deleted. Ages are by the clock of the store, which also gives the time when a
        task ended. No time that a replica wrote decides what is deleted.

        Args:
            ended_age_s: Seconds after its end at which a task is deleted.
            keep: The number of ended tasks to keep. The oldest beyond it are deleted.
            limit: The largest number of tasks to delete in this call.
        """
