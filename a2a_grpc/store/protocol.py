"""What a store of tasks guarantees, with the values that go in and out.

A store keeps, per task, a log of records and one row about it. It rewrites nothing that grows.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from a2a_grpc.wire import Message, StreamResponse, TaskState


class Scope(NamedTuple):
    """Whose tasks: nothing outside a caller's scope is ever found (spec §13.1)."""

    tenant: str
    owner: str


class TaskKey(NamedTuple):
    """The full name of a task."""

    tenant: str
    owner: str
    id: str

    @property
    def scope(self) -> Scope:
        return Scope(self.tenant, self.owner)


class Record(NamedTuple):
    """One event of a task at its place in the log, serialised once: these bytes go to the store and to every stream."""

    seq: int
    """1-based, without gaps."""
    event: bytes
    """A serialised `StreamResponse`."""
    state: TaskState
    """The task's state once this event is folded."""
    turn: int
    """Which of the task's turns, counted from 1, the event belongs to."""
    at_us: int = 0
    """Microseconds since the epoch of a new status; 0 where the status stays."""
    message: bytes = b""
    """The serialised user message that opened the turn, on its first record from the second turn on."""

    @property
    def size(self) -> int:
        """Bytes of the event and of the message."""
        return len(self.event) + len(self.message)

    def unpack(self) -> tuple[StreamResponse, Message | None]:
        """The event and the message, for a fold."""
        message = Message.FromString(self.message) if self.message else None
        return StreamResponse.FromString(self.event), message


class Head(NamedTuple):
    """The row of a task: all that a decision needs, of constant size."""

    seq: int
    state: TaskState
    turn: int
    epoch: int
    context_id: str
    size: int
    """Bytes of the records: their events and messages."""
    last_turn: int
    """The newest message that was accepted; more than `turn` while messages wait."""
    attempt: int = 1
    """How often the run that is at work, or was lost, has been begun."""
    replica: str = ""
    """The replica that holds the task; empty where nobody does, as nobody has to."""
    is_lost: bool = False
    """Whether that replica is not alive any more."""
    cancel: bytes | None = None
    """What came with a request to cancel the task that its holder has yet to see: a serialised Struct."""


class Snapshot(NamedTuple):
    """A serialised `Task` together with the seq it reflects, and the state and turn it had come to."""

    seq: int
    task: bytes
    state: TaskState
    turn: int


class TaskView(NamedTuple):
    """Which parts of a task a reader wants. A store reads those parts and no others."""

    artifacts: bool = True
    """False leaves out all artifacts."""
    history_length: int | None = None
    """Number of messages of the history, the most recent ones; None for all, 0 for none."""


WHOLE = TaskView()
"""All of a task."""
CORE = TaskView(artifacts=False, history_length=0)
"""The ids, the status and the metadata of a task."""


class Binding(NamedTuple):
    """What an idempotency key stands for: the request that came with it first, and what that request led to."""

    fingerprint: bytes
    task_id: str = ""
    turn: int = 0
    reply: bytes = b""
    """The serialised reply, where the agent answers with a message and there is no task."""


class Pending(NamedTuple):
    """A message that waits for its turn, or whose turn may have to be played again: all that it takes to play it."""

    turn: int
    skill: str
    request: bytes
    """The serialised `SendMessageRequest`."""
    scopes: tuple[str, ...] = ()
    """Of the principal; its tenant and subject are in the task's key."""


class Create(NamedTuple):
    """A new task with its first record, and who holds it."""

    key: TaskKey
    record: Record
    context_id: str
    replica: str
    bind: tuple[str, Binding] | None = None
    """An idempotency key to bind."""
    pending: Pending | None = None
    """What is kept until a later append is `done` with it."""


class Append(NamedTuple):
    """A record to add, with what is to happen in the same instant."""

    key: TaskKey
    record: Record
    epoch: int
    """The claim under which it is written."""
    bind: tuple[str, Binding] | None = None
    """An idempotency key to bind."""
    done: int = 0
    """Messages that wait, or are kept, up to this turn are not needed any more. Where the record opens a turn, the one
    before it is over then: its attempts do not count for the new one."""
    release: bool = False
    """Nobody has to hold the task from here on, unless messages wait for their turn."""
    keep: Pending | None = None
    """The message that began the run which writes this, to be kept until an append is `done` with its turn. Only a run
    that has yet to write a message to the log gives it, and may give it again."""


