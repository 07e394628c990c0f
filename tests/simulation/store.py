"""The memory store as replicas reach it: calls take time, fail, happen or not."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.store import (
    Append,
    Create,
    Head,
    MemoryStore,
    Outbox,
    PushName,
    Record,
    StoreUnavailable,
    TaskKey,
    TaskStore,
    Writing,
    Written,
)
from tests.simulation.deliveries import note_claims, note_step
from tests.simulation.faults import Faults
from tests.simulation.history import Ack, Change, Claim, Commit, Delete, History, Look
from tests.simulation.loop import NOBODY

T = TypeVar("T")

MAX_RECORDS = 1_000_000
"""Records that no simulated task has."""
CUT_S = 0.4
"""At most: until a call is given up on by a replica that does not reach the store."""


class FaultyStore(MemoryStore):
    """The database of all replicas: what each of them does is one instant here, and written down."""

    def __init__(self, loop: asyncio.AbstractEventLoop, history: History, faults: Faults) -> None:
        super().__init__(clock=loop.time)
        self.loop = loop
        self.history = history
        self.faults = faults
        self._created: list[TaskKey] = []
        self._purged: dict[TaskKey, tuple[Head, list[Record]]] = {}

    @property
    def heads(self) -> dict[TaskKey, Head]:
        """The rows of all tasks."""
        heads = {key: _at_once(self.head(key)) for key in self._created}
        purged = {key: head for key, (head, _) in self._purged.items()}
        return {key: head for key, head in heads.items() if head is not None} | purged

    def records(self, key: TaskKey) -> list[Record]:
        if key in self._purged:
            return self._purged[key][1]
        return _at_once(self.read(key, 0, MAX_RECORDS)) or []

    def is_purged(self, task_id: str) -> bool:
        return any(key.id == task_id for key in self._purged)

    def purge_one(self, key: TaskKey) -> None:
        """Purge a task that has ended, as though it had ended before all others. Its log is kept for the rules."""
        head, ended = _at_once(self.head(key)), self._records._ended  # type: ignore[attr-defined]
        assert head is not None
        self._purged[key] = head, self.records(key)
        at, others = ended.pop(key), dict(ended)
        ended.clear()
        ended.update({key: at, **others})
        names = [push.id for push in _at_once(self.list_pushes(key, "", MAX_RECORDS)) or ()]
        assert _at_once(self.purge(ended_age_s=MAX_RECORDS, keep=len(others), limit=1)) == 1
        assert _at_once(self.head(key)) is None
        now, history = self.loop.time(), self.history
        history.changes += [Change(now, key.id, name, is_there=False) for name in names]
        history.deletes += [Delete(now, key.id, name, "") for name in names]

    def pushes(self) -> dict[PushName, bool]:
        """Return the push configs of all tasks, and whether they are dead."""
        dead = {found.name for found in _at_once(self.dead_pushes(None, MAX_RECORDS))}
        names = [
            PushName(key, push.id)
            for key in self._created
            for push in _at_once(self.list_pushes(key, "", MAX_RECORDS)) or ()
        ]
        return {name: name in dead for name in names}

    def view(self, name: str) -> "View":
        """The store as a replica reaches it."""
        return View(self, name)

    def happen(self, name: str, method: str, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Does what a replica asked for. Raises what the store raises."""
        if method == "write":
            result = self.write(args[0]).result()
            self._note_write(name, args[0], result)
            return result
        given = _at_once(getattr(self, method)(*args, **options))
        self._note(name, method, args, options, given)
        # the memory store has sets, which have another order in each process
        return sorted(given) if method in ("lost", "wanted", "held") else given

    def _note_write(self, name: str, write: Create | Append, result: int) -> None:
        now, writes, task_id, seq = self.loop.time(), self.history.writes, write.key.id, write.record.seq
        if isinstance(write, Create):
            self._created.append(write.key)
            writes.append(Claim(now, task_id, result, name))
            writes.append(Commit(now, task_id, seq, result, name))
        else:
            writes.append(Commit(now, task_id, seq, write.epoch, name))

    def _note(self, name: str, method: str, args: Sequence[Any], options: dict[str, Any], given: Any) -> None:
        now, writes = self.loop.time(), self.history.writes
        if method == "claim_pushes":
            note_claims(self.history, now, name, given)
        if method == "step_push" and given is not None:
            note_step(self.history, now, name, args[0], given)
        if method in ("add_push", "delete_push"):
            is_added = method == "add_push"
            self.history.changes.append(Change(now, args[0].id, args[1].id if is_added else args[1], is_added))
        if method in ("claim", "enqueue"):
            replica = args[1] if method == "claim" else options["replica"]
            if given and given.replica == replica and given.state not in TERMINAL:
                writes.append(Claim(now, args[0].id, given.epoch, name))


