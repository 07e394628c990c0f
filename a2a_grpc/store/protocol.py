"""The protocol of a store of tasks."""

from collections.abc import Sequence
from typing import Protocol

from a2a_grpc.store.coordination import Coordination
from a2a_grpc.store.mailbox import Mailbox
from a2a_grpc.store.records import Records
from a2a_grpc.store.values import Record, TaskKey


class TaskStore(Records, Coordination, Mailbox, Protocol):
    """A store with all three parts, which a server needs.

    Implement it to share another database among servers, and test it with `StoreContract`. A store of `Records` becomes
    such a store for one server as `OneServer(records)`. The changes of a `write` to claims, messages and keys happen in
    the same transaction as the record.
    """

    def recent(self, key: TaskKey, after: int, limit: int) -> Sequence[Record] | None:
        """Return the records after a seq that this object has appended itself, without waiting.

        A store whose reads take a while keeps its newest records in memory for this. Any other store returns None.

        Args:
            key: The name of the task.
            after: The seq before the first record.
            limit: The largest number of records.

        Returns:
            The records. An empty list if this object has appended the record at `after`, and no later one. None if the
            store cannot tell which record is next.
        """
