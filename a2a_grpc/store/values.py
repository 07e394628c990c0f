"""The values that a store of tasks returns. `writes` has those that it takes.

For each task a store keeps a log and one row. The log holds records, each with one event of the task. The row holds
what the server needs for its decisions. A store never rewrites a record.
"""

from typing import NamedTuple

from a2a_grpc.database.unavailable import StoreLost as StoreLost
from a2a_grpc.database.unavailable import StoreUnavailable as StoreUnavailable
from a2a_grpc.wire import Message, StreamResponse, TaskState


class Scope(NamedTuple):
    """The owner of tasks. A caller finds only tasks of its own scope (spec §13.1).

    Attributes:
        tenant: The tenant that requests name; empty without one.
        owner: The identity of the caller; empty for an anonymous caller.
    """

    tenant: str
    owner: str


class TaskKey(NamedTuple):
    """The full name of a task.

    Attributes:
        tenant: The tenant of its scope.
        owner: The owner of its scope.
        id: The id of the task, which callers know.
    """

    tenant: str
    owner: str
    id: str

    @property
    def scope(self) -> Scope:
        """The scope that the task belongs to."""
        return Scope(self.tenant, self.owner)


class Record(NamedTuple):
    """One event of a task at its place in the log. The event is serialised once, for the store and for all streams.

    Attributes:
        seq: The place in the log: 1 for the first record, without gaps.
        event: A serialised `StreamResponse`.
        state: The state of the task after the event.
        turn: The number of the turn that the event belongs to: 1 for the first turn of the task.
        at_us: The time of a new status, in microseconds since 1970 (UTC); 0 if the event brings no status.
        message: The serialised user message that opened the turn, on the first record of each turn but the first. Empty
            on all other records. The first record holds the first message in its task.
    """

    seq: int
    event: bytes
    state: TaskState
    turn: int
    at_us: int = 0
    message: bytes = b""

    @property
    def size(self) -> int:
        """The size of the event and the message, in bytes."""
        return len(self.event) + len(self.message)

    def unpack(self) -> tuple[StreamResponse, Message | None]:
        """Return the event and the message, parsed."""
        message = Message.FromString(self.message) if self.message else None
        return StreamResponse.FromString(self.event), message


class Head(NamedTuple):
    """The row of a task. Its size does not grow with the task.

    Attributes:
        seq: The seq of the newest record.
        state: The state of the task.
        turn: The turn of the newest record.
        epoch: The number of the newest claim. Each claim has a greater one.
        context_id: The conversation that the task belongs to.
        size: The size of all records, in bytes.
        last_turn: The turn of the newest message that was accepted. It is greater than `turn` while messages wait.
        attempt: The number of times that the current run was begun.
        replica: The replica that holds the task; empty if the task is free.
        is_lost: True if that replica is not alive any more.
        cancel: The metadata of a request to cancel that the holder has not seen yet, as a serialised `Struct`; None if
            there is no such request.
    """

    seq: int
    state: TaskState
    turn: int
    epoch: int
    context_id: str
    size: int
    last_turn: int = 0
    attempt: int = 1
    replica: str = ""
    is_lost: bool = False
    cancel: bytes | None = None


class Snapshot(NamedTuple):
    """A task as of one record of its log.

    Attributes:
        seq: The seq of that record.
        task: The serialised `Task`.
        state: The state of the task.
        turn: The turn of the record.
    """

    seq: int
    task: bytes
    state: TaskState
    turn: int


class TaskView(NamedTuple):
    """The parts of a task that a reader wants. A store reads these parts and no others.

    Attributes:
        artifacts: False to leave out all artifacts.
        history_length: The number of messages, the newest ones; None for all, 0 for none.
    """

    artifacts: bool = True
    history_length: int | None = None


WHOLE = TaskView()
"""All parts of a task."""
CORE = TaskView(artifacts=False, history_length=0)
"""The ids, the status and the metadata of a task."""


class Position(NamedTuple):
    """A place in a list. Lists go from the newest status to the oldest. Equal times go by id, in descending order.

    Attributes:
        at_us: The time of the status, in microseconds since 1970 (UTC).
        id: The id of the task.
    """

    at_us: int
    id: str


class ListFilter(NamedTuple):
    """The conditions of a list. A listed task meets all of them. Each task meets the defaults.

    Attributes:
        context_id: The conversation; empty for any.
        state: The state; 0 for any.
        since_us: The earliest time of the status, in microseconds since 1970 (UTC).
    """

    context_id: str = ""
    state: int = 0
    since_us: int = 0


class Listed(NamedTuple):
    """One task of a page.

    Attributes:
        position: The place of the task in the list.
        snapshot: The task.
    """

    position: Position
    snapshot: Snapshot


class Page(NamedTuple):
    """A part of a list.

    Attributes:
        tasks: The tasks of the page, in the order of the list.
        total: The number of tasks of the scope that meet the filter, on all pages.
        more: True if more tasks follow. This is also the case if the page ended early because of `max_bytes`.
    """

    tasks: list[Listed]
    total: int
    more: bool
