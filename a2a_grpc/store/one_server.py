"""The parts of a store that one server can have in memory: claims, messages, idempotency keys, notes, push configs."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from itertools import islice, takewhile

from a2a_grpc.lifecycle import INTERRUPTED, TERMINAL
from a2a_grpc.store.bindings import Bindings
from a2a_grpc.store.leases import Leases
from a2a_grpc.store.local_notes import LocalNotes
from a2a_grpc.store.local_outbox import LocalOutbox
from a2a_grpc.store.pushes import Pushes
from a2a_grpc.store.records import Records
from a2a_grpc.store.row import MemoryRow
from a2a_grpc.store.values import (
    WHOLE,
    AlreadyBound,
    Append,
    Binding,
    Create,
    Head,
    ListFilter,
    Note,
    Page,
    Pending,
    Position,
    Record,
    Scope,
    Snapshot,
    StaleAppend,
    StoreFull,
    StoreUnavailable,
    TaskKey,
    TaskView,
)
from a2a_grpc.store.written import Writing, Written, over, refused, written

FORMER = "the process before this one"
"""The replica that holds the tasks at which an earlier process was at work."""


class OneServer(LocalOutbox):
    """Makes a store for one server from a store that keeps tasks. `TaskStore` documents its methods.

    The tasks are as durable as `records` makes them. The claims, the messages that wait, the requests to cancel, the
    idempotency keys, the notes and the push configs are in memory, so they end with the process. Notes end with their
    task, or later if the task ends while it waits for its user. When the server starts again, it goes on with the
    tasks that `records` returns from `open`. Those that wait for their users wait on. The others fail, since the
    messages that began them are gone.

    Guarantees, in addition to those of `records`:

    - Of the changes that a `write` brings, all happen or none.
    - If it is not known whether a write happened, later calls for the task first read in `records` whether it did.
    - It holds at most `max_bindings` idempotency keys. For a new one it deletes the oldest.
    - It holds at most `max_pushes` push configs, and refuses more.
    - It holds at most `max_note_bytes` of notes. For a new one it deletes those of the tasks that ended first, and
      refuses it with StoreFull if none is left.

    Args:
        records: The store that keeps the tasks. `OneServer` opens and closes it.
        max_bindings: The largest number of idempotency keys.
        max_pushes: The largest number of push configs.
        max_note_bytes: The largest size of all notes together, in bytes.
        clock: A function that returns the time in seconds.

    Attributes:
        durable: The same as that of `records`.
        shared: False, since other processes cannot see the claims.
        keeps_messages: False, since messages end with the process.
    """

    durable: bool
    shared = False
    keeps_messages = False

    def __init__(
        self,
        records: Records,
        *,
        max_bindings: int = 200_000,
        max_pushes: int = 100_000,
        max_note_bytes: int = 1 << 28,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.durable = records.durable
        self._records = records
        self._clock = clock
        self._rows: dict[TaskKey, MemoryRow] = {}  # of the tasks that have not ended
        self._newest: dict[TaskKey, Written] = {}  # the newest write of each task that has one under way
        self._unsure: dict[TaskKey, list[Create | Append]] = {}  # writes that may have happened or not
        self._leases = Leases(clock)
        self._bindings = Bindings(max_bindings, clock)
        self._notes = LocalNotes(max_note_bytes)
        super().__init__(Pushes(max_pushes, clock, time.time), self._leases.__contains__)
        self._waiting: dict[TaskKey, float] = {}  # for their users: since when, the longest waiting first
        self._agent: str | None = None
        self._written = lru_cache(maxsize=64)(written)  # a future that is done serves all writes with its result

    # -- records

    async def open(self) -> Collection[TaskKey]:
        for key in await self._records.open():
            if (head := await self._records.head(key)) is not None and head.state not in TERMINAL:
                row = self._rows[key] = MemoryRow(*head[:6], head.turn)
                if head.state in INTERRUPTED:
                    self._waiting[key] = self._clock()
                else:
                    self._hold(key, row, FORMER)
        return ()

    async def close(self) -> None:
        await self._records.close()
        self._leases.clear()
        self._bindings.clear()
        self._pushes.clear()
        self._notes.clear()
        for known in (self._rows, self._newest, self._unsure, self._waiting):
            known.clear()

    async def ping(self) -> None:
        await self._records.ping()

    def write(self, write: Create | Append) -> Written:
        key = write.key
        if isinstance(write, Append) and ((row := self._rows.get(key)) is None or row.epoch != write.epoch):
            return refused(StaleAppend())
        if isinstance(write, Create) and write.pushes and self._pushes.is_full:
            return refused(StoreFull("the store has no room for another push config"))
        if (bind := write.bind) is not None:
            if (bound := self._bindings.get(key.scope, bind[0])) is not None:
                return refused(AlreadyBound(bound))
            self._bindings.put(key.scope, *bind)
        begun = self._records.write(write)
        if not begun.done():
            self._newest[key] = told = Writing()
            begun.add_done_callback(partial(self._land, write, told))
            return told
        if (error := begun.exception()) is not None:
            self._fail(write, error)
            return begun
        result = self._apply(write)
        return begun if result == begun.result() else self._written(result)

    def _land(self, write: Create | Append, told: Writing, begun: Written) -> None:
        """Take note of a write that was under way."""
        if (error := begun.exception()) is not None:
            self._fail(write, error)
            told.set_exception(error)
        else:
            told.set_result(self._apply(write))
        if self._newest.get(write.key) is told:
            del self._newest[write.key]

    def _fail(self, write: Create | Append, error: BaseException) -> None:
        if isinstance(error, StoreUnavailable):
            self._unsure.setdefault(write.key, []).append(write)
        elif write.bind is not None:
            self._bindings.drop(write.key.scope, write.bind[0])

    async def _settled(self, key: TaskKey) -> MemoryRow | None:
        """Return the row of a task once all its writes are over and known; None if it has ended or is unknown."""
        while key in self._newest or key in self._unsure:
            if (newest := self._newest.get(key)) is not None:
                await over(newest)
                continue
            head = await self._records.head(key)
            for write in self._unsure.pop(key, ()):
                if head is not None and write.record.seq <= head.seq:
                    self._apply(write)
                elif write.bind is not None:
                    self._bindings.drop(key.scope, write.bind[0])
        return self._rows.get(key)

    def _apply(self, write: Create | Append) -> int:
        """Make the further changes of a write that has happened. Return what its future gives."""
        if isinstance(write, Create):
            return self._add(write)
        key, record, _, _, done, release, keep = write
        seq, event, state, turn, at_us, message = record
        row = self._rows[key]
        was_waiting = row.is_waiting
        row.seq, row.state = seq, state
        row.size += len(event) + len(message)
        if turn > row.turn:
            row.open_turn(turn, done)
        if done or keep:
            row.change_pending(done, keep)
            self._notes.drop_turns(key, done)
        if at_us:
            if self._waiting:
                self._waiting.pop(key, None)
            if state in INTERRUPTED:
                self._waiting[key] = self._clock()
        if state in TERMINAL:
            self._hold(key, row, "")
            self._waiting.pop(key, None)
            del self._rows[key]
            if was_waiting:
                self._notes.end(key)  # its handler may have to be run up to its question once more
            else:
                self._notes.drop(key)
            return turn
        if release and row.last_turn == turn:
            self._hold(key, row, "")
        return row.last_turn

    def _add(self, create: Create) -> int:
        """Begin the row of a task that was created, unless the task has ended. Return its epoch."""
        key, record = create.key, create.record
        for push in create.pushes:
            self._pushes.put(key, push, 0)
        if record.state not in TERMINAL:
            first = record.state, record.turn, 1, create.context_id, record.size, record.turn
            row = self._rows[key] = MemoryRow(1, *first)
            row.pending = (create.pending,) if create.pending else ()
            self._hold(key, row, create.replica)
        return 1

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        return await self._records.read(key, after, limit)

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        return await self._records.load(key, view)

    async def head(self, key: TaskKey) -> Head | None:
        row = await self._settled(key)
        return self._head(row) if row is not None else await self._ended(key)

    async def _ended(self, key: TaskKey) -> Head | None:
        """Return the row of a task that has ended; None for an unknown task."""
        head = await self._records.head(key)
        return head and head._replace(last_turn=head.turn)

    def _head(self, row: MemoryRow) -> Head:
        return row.head(is_lost=bool(row.replica) and row.replica not in self._leases)

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        removed = await self._records.purge(ended_age_s=ended_age_s, keep=keep, limit=limit)
        if removed:
            for key in {*self._pushes.tasks(), *self._notes.ended()}:
                if key not in self._rows and await self._records.head(key) is None:
                    self._pushes.delete_all(key)
                    self._notes.drop(key)
        return removed

    # -- coordination

    async def belong_to(self, agent: str) -> str:
        if self._agent is None:
            self._agent = agent
        return self._agent

    async def join(self, replica: str, lease_s: float) -> None:
        self._leases.join(replica, lease_s)

    async def renew(self, replica: str, lease_s: float) -> bool:
        return self._leases.renew(replica, lease_s)

    async def leave(self, replica: str) -> None:
        self._leases.leave(replica)

    async def orphaned(self, limit: int) -> list[TaskKey]:
        return self._leases.orphaned(limit)

    async def claimed_by(self, replica: str) -> list[TaskKey]:
        for key in list(self._unsure):
            await self._settled(key)
        return self._leases.claimed_by(replica)

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        if (row := await self._settled(key)) is None:
            return await self._ended(key)
        if force or row.replica in ("", replica) or row.replica not in self._leases:
            row.count_claim()
            self._hold(key, row, replica)
        return self._head(row)

    async def release(self, key: TaskKey, epoch: int) -> None:
        row = await self._settled(key)
        if row is not None and row.epoch == epoch and row.last_turn == row.turn:
            self._hold(key, row, "")

    def _hold(self, key: TaskKey, row: MemoryRow, replica: str) -> None:
        """Record that a replica holds the task, or, with "", that it is free."""
        if replica and not row.replica:
            self._pushes.wake(key)
        self._leases.move(key, row.replica, replica)
        row.replica = replica

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        heads = [await self.head(key) for key in keys]
        return [head.seq if head else 0 for head in heads]

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        before = self._clock() - than_s
        expired = (key for key, since in takewhile(lambda item: item[1] < before, self._waiting.items()))
        return list(islice((key for key in expired if self._rows[key].last_turn == self._rows[key].turn), limit))

    async def count_waiting(self) -> int:
        return len(self._waiting)

    # -- mailbox

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        if (row := await self._settled(key)) is None:
            if await self._records.head(key) is None:
                return None
            raise StaleAppend
        row.check_room(limit)
        turn = row.last_turn + 1
        if bind:
            self._bindings.check(key.scope, bind[0])
            self._bindings.put(key.scope, bind[0], bind[1]._replace(turn=turn))
        row.last_turn = turn
        row.pending += (pending._replace(turn=turn),)
        if not row.replica:
            row.count_claim()
            self._hold(key, row, replica)
        return self._head(row)

    async def pending(self, key: TaskKey) -> list[Pending]:
        row = await self._settled(key)
        return list(row.pending) if row else []

    async def needing_attention(self, replica: str) -> list[tuple[TaskKey, Head]]:
        held = [(key, self._rows[key]) for key in self._leases.claimed_by(replica)]
        return [(key, self._head(row)) for key, row in held if row.cancel is not None or row.last_turn > row.turn]

    async def request_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        if (row := await self._settled(key)) is None:
            return await self._ended(key)
        if row.cancel is None:
            row.cancel = metadata
        return self._head(row)

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        self._bindings.check(scope, key)
        self._bindings.put(scope, key, binding)

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        return self._bindings.get(scope, key)

    async def forget(self, *, bound_age_s: float, limit: int) -> int:
        return self._bindings.forget(bound_age_s, limit)

    # -- notes

    async def put_note(self, key: TaskKey, note: Note, *, epoch: int) -> None:
        row = await self._settled(key)
        if row is None or row.epoch != epoch:
            raise StaleAppend
        self._notes.put(key, note)

    async def get_note(self, key: TaskKey, turn: int, name: str) -> bytes | None:
        await self._settled(key)
        return self._notes.get(key, turn, name)

    async def note_sizes(self, key: TaskKey, turn: int) -> dict[str, int]:
        await self._settled(key)
        return self._notes.sizes(key, turn)

    # -- lists (in the last place, because the name of the method hides the built-in type from annotations)

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
        return await self._records.list(scope, where, after, limit, view=view, max_bytes=max_bytes)
