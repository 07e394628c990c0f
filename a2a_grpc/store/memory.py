"""A store in the memory of the process. It is fast and bounded, and its tasks end with the process."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from functools import lru_cache
from itertools import islice

from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.store.memory_log import FREED_RECORDS, MemoryLog
from a2a_grpc.store.one_server import OneServer
from a2a_grpc.store.order import Order, Sorted
from a2a_grpc.store.values import (
    WHOLE,
    Head,
    Listed,
    ListFilter,
    Page,
    Position,
    Record,
    Scope,
    Snapshot,
    TaskKey,
    TaskView,
)
from a2a_grpc.store.writes import Append, Create, StaleAppend, StoreFull
from a2a_grpc.store.written import Written, refused, written

EVICTED_TASKS = 500
"""The most tasks that are evicted for a new one, which takes a millisecond. Later new ones evict more if needed."""


class MemoryStore(OneServer):
    """A task store in the memory of the process (`memory:`). `TaskStore` documents its methods.

    Guarantees, in addition to those of `TaskStore`:

    - The time of an append does not depend on the size of the task.
    - The store holds at most `max_tasks` tasks and about `max_bytes` of events. For a new task it deletes the tasks
      that ended first. If none has ended, a `Create` fails with StoreFull. It never deletes a task that has not ended.
    - The store holds at most `max_bindings` idempotency keys. For a new one it deletes the oldest.
    - The store holds at most `max_note_bytes` of notes, as `OneServer` does.

    Args:
        max_tasks: The largest number of tasks.
        max_bytes: The largest size of all events together, in bytes.
        max_bindings: The largest number of idempotency keys.
        max_note_bytes: The largest size of all notes together, in bytes.
        clock: A function that returns the time in seconds.
    """

    def __init__(
        self,
        *,
        max_tasks: int = 100_000,
        max_bytes: int = 1 << 30,
        max_bindings: int = 200_000,
        max_note_bytes: int = 1 << 28,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        records = MemoryRecords(max_tasks, max_bytes, clock)
        super().__init__(records, max_bindings=max_bindings, max_note_bytes=max_note_bytes, clock=clock)


class MemoryRecords:
    """Tasks in memory. `Records` documents the methods."""

    durable = False

    def __init__(self, max_tasks: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._max_tasks = max_tasks
        self._max_bytes = max_bytes
        self._bytes = 0
        self._logs: dict[TaskKey, MemoryLog] = {}
        self._evicted: deque[MemoryLog] = deque()  # whose records are still to be freed
        self._ended: dict[TaskKey, float] = {}  # when, in the order in which they ended
        self._orders: dict[Scope, Order] = {}
        self._written = lru_cache(maxsize=64)(written)  # a future that is done serves all writes with its result

    async def open(self) -> Collection[TaskKey]:
        return ()

    async def close(self) -> None:
        self._logs.clear()
        self._ended.clear()
        self._evicted.clear()
        self._orders.clear()

    async def ping(self) -> None:
        pass

    def write(self, write: Create | Append) -> Written:
        try:
            return self._written(self._append(write) if isinstance(write, Append) else self._create(write))
        except (StaleAppend, StoreFull) as error:
            return refused(error)

    def _create(self, create: Create) -> int:
        key, record, context_id, *_ = create
        self._make_room()
        if (order := self._orders.get(key.scope)) is None:
            order = self._orders[key.scope] = Order()
        log = self._logs[key] = MemoryLog(record, context_id, order)
        self._bytes += log.bytes
        order.tasks += 1
        order.moved[key.id] = log
        if record.state in TERMINAL:
            self._ended[key] = self._clock()
        return 1

    def _append(self, append: Append) -> int:
        key, record, epoch, _, _, _, _ = append
        seq, event, state, turn, at_us, message = record
        log = self._logs.get(key)
        if log is None or seq != log.last.seq + 1 or log.last.state in TERMINAL:
            raise StaleAppend
        size = len(event) + len(message)
        log.records.append(record)
        log.last, log.epoch = record, epoch
        log.bytes += size
        self._bytes += size
        if at_us:
            log.add_status(record)
            log.order.moved[key.id] = log
        if state in TERMINAL:
            self._ended[key] = self._clock()
        return turn

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        log = self._logs.get(key)
        return log.records[after : after + limit] if log else None

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        log = self._logs.get(key)
        return await log.load(view) if log else None

    async def head(self, key: TaskKey) -> Head | None:
        if (log := self._logs.get(key)) is None:
            return None
        last = log.last
        return Head(last.seq, last.state, last.turn, log.epoch, log.context_id, log.bytes)

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

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
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
        return removed

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

    def _remove(self, key: TaskKey) -> MemoryLog:
        log = self._logs.pop(key)
        del self._ended[key]
        self._bytes -= log.bytes
        log.order.moved[key.id] = None
        log.order.tasks -= 1
        if not log.order.tasks:
            del self._orders[key.scope]
        return log
