"""The memory store as replicas reach it: calls take time, fail, happen or not."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.store import Append, Head, MemoryStore, Record, StoreUnavailable, TaskKey, TaskStore
from a2a_grpc.store.sql.tail import Tails
from tests.simulation.faults import Faults
from tests.simulation.history import Ack, Claim, Commit, History
from tests.simulation.loop import NOBODY

CUT_S = 0.4
"""At most: until a call is given up on by a replica that does not reach the store."""


class FaultyStore(MemoryStore):
    """The database of all replicas: what each of them does is one instant here, and written down."""

    durable = True

    def __init__(self, loop: asyncio.AbstractEventLoop, history: History, faults: Faults) -> None:
        super().__init__(clock=loop.time)
        self.loop = loop
        self.history = history
        self.faults = faults

    @property
    def heads(self) -> dict[TaskKey, Head]:
        """The rows of all tasks."""
        return {key: self._head(log) for key, log in self._logs.items()}

    def records(self, key: TaskKey) -> list[Record]:
        return list(self._logs[key].records)

    def view(self, name: str) -> "View":
        """The store as a replica reaches it."""
        return View(self, name)

    def happen(self, name: str, method: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Does what a replica asked for. Raises what the store raises."""
        call = getattr(self, method)(*args, **options)
        try:
            call.send(None)
        except StopIteration as done:
            self._note(name, method, args, options, done.value)
            # the memory store has sets, which have another order in each process
            return sorted(done.value) if method in ("lost", "wanted", "held") else done.value
        raise AssertionError("the memory store does not wait")

    def _note(self, name: str, method: str, args: Sequence[Any], options: dict[str, Any], given: Any) -> None:
        now, writes = self.loop.time(), self.history.writes
        if method == "append":
            append: Append = args[0]
            writes.append(Commit(now, append.key.id, append.record.seq, append.epoch, name))
        elif method == "create":
            writes.append(Claim(now, args[0].id, given, name))
            writes.append(Commit(now, args[0].id, args[1].seq, given, name))
        elif method in ("claim", "enqueue"):
            replica = args[1] if method == "claim" else options["replica"]
            if given and given.replica == replica and given.state not in TERMINAL:
                writes.append(Claim(now, args[0].id, given.epoch, name))


class View:
    """The way of one replica to the store."""

    durable = True
    append_now = create_now = None

    def __init__(self, store: FaultyStore, name: str) -> None:
        self._store = store
        self._name = name
        self.is_cut = False
        self._arrivals: dict[TaskKey, float] = {}  # of the newest append of each task
        self._tails = Tails()

    def delay_s(self, method: str, args: Sequence[Any]) -> float:
        """Until a call arrives: appends of one task arrive in the order in which they were asked for."""
        delay_s = self._store.faults.delay_s()
        if method != "append":
            return delay_s
        now, key = self._store.loop.time(), args[0].key
        self._arrivals[key] = max(now + delay_s, self._arrivals.get(key, 0.0) + 1e-6)
        return self._arrivals[key] - now

    def as_store(self) -> TaskStore:
        return cast(TaskStore, self)

    def recent(self, key: TaskKey, after: int, limit: int) -> Sequence[Record] | None:
        return self._tails.known(key, after, limit)

    def __getattr__(self, method: str) -> Any:
        if method in ("submit", "create_then"):  # which a store may have or not
            raise AttributeError(method)
        return partial(self._call, method)

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        call = _Call(self._store, self._name, method, args, options)
        result = await call.result(self)
        if method == "append":
            self._acknowledged(args[0].key, args[0].record)
        elif method == "create":
            self._acknowledged(args[0], args[1])
        return result

    def _acknowledged(self, key: TaskKey, record: Record) -> None:
        self._tails.add(key, record)
        self._store.history.acks.append(Ack(self._store.loop.time(), key.id, record))


class _Call:
    """One call on its way. A caller that is canceled meanwhile knows that it will not happen later."""

    def __init__(
        self, store: FaultyStore, name: str, method: str, args: Sequence[Any], options: dict[str, Any]
    ) -> None:
        self._store = store
        self._what = (name, method, args, options)
        self._has_happened = False
        self._value: Any = None
        self._error: Exception | None = None

    async def result(self, view: View) -> Any:
        loop, faults = self._store.loop, self._store.faults
        answer = loop.create_future()
        arriving = loop.call_later(view.delay_s(*self._what[1:3]), self._arrive, view, answer, context=NOBODY)
        try:
            await answer
        except asyncio.CancelledError:
            arriving.cancel()
            if not self._has_happened and not view.is_cut and faults.happens(0.5):
                self._happen()
            raise
        if self._error is not None:
            raise self._error
        return self._value

    def _arrive(self, view: View, answer: "asyncio.Future[None]") -> None:
        """The call reaches the store, or does not."""
        loop, faults = self._store.loop, self._store.faults
        if view.is_cut:
            self._error = StoreUnavailable("cut off")
            loop.call_later(faults.random.random() * CUT_S, self._tell, answer, context=NOBODY)
            return
        if not faults.happens(faults.doubtful):
            self._happen()
            loop.call_later(faults.delay_s(), self._return, view, answer, context=NOBODY)
            return
        if faults.happens(faults.late):
            loop.call_later(faults.random.random() * CUT_S, self._happen, context=NOBODY)
        elif faults.happens(0.5):
            self._happen()
        self._error = StoreUnavailable("nobody knows")
        loop.call_later(faults.random.random() * 0.1, self._tell, answer, context=NOBODY)

    def _happen(self) -> None:
        self._has_happened = True
        try:
            self._value = self._store.happen(*self._what)
        except Exception as error:
            if self._error is None:
                self._error = error

    def _return(self, view: View, answer: "asyncio.Future[None]") -> None:
        if view.is_cut:
            self._error = StoreUnavailable("cut off before the answer")
        self._tell(answer)

    def _tell(self, answer: "asyncio.Future[None]") -> None:
        if not answer.done():
            answer.set_result(None)
