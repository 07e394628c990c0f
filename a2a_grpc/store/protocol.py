"""The protocol of a store of tasks."""

from typing import Protocol

from a2a_grpc.store.coordination import Coordination
from a2a_grpc.store.mailbox import Mailbox
from a2a_grpc.store.notes import Notes
from a2a_grpc.store.records import Records


class TaskStore(Records, Coordination, Mailbox, Notes, Protocol):
    """A store with all four parts, which a server needs.

    Implement it to share another database among servers, and test it with `StoreContract`. A store of `Records` becomes
    such a store for one server as `OneServer(records)`. The changes of a `write` to claims, messages and keys happen in
    the same transaction as the record.
    """
