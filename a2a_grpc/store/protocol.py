"""The protocol of a store of tasks, and the values that it takes and returns.

For each task a store keeps a log and one row. The log holds records, each with one event of the task. The row holds
what the server needs for its decisions. A store never rewrites a record.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from a2a_grpc.database.unavailable import StoreLost as StoreLost
from a2a_grpc.database.unavailable import StoreUnavailable as StoreUnavailable
from a2a_grpc.store.written import Written
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
    last_turn: int
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


class Create(NamedTuple):
    """A task to create with its first record, and to claim for a replica.

    Attributes:
        key: The name of the task. It is new.
        record: The first record, with seq 1.
        context_id: The conversation that the task belongs to.
        replica: The replica that holds the task from now on.
        bind: An idempotency key to bind, with its binding.
        pending: The message of the first turn, to be kept until an append is `done` with it.
    """

    key: TaskKey
    record: Record
    context_id: str
    replica: str
    bind: tuple[str, Binding] | None = None
    pending: Pending | None = None


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
    """There is no room for another task. Nothing was written."""


class TaskStore(Protocol):
    """A store of tasks. Implement it to keep tasks in another database, and test it with `StoreContract`.

    Guarantees:

    - A change is durable when its call returns, or when the future of its `write` has a result, as far as the store is
      durable. Then each read of each replica reflects it.
    - A call that raises another error than StoreUnavailable has changed nothing. The store retries transient faults
      for a while, and never writes twice.
    - A call that is canceled is over when its CancelledError arrives. Its change has happened or not, and does not
      happen later. Only `write` cannot be canceled.
    - Writes to one task happen in the order in which they were called, whether the caller awaits each of them or not.
    - An append succeeds only if the record is the next one of the log and the writer has the newest claim. Of several
      writers at the same time, one succeeds. Nothing is appended after a terminal state.
    - A replica is alive from `join` until it leaves, or until it does not renew its lease in time. A replica that
      another one has declared dead is never alive again. No other replica gets the tasks of one that is alive.
    - `load` returns a task and its seq as of one moment.
    - Keys are exact. The id of a task of another tenant or owner is an unknown id.

    Each method may raise StoreUnavailable.

    Attributes:
        durable: True if tasks outlive the process, and other processes can share the store.
    """

    durable: bool

    async def open(self) -> None:
        """Prepare the store for use. Connect, and create tables, for example.

        Raises:
            ConfigurationError: The store cannot be used as it is.
            StoreUnavailable: The store does not answer.
        """

    async def close(self) -> None:
        """Release the connections and files of the store."""

    async def ping(self) -> None:
        """Check, without retries, that the store can be written now.

        Raises:
            StoreUnavailable: It cannot.
        """

    async def belong_to(self, agent: str) -> str:
        """Keep the name of the agent that the tasks belong to, unless a name is kept already. Return the kept name.

        Args:
            agent: The name of the agent.
        """

    # -- replicas

    async def join(self, replica: str, lease_s: float) -> None:
        """Make a new replica alive.

        Args:
            replica: The id of the replica.
            lease_s: Seconds for which it is alive, by the clock of the store.
        """

    async def renew(self, replica: str, lease_s: float) -> bool:
        """Extend the lease of a replica. Return False if the replica is not alive any more.

        A replica that renews in time declares dead each replica whose lease is over. A replica that renews late
        declares none dead. The store was probably away, and the others are about to renew, too.

        Args:
            replica: The id of the replica.
            lease_s: Seconds for which it is alive from now on.
        """

    async def leave(self, replica: str) -> None:
        """End the life of a replica. Others can take over the tasks that it still holds.

        Args:
            replica: The id of the replica.
        """

    async def lost(self, limit: int) -> list[TaskKey]:
        """Return tasks whose holder is not alive.

        Args:
            limit: The largest number of tasks.
        """

    async def held(self, replica: str) -> list[TaskKey]:
        """Return the tasks that a replica holds.

        Args:
            replica: The id of the replica.
        """

    async def wanted(self, replica: str) -> list[tuple[TaskKey, Head]]:
        """Return the tasks of a replica for which a request to cancel or a message waits, each with its row.

        Args:
            replica: The id of the replica.
        """

    # -- a task

    def write(self, write: Create | Append) -> Written:
        """Begin to create a task or to append a record. Return the future of this, and raise nothing.

        The writes of one task happen in the order of the calls. Once it was called, a write happens or fails: its
        callers cannot cancel it. If a store can write at once, the future that it returns is done.

        A record with a terminal state releases the task, and deletes the messages and the request to cancel that wait.

        Args:
            write: The task to create, or the record to append, with further changes that happen in the same
                transaction.

        Returns:
            A future. Its result is the epoch of the new claim for a `Create`, and the newest turn for which a message
            was accepted for an `Append`. Its error is StaleAppend, AlreadyBound or StoreFull if nothing was written. It
            is StoreUnavailable if the write may have happened or not. Then callers read what is stored.
        """

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        """Add a message to those that wait for a task. If the task is free, claim it for the replica, too.

        Args:
            key: The name of the task.
            pending: The message. The store gives it the next turn and ignores its own `turn`.
            replica: The replica that holds the task from now on, if it was free.
            limit: The largest number of messages that may wait. A task that waits for its user accepts one message in
                any case.
            bind: An idempotency key to bind. The store puts the turn of the message into its binding.

        Returns:
            The row after that, whose `last_turn` is the turn of the message; None for an unknown task.

        Raises:
            StaleAppend: The task has ended.
            QueueFull: Too many messages wait.
            AlreadyBound: The idempotency key is bound.
        """

    async def pending(self, key: TaskKey) -> list[Pending]:
        """Return the messages of a task that wait or are kept, in order of their turns.

        Args:
            key: The name of the task.
        """

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        """Claim a task for a replica, if the task is free, or held by this replica or by one that is not alive.

        A claim has a new epoch and makes all earlier ones void. A task that has ended cannot be claimed.

        If a replica held the task, even this one, the claim adds 1 to `attempt`, since a run was lost. It does not if
        the task waits for its user.

        Args:
            key: The name of the task.
            replica: The replica that wants the task.
            force: True to claim the task even if another replica that is alive holds it.

        Returns:
            The row after that. Its `replica` says which replica holds the task. None for an unknown task.
        """

    async def release(self, key: TaskKey, epoch: int) -> None:
        """Make a task free. Do nothing if messages wait for it, or if the claim is void.

        Args:
            key: The name of the task.
            epoch: The claim of the holder.
        """

    async def ask_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        """Leave a request to cancel for the holder of a task, unless the task has ended. The first request stays.

        Args:
            key: The name of the task.
            metadata: The metadata of the request, a serialised `Struct`.

        Returns:
            The row after that; None for an unknown task.
        """

    async def head(self, key: TaskKey) -> Head | None:
        """Return the row of a task; None for an unknown task.

        Args:
            key: The name of the task.
        """

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        """Return a task as it is now; None for an unknown task.

        Args:
            key: The name of the task.
            view: The parts of the task to read.
        """

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        """Return the records after a seq, in order and without gaps; None for an unknown task.

        Args:
            key: The name of the task.
            after: The seq before the first record; 0 for all records.
            limit: The largest number of records.
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

    # -- many tasks

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        """Return the newest seq of each task, in the order of the keys; 0 for an unknown task.

        Args:
            keys: The names of the tasks.
        """

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        """Return tasks that have waited for their users for longer than a time, the longest waiting first.

        A task for which a message has come is not among them.

        Args:
            than_s: The time in seconds since the newest status, by the clock of the store.
            limit: The largest number of tasks.
        """

    async def count_waiting(self) -> int:
        """Return the number of tasks that wait for their users."""

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
        """Return a page of the tasks of a scope, from the newest status to the oldest.

        Args:
            scope: The owner of the tasks.
            where: The conditions.
            after: The position before the first task; None for the first page.
            limit: The largest number of tasks.
            view: The parts of each task to read.
            max_bytes: The largest size of all tasks of the page together. The page ends before the task that would
                exceed it, but has at least one task. A store knows sizes before it loads tasks, and may overestimate
                them.
        """

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        """Bind an idempotency key.

        Args:
            scope: The caller that the key belongs to.
            key: The key.
            binding: The request that the key stands for.

        Raises:
            AlreadyBound: The key is bound.
        """

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        """Return the binding of an idempotency key; None for an unknown key.

        Args:
            scope: The caller that the key belongs to.
            key: The key.
        """

    async def purge(self, *, ended_age_s: float, keep: int, bound_age_s: float, limit: int) -> int:
        """Delete old tasks and old idempotency keys. Return their number; 0 if nothing is left to delete.

        Only tasks that have ended are deleted. Ages are by the clock of the store, which also gives the time when a
        task ended. No time that a replica wrote decides what is deleted.

        Args:
            ended_age_s: Seconds after its end at which a task is deleted.
            keep: The number of ended tasks to keep. The oldest beyond it are deleted.
            bound_age_s: Seconds after its binding at which a key is deleted.
            limit: The largest number of tasks, and of keys, to delete in this call.
        """
