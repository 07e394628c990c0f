"""The values that a store of tasks takes and returns, and its errors.

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


class Binding(NamedTuple):
    """The request that an idempotency key stands for, and the result of the request.

    Attributes:
        fingerprint: A hash of the request. A later request with the same key must have the same one.
        task_id: The task that the request created or continued; empty if the agent answered with a message.
        turn: The turn of the task that the request began.
        reply: The serialised message with which the agent answered; empty if there is a task.
    """

    fingerprint: bytes
    task_id: str = ""
    turn: int = 0
    reply: bytes = b""


class Pending(NamedTuple):
    """A message that waits for its turn, or whose turn may have to run again.

    Attributes:
        turn: The turn that the message begins.
        skill: The id of the skill.
        request: The serialised `SendMessageRequest`.
        caller: A description of the caller as JSON text, which a store keeps as it is.
    """

    turn: int
    skill: str
    request: bytes
    caller: str = ""


class Note(NamedTuple):
    """A named value of a task, which its handler keeps for later runs.

    Attributes:
        turn: The turn that the note belongs to; 0 for a note of the whole task.
        name: The name, unique for the task and the turn. It has at most 256 characters.
        value: The value, which a store keeps as it is. It has at most about 1 MiB.
    """

    turn: int
    name: str
    value: bytes


class Push(NamedTuple):
    """A push config of a task, as a store keeps it.

    Attributes:
        id: The id of the config, unique for its task.
        config: The serialised `TaskPushNotificationConfig` without its secrets.
        secrets: The secrets of the config, encrypted; empty if it has none.
        version: The version of the protocol with which the config was registered, and perhaps the trace.
    """

    id: str
    config: bytes
    secrets: bytes
    version: str


class Create(NamedTuple):
    """A task to create with its first record, and to claim for a replica.

    Attributes:
        key: The name of the task. It is new.
        record: The first record, with seq 1.
        context_id: The conversation that the task belongs to.
        replica: The replica that holds the task from now on.
        bind: An idempotency key to bind, with its binding.
        pending: The message of the first turn, to be kept until an append is `done` with it.
        pushes: Push configs of the task, due at once, with the cursor before the first record. Only a store with an
            `Outbox` gets any.
    """

    key: TaskKey
    record: Record
    context_id: str
    replica: str
    bind: tuple[str, Binding] | None = None
    pending: Pending | None = None
    pushes: tuple[Push, ...] = ()


class Append(NamedTuple):
    """A record to append, with further changes that happen in the same transaction.

    Attributes:
        key: The name of the task.
        record: The record. Its seq is the next one.
        epoch: The claim of the writer.
        bind: An idempotency key to bind, with its binding.
        done: The turn up to which messages that wait or are kept are not needed any more. If the record opens a turn,
            the turn before it is then over, and `attempt` of the new one begins with 1.
        release: True if the task is free from now on, unless messages wait for their turn.
        keep: The message that began the run of the writer, to be kept until an append is `done` with its turn. A
            writer may give it more than once, but only until it has written the message of a later turn.
    """

    key: TaskKey
    record: Record
    epoch: int
    bind: tuple[str, Binding] | None = None
    done: int = 0
    release: bool = False
    keep: Pending | None = None


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


class StaleAppend(Exception):
    """The log has grown, the task has ended, or the claim is void. Nothing was written."""


class AlreadyBound(Exception):
    """The idempotency key stands for an earlier request. Nothing was written.

    Args:
        binding: The binding of the earlier request.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__("the idempotency key is bound")
        self.binding = binding


class QueueFull(Exception):
    """The largest allowed number of messages waits for the task already. Nothing was written.

    Args:
        waiting: The number of messages that wait.
    """

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} messages wait")
        self.waiting = waiting


class StoreFull(Exception):
    """There is no room for another task or note. Nothing was written."""