def _at_once(call: Coroutine[Any, Any, T]) -> T:
    """Return what a call of the memory store gives, which never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    raise AssertionError("the memory store does not wait")


class View:
    """The way of one replica to the store."""

    durable = shared = keeps_messages = True

    def __init__(self, store: FaultyStore, name: str) -> None:
        self._store = store
        self._name = name
        self.is_cut = False
        self._arrivals: dict[TaskKey, float] = {}  # of the newest write of each task

    def delay_s(self, method: str, args: Sequence[Any]) -> float:
        """Until a call arrives: writes to one task arrive in the order in which they were asked for."""
        delay_s = self._store.faults.delay_s()
        if method != "write":
            return delay_s
        now, key = self._store.loop.time(), args[0].key
        self._arrivals[key] = max(now + delay_s, self._arrivals.get(key, 0.0) + 1e-6)
        return self._arrivals[key] - now

    def as_outbox(self) -> Outbox:
        return cast(Outbox, self)

    def as_store(self) -> TaskStore:
        return cast(TaskStore, self)

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_") or not (
            hasattr(TaskStore, method) or hasattr(Outbox, method)
        ):  # a store has no others
            raise AttributeError(method)
        return partial(self._call, method)

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        asked = self._store.loop.time()
        given = await _Call(self._store, self._name, method, args, options).result(self)
        if method == "claimed_pushes":
            self._store.history.looks.append(Look(asked, self._store.loop.time(), self._name))
        return given

    def write(self, write: Create | Append) -> Written:
        call, written = _Call(self._store, self._name, "write", (write,), {}), Writing()
        call.send(self).add_done_callback(lambda _: self._written(write, call, written))
        return written

    def _written(self, write: Create | Append, call: "_Call", written: Writing) -> None:
        """Tell the replica how its write has ended."""
        if call.error is not None:
            written.set_exception(call.error)
            return
        self._store.history.acks.append(Ack(self._store.loop.time(), write.key.id, write.record))
        written.set_result(call.value)


class _Call:
    """One call on its way. If its caller is canceled meanwhile, it does not happen later, unless it is a `write`."""

    def __init__(
        self, store: FaultyStore, name: str, method: str, args: Sequence[Any], options: dict[str, Any]
    ) -> None:
        self._store = store
        self._what = (name, method, args, options)
        self._has_happened = False
        self._arriving: asyncio.Handle
        self.value: Any = None
        self.error: Exception | None = None

    def send(self, view: View) -> "asyncio.Future[None]":
        """Send the call. Return a future that is done when the replica knows the result."""
        loop = self._store.loop
        answer: asyncio.Future[None] = loop.create_future()
        delay_s = view.delay_s(*self._what[1:3])
        self._arriving = loop.call_later(delay_s, self._arrive, view, answer, context=NOBODY)
        return answer

    async def result(self, view: View) -> Any:
        answer = self.send(view)
        try:
            await answer
        except asyncio.CancelledError:
            self._arriving.cancel()
            if not self._has_happened and not view.is_cut and self._store.faults.happens(0.5):
                self._happen()
            raise
        if self.error is not None:
            raise self.error
        return self.value

    def _arrive(self, view: View, answer: "asyncio.Future[None]") -> None:
        """The call reaches the store, or does not."""
        loop, faults = self._store.loop, self._store.faults
        if view.is_cut:
            self.error = StoreUnavailable("cut off")
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
        self.error = StoreUnavailable("nobody knows")
        loop.call_later(faults.random.random() * 0.1, self._tell, answer, context=NOBODY)

    def _happen(self) -> None:
        self._has_happened = True
        try:
            self.value = self._store.happen(*self._what)
        except Exception as error:
            if self.error is None:
                self.error = error

    def _return(self, view: View, answer: "asyncio.Future[None]") -> None:
        if view.is_cut:
            self.error = StoreUnavailable("cut off before the answer")
        self._tell(answer)

    def _tell(self, answer: "asyncio.Future[None]") -> None:
        if not answer.done():
            answer.set_result(None)
