"""The store in memory: fast, bounded, gone with the process."""

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from itertools import islice

from a2a_grpc.lifecycle import INTERRUPTED, TERMINAL, fold
from a2a_grpc.store.protocol import (
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
)
from a2a_grpc.wire import Task


class _Order:
    """The tasks of one scope by the time of their last status. Appends only note which have moved; they are put in
    order when somebody asks for a list."""

    __slots__ = ("_at_us", "_positions", "moved", "tasks")

    def __init__(self) -> None:
        self.tasks = 0
        """How many there are."""
        self._positions: list[Position] = []
        self._at_us: dict[str, int] = {}
        """Where each task stands in the list, by id."""
        self.moved: dict[str, int] = {}
        """Where each task belongs that has moved since the list was put in order; -1 if it is gone."""

    def remove(self, task_id: str) -> None:
        self.moved[task_id] = -1

    def positions(self) -> list[Position]:
        """Ascending."""
        if len(self.moved) * 16 > len(self._positions):
            self._at_us |= self.moved
            self._at_us = {task_id: at_us for task_id, at_us in self._at_us.items() if at_us >= 0}
            self._positions = sorted(Position(at_us, task_id) for task_id, at_us in self._at_us.items())
        else:
            for task_id, at_us in self.moved.items():
                self._put(task_id, at_us)
        self.moved.clear()
        return self._positions

    def _put(self, task_id: str, at_us: int) -> None:
        if (before := self._at_us.pop(task_id, None)) is not None:
            del self._positions[bisect_left(self._positions, Position(before, task_id))]
        if at_us >= 0:
            self._at_us[task_id] = at_us
            insort(self._positions, Position(at_us, task_id))


class _Log:
    """The records of one task with its row. The snapshot is made when somebody asks, never by an append."""

    __slots__ = (
        "at_us",
        "attempt",
        "bytes",
        "cancel",
        "context_id",
        "epoch",
        "last",
        "last_turn",
        "order",
        "pending",
        "records",
        "replica",
        "snapshot",
    )

    def __init__(self, record: Record, context_id: str, order: _Order) -> None:
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
        self.snapshot: Snapshot | None = None

    def load(self) -> Snapshot:
        known = self.snapshot
        if known is None or known.seq != self.last.seq:
            task = Task.FromString(known.task) if known else Task()
            tail = self.records[known.seq if known else 0 :]
            fold(task, (record.unpack() for record in tail))
            known = self.snapshot = Snapshot(self.last.seq, task.SerializeToString(), self.last.state, self.last.turn)
        return known