class Position(NamedTuple):
    """A place in a list: lists run from the newest status to the oldest, ties by id, both descending."""

    at_us: int
    id: str


class ListFilter(NamedTuple):
    """Conditions that a listed task meets, all of them; the defaults let every task pass."""

    context_id: str = ""
    state: int = 0
    since_us: int = 0


class Listed(NamedTuple):
    """One task of a page."""

    position: Position
    snapshot: Snapshot


class Page(NamedTuple):
    """Part of a list, in its order."""

    tasks: list[Listed]
    total: int
    """Tasks that meet the filter in the scope, on all pages."""
    more: bool
    """True if more tasks follow, also if the page ends early because `max_bytes` was reached."""


class StaleAppend(Exception):
    """The log has moved on or the claim was lost; nothing was written."""


class AlreadyBound(Exception):
    """The idempotency key stands for an earlier request; nothing was written."""

    def __init__(self, binding: Binding) -> None:
        super().__init__("the idempotency key is bound")
        self.binding = binding


class QueueFull(Exception):
    """As many messages wait for the task as may; nothing was written."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} messages wait")
        self.waiting = waiting


class StoreFull(Exception):
    """No room for another task; nothing was written."""


class StoreUnavailable(Exception):
    """The store did not answer in time, however often it was asked. A write may or may not have happened."""

    said = "the task store does not answer; try again"
    """What callers over the wire read: no path, no host."""


class StoreLost(StoreUnavailable):
    """What the store writes to is not what the next process would read: trying again does not help."""

    said = "the task store's database was deleted, moved or replaced; this server accepts nothing until that is mended"


class TaskStore(Protocol):
    """Guarantees:

    - What a write has written is durable, in the sense of the store, before it returns; then every read of every
      replica reflects it.
    - A write that raises anything but StoreUnavailable has written nothing. A transient fault is retried for a while,
      without writing anything twice.
    - A call that is canceled is over once its CancelledError arrives: it has happened or not, and will not later.
    - Appends to one task that were called one after the other happen in that order, awaited in between or not.
    - `append` succeeds only on the log as the caller knows it and only for the holder of the newest claim: of racing
      writers one wins. Nothing is appended after a terminal state.
    - A replica is alive from `join` on, until it leaves or does not renew its lease in time; once another replica has
      seen it dead it never comes back. A task that it holds stays its own for as long as it is alive.
    - `load` gives a task and its seq as of one instant.
    - Keys are exact: an id of another tenant or owner is an unknown id.

    Any call may raise StoreUnavailable.

    A store may have more. `create_now(create) -> int` and `append_now(append) -> int`, or None, are a `create` and an
    `append` that never wait. `async create_then(create, then)` is a `create` that calls `then(epoch)` once the task is
    there, also where its caller is canceled. `submit(append, then) -> asyncio.Future[int]` is an `append` without a
    coroutine, whose future cannot be canceled, and which calls `then(last_turn)` once the record is there.
    `recent(key, after, limit) -> Sequence[Record] | None` is a `read` of what this object has appended itself, as far
    as that is known without waiting: none if its own newest record is the one at `after`, None if it is not known what
    comes next.
    """

    durable: bool
    """Whether tasks outlive the process, and other processes may share the store."""

    async def open(self) -> None:
        """Gets ready. Raises ConfigurationError for a store that cannot be used as it is, StoreUnavailable."""

    async def close(self) -> None:
        """Lets go of what the store holds."""

    async def ping(self) -> None:
        """Returns if the store can be written now, without retries; otherwise raises StoreUnavailable."""

    async def belong_to(self, agent: str) -> str:
        """Keep the name of the agent whose tasks these are, unless a name is kept. Return the name that is kept."""

    # -- replicas

    async def join(self, replica: str, lease_s: float) -> None:
        """Makes a new replica alive, by the store's clock, for `lease_s` seconds."""

    async def renew(self, replica: str, lease_s: float) -> bool:
        """Extend a replica's lease. Return False if the replica is not alive any more.

        A replica that renews in time declares dead those whose lease has lapsed. One that renews late declares nobody
        dead: the store was away, most likely, and the others are about to renew as well."""

    async def leave(self, replica: str) -> None:
        """Ends a replica's life: what it still holds is lost, for others to take over."""

    async def lost(self, limit: int) -> list[TaskKey]:
        """Tasks whose holder is not alive."""

    async def held(self, replica: str) -> list[TaskKey]:
        """Tasks that a replica holds."""

    async def wanted(self, replica: str) -> list[tuple[TaskKey, Head]]:
        """Tasks of a replica that have a request to cancel or messages that wait."""

    # -- a task

    async def create(
        self,
        key: TaskKey,
        record: Record,
        *,
        context_id: str,
        replica: str,
        bind: tuple[str, Binding] | None = None,
        pending: Pending | None = None,
    ) -> int:
        """Opens a log with its first record and claims it for a replica: the claim's epoch. `pending` is kept until a
        later append is `done` with it. Raises AlreadyBound or StoreFull."""

    async def append(self, append: Append) -> int:
        """Adds the record if its seq is the next one and its epoch the newest claim: the newest turn that a message was
        accepted for. A terminal record releases the task, and forgets whatever waits.

        Raises StaleAppend, AlreadyBound.
        """

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        """Adds a message to those that wait for a task; if nobody holds the task, claims it for the replica, too. The
        row after that: the message's turn is its `last_turn`. None for an unknown task.

        The turns in `pending` and in the binding do not count: the store gives the next one. Raises StaleAppend for a
        task that has ended, QueueFull where `limit` messages wait, AlreadyBound.
        """

    async def pending(self, key: TaskKey) -> list[Pending]:
        """The messages of a task that wait or are kept, in order of their turns."""

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        """Takes the task over if nobody else holds it, or a replica that is not alive, or with `force`: a new epoch,
        with which every earlier one is void. The row after that; its `replica` tells who holds it. None for an unknown
        task. Nobody can claim a task that has ended: its row is given as it is.

        Taking a task over that a replica held, were it the same one, counts an `attempt`, unless the task waits for its
        user: then no run is lost.
        """

    async def release(self, key: TaskKey, epoch: int) -> None:
        """Lets nobody hold the task, unless messages wait or the claim is void: then nothing happens."""

    async def ask_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        """Leaves a request to cancel for the holder of a task that has not ended; the first one stays. The row after
        that. None for an unknown task."""

    async def head(self, key: TaskKey) -> Head | None:
        """The task's row; None for an unknown task."""

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        """Return the task as it is now, with the parts that `view` names; None for an unknown task."""

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        """Records after a seq, in order, without gaps, at most `limit`; None for an unknown task."""

    # -- many tasks

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        """The last seq of each task; 0 for an unknown one."""

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        """Return at most `limit` tasks whose newest status left them waiting for their users longer ago than that, by
        the store's clock, and for which no message has come: the longest waiting first."""

    async def count_waiting(self) -> int:
        """Return how many tasks wait for their users."""

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
        """Return tasks of a scope from the newest status to the oldest, beginning after a position.

        Each task has the parts that `view` names. A page ends before the task that would bring its tasks over
        `max_bytes`, but has one task at least: a store knows the sizes before it loads the tasks, and may take them for
        larger than they are.
        """

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        """Binds an idempotency key. Raises AlreadyBound."""

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        """What an idempotency key stands for."""

    async def purge(self, *, ended_age_s: float, keep: int, bound_age_s: float, limit: int) -> int:
        """Remove at most `limit` ended tasks: those that ended so long ago or longer, and the oldest beyond `keep`.
        Forget at most `limit` idempotency keys that were bound so long ago or longer. Never touch a task that has not
        ended. Return the number of tasks and keys removed: 0 once nothing is left to remove.

        Ages are by the store's clock, which also said when a task ended: no clock of a replica, and no timestamp that a
        replica wrote, decides what is removed."""
