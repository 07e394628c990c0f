"""Where logs are kept: the `TaskStore` protocol, its values, the stores by URL."""

from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.open import open_store
from a2a_grpc.store.protocol import (
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
    StoreUnavailable,
    TaskKey,
    TaskStore,
)

__all__ = [
    "AlreadyBound",
    "Append",
    "Binding",
    "Create",
    "Head",
    "ListFilter",
    "Listed",
    "MemoryStore",
    "Page",
    "Pending",
    "Position",
    "QueueFull",
    "Record",
    "Scope",
    "Snapshot",
    "StaleAppend",
    "StoreFull",
    "StoreUnavailable",
    "TaskKey",
    "TaskStore",
    "open_store",
]