class MemoryStore:
    """Tasks in this process.

    Guarantees, beyond those of a TaskStore:

    - Appending costs the same whatever the size of the task.
    - At most `max_tasks` tasks and about `max_bytes` of events: for a new task the oldest ended ones make room; where
      none has ended, `create` raises StoreFull. A task that has not ended is never evicted.
    - At most `max_bindings` idempotency keys; the oldest makes room.
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
        self._ended: dict[TaskKey, None] = {}  # in the order in which they ended
        self._orders: dict[Scope, _Order] = {}
        self._bindings: dict[tuple[Scope, str], tuple[int, Binding]] = {}  # in the order in which they were bound

    async def open(self) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def join(self, replica: str, lease_s: float) -> None:
        self._leases[replica] = self._clock() + lease_s

    async def renew(self, replica: str, lease_s: float) -> bool:
        if replica not in self._leases:
            return False
        now = self._clock()
        self._leases[replica] = now + lease_s
        for lapsed in [other for other, until in self._leases.items() if until < now]:
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
        held = [(key, self._head(self._logs[key])) for key in self._held.get(replica, ())]
        return [(key, head) for key, head in held if head.cancel is not None or head.last_turn > head.turn]

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
        return self._create(Create(key, record, context_id, replica, bind, pending))

    @property
    def create_now(self) -> Callable[[Create], int] | None:
        """`create` as a plain function; None in a subclass that creates in its own way."""
        return self._create if type(self).create is MemoryStore.create else None

    def _create(self, create: Create) -> int:
        key, record, context_id, replica, bind, pending = create
        if bind:
            self._check_unbound(key.scope, bind[0])
        self._make_room()
        if (order := self._orders.get(key.scope)) is None:
            order = self._orders[key.scope] = _Order()
        log = self._logs[key] = _Log(record, context_id, order)
        self._bytes += log.bytes
        order.tasks += 1
        order.moved[key.id] = log.at_us
        if record.state in TERMINAL:
            self._ended[key] = None
        else:
            self._hold(key, log, replica)
            log.pending = (pending,) if pending else ()
        if bind:
            self._bind(key.scope, *bind)
        return log.epoch

    async def append(self, append: Append) -> int:
        return self._append(append)

    @property
    def append_now(self) -> Callable[[Append], int] | None:
        """`append` as a plain function; None in a subclass that appends in its own way."""
        return self._append if type(self).append is MemoryStore.append else None

    def _append(self, append: Append) -> int:
        key, record, epoch, bind, done, release = append
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
        if record.at_us:
            log.at_us = record.at_us
            log.order.moved[key.id] = record.at_us
        if record.state in TERMINAL:
            self._ended[key] = None
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
            if log.replica:
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
        """Hands the task to a replica, or to nobody."""
        if log.replica:
            held = self._held[log.replica]
            held.discard(key)
            if not held and log.replica not in self._leases:
                del self._held[log.replica]
        log.replica = replica
        if replica:
            self._held.setdefault(replica, set()).add(key)

    async def load(self, key: TaskKey) -> Snapshot | None:
        log = self._logs.get(key)
        return log.load() if log else None

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        log = self._logs.get(key)
        return log.records[after : after + limit] if log else None

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        return [self._logs[key].last.seq if key in self._logs else 0 for key in keys]

    async def list(self, scope: Scope, where: ListFilter, after: Position | None, limit: int) -> Page:
        order = self._orders[scope].positions() if scope in self._orders else []
        matching = order
        if where != ListFilter():
            start = bisect_left(order, Position(where.since_us, ""))
            matching = [position for position in islice(order, start, None) if self._meets(scope, position, where)]
        end = len(matching) if after is None else bisect_left(matching, after)
        chosen = matching[max(0, end - limit) : end][::-1]
        tasks = [Listed(position, self._logs[TaskKey(*scope, position.id)].load()) for position in chosen]
        return Page(tasks, total=len(matching), more=end > limit)

    def _meets(self, scope: Scope, position: Position, where: ListFilter) -> bool:
        log = self._logs[TaskKey(*scope, position.id)]
        return (not where.context_id or log.context_id == where.context_id) and (
            not where.state or log.last.state == where.state
        )

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        self._check_unbound(scope, key)
        self._bind(scope, key, binding)

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        found = self._bindings.get((scope, key))
        return found[1] if found else None

    async def purge(self, *, ended_before_us: int, keep: int, bound_before_us: int, limit: int) -> int:
        surplus = len(self._ended) - keep
        doomed = [
            key
            for place, key in enumerate(islice(self._ended, limit))
            if place < surplus or self._logs[key].at_us < ended_before_us
        ]
        for key in doomed:
            self._remove(key)
        forgotten = [name for name, (at_us, _) in islice(self._bindings.items(), limit) if at_us < bound_before_us]
        for name in forgotten:
            del self._bindings[name]
        return len(doomed) + len(forgotten)

    async def close(self) -> None:
        self._logs.clear()
        self._leases.clear()
        self._held.clear()
        self._ended.clear()
        self._orders.clear()
        self._bindings.clear()

    def _make_room(self) -> None:
        while self._ended and (len(self._logs) >= self._max_tasks or self._bytes >= self._max_bytes):
            self._remove(next(iter(self._ended)))
        if len(self._logs) >= self._max_tasks:
            raise StoreFull(f"the memory store is limited to {self._max_tasks} tasks, and none of them has ended")
        if self._bytes >= self._max_bytes:
            raise StoreFull(f"the memory store is limited to {self._max_bytes} bytes, and no ended task is left")

    def _remove(self, key: TaskKey) -> None:
        log = self._logs.pop(key)
        del self._ended[key]
        self._bytes -= log.bytes
        log.order.remove(key.id)
        log.order.tasks -= 1
        if not log.order.tasks:
            del self._orders[key.scope]

    def _check_unbound(self, scope: Scope, key: str) -> None:
        if found := self._bindings.get((scope, key)):
            raise AlreadyBound(found[1])

    def _bind(self, scope: Scope, key: str, binding: Binding) -> None:
        if len(self._bindings) >= self._max_bindings:
            del self._bindings[next(iter(self._bindings))]
        self._bindings[scope, key] = time.time_ns() // 1000, binding
