"""What a store of tasks guarantees, with the values that go in and out.

A store keeps, per task, a log of records and one row about it. It rewrites nothing that grows.
"""

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
    bytes: int
    """Sum of the sizes of the records: their events and messages."""


class Snapshot(NamedTuple):
    """A serialised `Task` together with the seq it reflects, and the state and turn it had come to."""

    seq: int
    task: bytes
    state: TaskState
    turn: int


class Binding(NamedTuple):
    """What an idempotency key stands for: the request that came with it first, and what that request led to."""

    fingerprint: bytes
    task_id: str = ""
    turn: int = 0
    reply: bytes = b""
    """The serialised reply, where the agent answers with a message and there is no task."""


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


class StaleAppend(Exception):
    """The log has moved on or the claim was lost; nothing was written."""


class AlreadyBound(Exception):
    """The idempotency key stands for an earlier request; nothing was written."""

    def __init__(self, binding: Binding) -> None:
        super().__init__("the idempotency key is bound")
        self.binding = binding


class StoreFull(Exception):
    """No room for another task; nothing was written."""


class TaskStore(Protocol):
    """Guarantees:

    - What `create` or `append` wrote is durable, in the sense of the store, before it returns; then every `read`,
      `load`, `head` and `list` reflects it.
    - A failed call has written nothing.
    - `append` succeeds only on the log as the caller knows it and only for the holder of the newest claim: of racing
      writers one wins. Nothing is appended after a terminal state.
    - `load` gives a task and its seq as of one instant.
    - Keys are exact: an id of another tenant or owner is an unknown id.
    """

    durable: bool
    """Whether tasks outlive the process."""

    async def create(self, key: TaskKey, record: Record, *, context_id: str, bind: tuple[str, Binding] | None) -> int:
        """Opens a log with its first record and claims it: the claim's epoch. `bind` is an idempotency key to bind.

        Raises AlreadyBound or StoreFull.
        """

    async def append(
        self,
        key: TaskKey,
        record: Record,
        *,
        epoch: int,
        bind: tuple[str, Binding] | None = None,
    ) -> None:
        """Adds the record if its seq is the next one and `epoch` the newest claim. Raises StaleAppend, AlreadyBound."""

    async def claim(self, key: TaskKey) -> int | None:
        """Takes the task over: a new epoch, with which every earlier one is void. None for an unknown task."""

    async def head(self, key: TaskKey) -> Head | None:
        """The task's row; None for an unknown task."""

    async def load(self, key: TaskKey) -> Snapshot | None:
        """The task as it is now; None for an unknown task."""

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        """Records after a seq, in order, without gaps, at most `limit`; None for an unknown task."""

    async def list(self, scope: Scope, where: ListFilter, after: Position | None, limit: int) -> Page:
        """Tasks of a scope from the newest status to the oldest, beginning after a position."""

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        """Binds an idempotency key. Raises AlreadyBound."""

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        """What an idempotency key stands for."""

    async def purge(self, *, ended_before_us: int, keep: int, bound_before_us: int, limit: int) -> int:
        """Removes at most `limit` ended tasks: those that ended before a moment, and the oldest beyond `keep`. Forgets
        at most `limit` idempotency keys that were bound before a moment. Never touches a task that has not ended.
        Gives the number of tasks and keys removed: 0 once nothing is left to remove."""

    async def close(self) -> None:
        """Lets go of what the store holds."""
