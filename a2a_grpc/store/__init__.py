"""Stores of tasks: the `TaskStore` protocol with its values, the memory store, and `open_store` for all others.

protocol      `TaskStore`
records       its part that keeps tasks
coordination  its part that says which server runs which task
mailbox       its part that keeps what is left for that server
notes         its part that keeps named values of tasks
outbox        a further part, which keeps push configs
values        what these return
writes        what these are given to write, and the errors of writes
pushing       what the outbox takes and returns
written       the future of a write
contract      the tests of a store
open          stores by their URLs
sharing       names of stores, the same in every process

Stores:

memory        the store in memory
memory_log    the log of one task in it
order         the tasks of one scope in order
sql           SQLite, PostgreSQL, MySQL and MariaDB
command       `a2a-grpc db` in messages

For any store:

one_server    coordination, mailbox and notes in memory
local_rows    the rows of tasks in memory, and what a write changes in them
row           the row of a task in memory
leases        the replicas of one process
bindings      idempotency keys in memory
pushes        push configs in memory
local_notes   the notes of one server
local_outbox  the outbox made of them
in_order      writes that take a while
views         parts of tasks as bytes
growing       whole tasks as bytes
"""

from a2a_grpc.store.coordination import Coordination
from a2a_grpc.store.in_order import InOrder
from a2a_grpc.store.mailbox import Mailbox
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.notes import Notes
from a2a_grpc.store.one_server import OneServer
from a2a_grpc.store.open import open_store
from a2a_grpc.store.outbox import Outbox
from a2a_grpc.store.protocol import TaskStore
from a2a_grpc.store.pushing import DeadPush, PushClaim, PushName, PushStep, Then, TooManyPushes
from a2a_grpc.store.records import Records
from a2a_grpc.store.values import (
    CORE,
    WHOLE,
    Head,
    Listed,
    ListFilter,
    Page,
    Position,
    Record,
    Scope,
    Snapshot,
    StoreLost,
    StoreUnavailable,
    TaskKey,
    TaskView,
)
from a2a_grpc.store.writes import (
    AlreadyBound,
    Append,
    Binding,
    Create,
    Note,
    Pending,
    Push,
    QueueFull,
    StaleAppend,
    StoreFull,
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
    "DeadPush",
    "Head",
    "InOrder",
    "ListFilter",
    "Listed",
    "Mailbox",
    "MemoryStore",
    "Note",
    "Notes",
    "OneServer",
    "Outbox",
    "Page",
    "Pending",
    "Position",
    "Push",
    "PushClaim",
    "PushName",
    "PushStep",
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
    "Then",
    "TooManyPushes",
    "Writing",
    "Written",
    "open_store",
    "over",
    "refused",
    "when_over",
    "written",
]
