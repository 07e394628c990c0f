"""Stores of tasks: the `TaskStore` protocol with its values, the memory store, and `open_store` for all others."""

from a2a_grpc.store.coordination import Coordination
from a2a_grpc.store.in_order import InOrder
from a2a_grpc.store.mailbox import Mailbox
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.one_server import OneServer
from a2a_grpc.store.open import open_store
from a2a_grpc.store.protocol import TaskStore
from a2a_grpc.store.records import Records
from a2a_grpc.store.values import (
    CORE,
    WHOLE,
    AlreadyBound,
    Append,
    Binding,
    Create,
    Head,
    Listed,
    ListFilter,
    Page,
    Pending,
    Position,
    QueueFull,
    Record,
    Scope,
    Snapshot,
    StaleAppend,
    StoreFull,
    StoreLost,
    StoreUnavailable,
    TaskKey,
    TaskView,
)
from a2a_grpc.store.written import Writing, Written, over, refused, when_over, written

__all__ = [
    "CORE",
    "WHOLE",
    "AlreadyBound",
    "Append",
    "Binding",
    "Coordination",
    "Create",
    "Head",
    "InOrder",
    "ListFilter",
    "Listed",
    "Mailbox",
    "MemoryStore",
    "OneServer",
    "Page",
    "Pending",
    "Position",
    "QueueFull",
    "Record",
    "Records",
    "Scope",
    "Snapshot",
    "StaleAppend",
    "StoreFull",
    "StoreLost",
    "StoreUnavailable",
    "TaskKey",
    "TaskStore",
    "TaskView",
    "Writing",
    "Written",
    "open_store",
    "over",
    "refused",
    "when_over",
    "written",
]
