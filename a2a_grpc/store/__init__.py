"""Where logs are kept: the `TaskStore` protocol, its values, the stores by URL."""

from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.open import open_store
from a2a_grpc.store.protocol import (
    AlreadyBound,
    Binding,
    Head,
    Listed,
    ListFilter,
    Page,
    Position,
    Record,
    Scope,
    Snapshot,
    StaleAppend,
    StoreFull,
    TaskKey,
    TaskStore,
)

__all__ = [
    "AlreadyBound",
    "Binding",
    "Head",
    "ListFilter",
    "Listed",
    "MemoryStore",
    "Page",
    "Position",
    "Record",
    "Scope",
    "Snapshot",
    "StaleAppend",
    "StoreFull",
    "TaskKey",
    "TaskStore",
    "open_store",
]
