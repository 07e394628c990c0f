"""The rows of tasks in the memory of one server, and the writes that change them."""

from collections.abc import Callable
from functools import lru_cache, partial

from a2a_grpc.lifecycle import INTERRUPTED, TERMINAL
from a2a_grpc.store.bindings import Bindings
from a2a_grpc.store.leases import Leases
from a2a_grpc.store.local_notes import LocalNotes
from a2a_grpc.store.local_outbox import LocalOutbox
from a2a_grpc.store.pushes import Pushes
from a2a_grpc.store.records import Records
from a2a_grpc.store.row import MemoryRow
from a2a_grpc.store.values import Head, StoreUnavailable, TaskKey
from a2a_grpc.store.writes import AlreadyBound, Append, Create, StaleAppend, StoreFull
from a2a_grpc.store.written import Writing, Written, over, refused, written


class LocalRows(LocalOutbox):
    """Makes the changes of each write to claims, messages, idempotency keys, notes and push configs, which are in
    memory.

    Args:
        records: The store that keeps the tasks.
        clock: A function that returns the time in seconds.
        bindings: The idempotency keys.
        notes: The notes.
        pushes: The push configs.
    """

    def __init__(
        self, records: Records, clock: Callable[[], float], bindings: Bindings, notes: LocalNotes, pushes: Pushes
    ) -> None:
        self._records = records
        self._clock = clock
        self._bindings = bindings
        self._notes = notes
        self._leases = Leases(clock)
        super().__init__(pushes, self._leases.__contains__)
        self._rows: dict[TaskKey, MemoryRow] = {}  # of the tasks that have not ended
        self._newest: dict[TaskKey, Written] = {}  # the newest write of each task that has one under way
        self._unsure: dict[TaskKey, list[Create | Append]] = {}  # writes that may have happened or not
        self._waiting: dict[TaskKey, float] = {}  # for their users: since when, the longest waiting first
        self._written = lru_cache(maxsize=64)(written)  # a future that is done serves all writes with its result

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

    async def head(self, key: TaskKey) -> Head | None:
        row = await self._settled(key)
        return self._head(row) if row is not None else await self._ended(key)

    async def _ended(self, key: TaskKey) -> Head | None:
        """Return the row of a task that has ended; None for an unknown task."""
        head = await self._records.head(key)
        return head and head._replace(last_turn=head.turn)

    def _head(self, row: MemoryRow) -> Head:
        return row.head(is_lost=bool(row.replica) and row.replica not in self._leases)

    def _hold(self, key: TaskKey, row: MemoryRow, replica: str) -> None:
        """Record that a replica holds the task, or, with "", that it is free."""
        if replica and not row.replica:
            self._pushes.wake(key)
        self._leases.move(key, row.replica, replica)
        row.replica = replica
