"""A store in the memory of the process. It is fast and bounded, and its tasks end with the process."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice, takewhile
from typing import NamedTuple

from a2a_grpc.lifecycle import INTERRUPTED, TERMINAL
from a2a_grpc.offload import offload
from a2a_grpc.store.growing import folded
from a2a_grpc.store.order import Order, Sorted
from a2a_grpc.store.protocol import (
    WHOLE,
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
    TaskKey,
    TaskView,
)
from a2a_grpc.store.views import (
    RECORD_COST,
    chosen,
    core_of,
    cost_of,
    cut,
    merged_core,
    recent,
    size_of,
    told_by,
)
from a2a_grpc.store.written import Written, refused, written
from a2a_grpc.wire import TaskState

FREED_RECORDS = 5_000
"""Records that are freed at a time."""
EVICTED_TASKS = 500
"""The most tasks that are evicted for a new one, which takes a millisecond. Later new ones evict more if needed."""


class _Fold(NamedTuple):
    """The task after the first records of its log, kept so that no record is folded twice."""

    task: bytes
    """The serialised task."""
    records: int
    """Number of records that are folded."""
    size: int
    """Bytes of those records."""


class _Log:
    """The records of one task with its row. A task is put together when a reader asks for it, never by an append."""

    __slots__ = (
        "_reading",
        "at_us",
        "attempt",
        "bytes",
        "cancel",
        "context_id",
        "core",
        "counts",
        "epoch",
        "last",
        "last_turn",
        "lean",
        "order",
        "pending",
        "records",
        "replica",
        "status_bytes",
        "statuses",
        "whole",
    )

    def __init__(self, record: Record, context_id: str, order: Order) -> None:
        self.records = [record]
        self.last = record
        self.order = order
        self.context_id = context_id
        self.epoch = 1
        self.last_turn = record.turn
        self.attempt = 1
        self.replica = ""
        self.cancel: bytes | None = None
        self.pending: tuple[Pending, ...] = ()
        self.bytes = record.size
        self.at_us = record.at_us
        self.statuses = [record]
        """The records that bring a status: all of a task except its artifacts."""
        self.status_bytes = record.size
        self.counts: list[int] = []
        """Messages in each of `statuses`, as far as they were counted."""
        self.core: bytes | None = None
        """The core of the task as of the records that were counted."""
        self.whole: _Fold | None = None
        self.lean: _Fold | None = None
        """The task without its artifacts."""
        self._reading: asyncio.Lock | None = None

    @property
    def state(self) -> TaskState:
        return self.last.state

    @property
    def reading(self) -> asyncio.Lock:
        """The lock of the one reader that puts the task together. Readers that wait for it then use the result."""
        if self._reading is None:
            self._reading = asyncio.Lock()
        return self._reading

    async def load(self, view: TaskView) -> Snapshot:
        """Return the task as of the newest record when the task is put together."""
        async with self.reading:
            last = self.last
            if view.artifacts:
                self.whole = made = await _grown(self.whole, self.records, self.bytes)
            elif view.history_length is None or not await self._count():
                self.lean = made = await _grown(self.lean, self.statuses, self.status_bytes)
            else:
                records = self.recent(view.history_length)
                task = await offload(cost_of(records), recent, self.core or b"", records, view.history_length)
                return Snapshot(last.seq, task, last.state, last.turn)
        task = made.task
        if view.history_length is not None:  # artifacts are left out already
            task = await offload(len(task), cut, task, view)
        return Snapshot(last.seq, task, last.state, last.turn)

    async def size(self, view: TaskView) -> int:
        """Return how many bytes the task has at most, with the parts that the view names."""
        artifacts = self.bytes - self.status_bytes if view.artifacts else 0
        if view.history_length is None:
            return artifacts + self.status_bytes
        async with self.reading:
            is_counted = await self._count()
        if not is_counted:
            return artifacts + self.status_bytes
        sizes = ((len(record.event), len(record.message)) for record in self.recent(view.history_length))
        return artifacts + size_of(len(self.core or b""), sizes, view.history_length)

    def recent(self, length: int) -> list[Record]:
        """Return the records that the task with so many messages is made of."""
        return [self.statuses[place] for place in chosen(self.counts, length)]

    async def free(self) -> None:
        """Free the records of a log that was removed, in steps. A million of them take 100 ms."""
        if len(self.records) <= FREED_RECORDS:
            return
        async with self.reading:
            while self.records:
                self._free_last()
                await asyncio.sleep(0)

    def free_some(self) -> bool:
        """Do one step of `free`, unless a reader has the log in hand. Return True if nothing is left."""
        if not self.reading.locked():
            self._free_last()
        return not self.records

    def _free_last(self) -> None:
        del self.statuses[-FREED_RECORDS:]
        del self.records[-FREED_RECORDS:]

    async def _count(self) -> bool:
        """Bring `counts` and `core` up to the newest record. Return False if some record is not understood."""
        start, upto = len(self.counts), len(self.statuses)
        if start < upto:
            cost = self.status_bytes if not start else RECORD_COST * (upto - start)
            self.core, counts = await offload(cost, _counted, self.core, self.statuses, start, upto)
            self.counts += counts
        return self.core is not None


async def _grown(known: _Fold | None, records: Sequence[Record], size: int) -> _Fold:
    """Return the fold of all records, which have so many bytes."""
    known, upto = known or _Fold(b"", 0, 0), len(records)
    if known.records == upto:
        return known
    cost = len(known.task) + size - known.size + RECORD_COST * (upto - known.records)
    return _Fold(await offload(cost, _refolded, known.task, records, known.records, upto), upto, size)


def _refolded(task: bytes, records: Sequence[Record], start: int, upto: int) -> bytes:
    return folded([task], list(islice(records, start, upto)))


def _counted(core: bytes | None, records: Sequence[Record], start: int, upto: int) -> tuple[bytes | None, list[int]]:
    """Return the core once the records of a range are folded, with the number of messages in each of them."""
    counts = []
    for place, record in enumerate(islice(records, start, upto), start):
        told = told_by(record)
        if place == 0:
            core = core_of(record.event)
        elif told.messages is None:
            core = None
        elif core is not None and told.has_metadata:
            core = merged_core(core, record)
        counts.append(told.messages or 0)
    return core, counts


class MemoryStore:
    """A task store in the memory of the process (`memory:`). `TaskStore` documents its methods.

    Guarantees, in addition to those of `TaskStore`:

    - The time of an append does not depend on the size of the task.
    - The store holds at most `max_tasks` tasks and about `max_bytes` of events. For a new task it deletes the tasks
      that ended first. If none has ended, a `Create` fails with StoreFull. It never deletes a task that has not ended.
    - The store holds at most `max_bindings` idempotency keys. For a new one it deletes the oldest.

    Args:
        max_tasks: The largest number of tasks.
        max_bytes: The largest size of all events together, in bytes.
        max_bindings: The largest number of idempotency keys.
        clock: A function that returns the time in seconds.

    Attributes:
        durable: False, since the tasks end with the process.
    """

    durable = False

    def __init__(
        self,
        *,
        max_tasks: int = 100_000,
        max_bytes: int = 1 << 30,
        max_bindings: int = 200_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._max_bindings = max_bindings
        self._bytes = 0
        self._logs: dict[TaskKey, _Log] = {}
        self._leases: dict[str, float] = {}  # of each replica that is alive: until when
        self._held: dict[str, set[TaskKey]] = {}  # by replica
        self._evicted: deque[_Log] = deque()  # whose records are still to be freed
        self._ended: dict[TaskKey, float] = {}  # when, in the order in which they ended
        self._waiting: dict[TaskKey, float] = {}  # for their users: since when, the longest waiting first
        self._orders: dict[Scope, Order] = {}
        self._bindings: dict[tuple[Scope, str], tuple[float, Binding]] = {}  # in the order in which they were bound
        self._agent: str | None = None
        self._written = lru_cache(maxsize=64)(written)  # a future that is done serves all writes with its result

    async def open(self) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def belong_to(self, agent: str) -> str:
        if self._agent is None:
            self._agent = agent
        return self._agent

    async def join(self, replica: str, lease_s: float) -> None:
        self._leases[replica] = self._clock() + lease_s

    async def renew(self, replica: str, lease_s: float) -> bool:
        if replica not in self._leases:
            return False
        now = self._clock()
        was_late = self._leases[replica] < now
        self._leases[replica] = now + lease_s
        for lapsed in [other for other, until in self._leases.items() if until < now and not was_late]:
            await self.leave(lapsed)
        return True

    async def leave(self, replica: str) -> None:
        self._leases.pop(replica, None)
        if not self._held.get(replica):
            self._held.pop(replica, None)

    async def lost(self, limit: int) -> list[TaskKey]:
        dead = (keys for replica, keys in self._held.items() if replica not in self._leases)
        return list(islice((key for keys in dead for key in keys), limit))

    async def held(self, replica: str) -> list[TaskKey]:
        return list(self._held.get(replica, ()))

    async def wanted(self, replica: str) -> list[tuple[TaskKey, Head]]:
        held = [(key, self._logs[key]) for key in self._held.get(replica, ())]
        return [(key, self._head(log)) for key, log in held if log.cancel is not None or log.last_turn > log.last.turn]

    def write(self, write: Create | Append) -> Written:
        try:
            return self._written(self._append(write) if isinstance(write, Append) else self._create(write))
        except (StaleAppend, AlreadyBound, StoreFull) as error:
            return refused(error)

    def _create(self, create: Create) -> int:
        key, record, context_id, replica, bind, pending = create
        if bind:
            self._check_unbound(key.scope, bind[0])
        self._make_room()
        if (order := self._orders.get(key.scope)) is None:
            order = self._orders[key.scope] = Order()
        log = self._logs[key] = _Log(record, context_id, order)
        self._bytes += log.bytes
        order.tasks += 1
        order.moved[key.id] = log
        if record.state in TERMINAL:
            self._ended[key] = self._clock()
        else:
            self._hold(key, log, replica)
            log.pending = (pending,) if pending else ()
        if bind:
            self._bind(key.scope, *bind)
        return log.epoch

    def _append(self, append: Append) -> int:
        key, record, epoch, bind, done, release, keep = append
        log = self._logs.get(key)
        if log is None or log.epoch != epoch:
            raise StaleAppend
        last = log.last
        if record.seq != last.seq + 1 or last.state in TERMINAL:
            raise StaleAppend
        if bind:
            self._check_unbound(key.scope, bind[0])
            self._bind(key.scope, *bind)
        size = record.size
        log.records.append(record)
        log.last = record
        log.bytes += size
        self._bytes += size
        if record.turn > last.turn:
            log.attempt = 1 if done else log.attempt
            log.last_turn = max(log.last_turn, record.turn)
        if done and log.pending:
            log.pending = tuple(pending for pending in log.pending if pending.turn > done)
        if keep:
            log.pending = (keep, *(pending for pending in log.pending if pending.turn > keep.turn))
        if record.at_us:
            log.at_us = record.at_us
            log.statuses.append(record)
            log.status_bytes += size
            log.order.moved[key.id] = log
            if self._waiting:
                self._waiting.pop(key, None)
            if record.state in INTERRUPTED:
                self._waiting[key] = self._clock()
        if record.state in TERMINAL:
            self._ended[key] = self._clock()
            log.last_turn, log.pending, log.cancel = record.turn, (), None
            self._hold(key, log, "")
        elif release and log.last_turn == record.turn:
            self._hold(key, log, "")
        return log.last_turn

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        log = self._logs.get(key)
        if log is None:
            return None
        if log.last.state in TERMINAL:
            raise StaleAppend
        waiting = log.last_turn - log.last.turn
        if waiting >= max(limit, log.last.state in INTERRUPTED):
            raise QueueFull(waiting)
        turn = log.last_turn + 1
        if bind:
            self._check_unbound(key.scope, bind[0])
            self._bind(key.scope, bind[0], bind[1]._replace(turn=turn))
        log.last_turn = turn
        log.pending += (pending._replace(turn=turn),)
        if not log.replica:
            log.epoch += 1
            self._hold(key, log, replica)
        return self._head(log)

    async def pending(self, key: TaskKey) -> list[Pending]:
        log = self._logs.get(key)
        return list(log.pending) if log else []

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        log = self._logs.get(key)
        if log is None:
            return None
        is_free = log.replica in ("", replica) or log.replica not in self._leases
        if log.last.state not in TERMINAL and (is_free or force):
            log.epoch += 1
            if log.replica and log.last.state not in INTERRUPTED:
                log.attempt += 1
            self._hold(key, log, replica)
        return self._head(log)

    async def release(self, key: TaskKey, epoch: int) -> None:
        log = self._logs.get(key)
        if log is not None and log.epoch == epoch and log.last_turn == log.last.turn:
            self._hold(key, log, "")

    async def ask_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        log = self._logs.get(key)
        if log is None:
            return None
        if log.last.state not in TERMINAL and log.cancel is None:
            log.cancel = metadata
        return self._head(log)

    async def head(self, key: TaskKey) -> Head | None:
        log = self._logs.get(key)
        return self._head(log) if log else None

    def _head(self, log: _Log) -> Head:
        last = log.last
        return Head(
            last.seq,
            last.state,
            last.turn,
            log.epoch,
            log.context_id,
            log.bytes,
            log.last_turn,
            log.attempt,
            log.replica,
            bool(log.replica) and log.replica not in self._leases,
            log.cancel,
        )

    def _hold(self, key: TaskKey, log: _Log, replica: str) -> None:
        """Record that a replica holds the task, or, with "", that it is free."""
        if log.replica:
            held = self._held[log.replica]
            held.discard(key)
            if not held and log.replica not in self._leases:
                del self._held[log.replica]
        log.replica = replica
        if replica:
            self._held.setdefault(replica, set()).add(key)

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        log = self._logs.get(key)
        return await log.load(view) if log else None

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        log = self._logs.get(key)
        return log.records[after : after + limit] if log else None

    def recent(self, key: TaskKey, after: int, limit: int) -> Sequence[Record] | None:
        return None

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        return [self._logs[key].last.seq if key in self._logs else 0 for key in keys]

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        before = self._clock() - than_s
        expired = (key for key, since in takewhile(lambda item: item[1] < before, self._waiting.items()))
        return list(islice((key for key in expired if self._logs[key].last_turn == self._logs[key].last.turn), limit))

    async def count_waiting(self) -> int:
        return len(self._waiting)

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
        order = self._orders.get(scope)
        found = await order.of(where.context_id, where.state) if order else Sorted()
        start = found.rank(Position(where.since_us, "")) if where.since_us else 0
        stop = found.size if after is None else found.rank(after)
        total, first = found.size - start, max(start, stop - limit)
        page = [(position, self._logs[TaskKey(*scope, position.id)]) for position in found.between(first, stop)[::-1]]
        tasks: list[Listed] = []
        for position, log in page:
            if max_bytes is not None:
                max_bytes -= await log.size(view)
                if max_bytes < 0 and tasks:
                    break
            tasks.append(Listed(position, await log.load(view)))
        return Page(tasks, total, more=first > start or len(tasks) < len(page))

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        self._check_unbound(scope, key)
        self._bind(scope, key, binding)

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        found = self._bindings.get((scope, key))
        return found[1] if found else None

    async def purge(self, *, ended_age_s: float, keep: int, bound_age_s: float, limit: int) -> int:
        now, surplus = self._clock(), len(self._ended) - keep
        oldest = islice(self._ended.items(), limit)
        doomed = [key for place, (key, at) in enumerate(oldest) if place < surplus or at <= now - ended_age_s]
        removed = 0
        for key in doomed:
            if key not in self._ended:
                continue  # evicted while others were freed
            removed += 1
            await self._remove(key).free()
            if removed % EVICTED_TASKS == 0:
                await asyncio.sleep(0)
        while self._evicted:
            await self._evicted.popleft().free()
        forgotten = [name for name, (at, _) in islice(self._bindings.items(), limit) if at <= now - bound_age_s]
        for name in forgotten:
            del self._bindings[name]
        return removed + len(forgotten)

    async def close(self) -> None:
        self._logs.clear()
        self._leases.clear()
        self._held.clear()
        self._ended.clear()
        self._evicted.clear()
        self._waiting.clear()
        self._orders.clear()
        self._bindings.clear()

    def _make_room(self) -> None:
        """Evict tasks, and free a part of what was evicted. Neither may take long, so both go on with later calls."""
        self._free_some()
        for _ in range(EVICTED_TASKS):
            if not self._ended or (len(self._logs) < self._max_tasks and self._bytes < self._max_bytes):
                break
            log = self._remove(next(iter(self._ended)))
            if len(log.records) > FREED_RECORDS:
                self._evicted.append(log)
        if self._ended:
            return  # there will be room
        if len(self._logs) >= self._max_tasks:
            raise StoreFull(f"the memory store is limited to {self._max_tasks} tasks, and none of them has ended")
        if self._bytes >= self._max_bytes:
            raise StoreFull(f"the memory store is limited to {self._max_bytes} bytes, and no ended task is left")

    def _free_some(self) -> None:
        """Free some records of the task that was evicted first, unless a reader has the task in hand."""
        if self._evicted and self._evicted[0].free_some():
            self._evicted.popleft()

    def _remove(self, key: TaskKey) -> _Log:
        log = self._logs.pop(key)
        del self._ended[key]
        self._bytes -= log.bytes
        log.order.moved[key.id] = None
        log.order.tasks -= 1
        if not log.order.tasks:
            del self._orders[key.scope]
        return log

    def _check_unbound(self, scope: Scope, key: str) -> None:
        if found := self._bindings.get((scope, key)):
            raise AlreadyBound(found[1])

    def _bind(self, scope: Scope, key: str, binding: Binding) -> None:
        if len(self._bindings) >= self._max_bindings:
            del self._bindings[next(iter(self._bindings))]
        self._bindings[scope, key] = self._clock(), binding
