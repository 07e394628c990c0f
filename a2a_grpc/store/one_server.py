"""The parts of a store that one server can have in memory: claims, messages, idempotency keys, notes, push configs."""

import time
from collections.abc import Callable, Collection, Sequence
from itertools import islice, takewhile

from a2a_grpc.lifecycle import INTERRUPTED, TERMINAL
from a2a_grpc.store.bindings import Bindings
from a2a_grpc.store.local_notes import LocalNotes
from a2a_grpc.store.local_rows import LocalRows
from a2a_grpc.store.pushes import Pushes
from a2a_grpc.store.records import Records
from a2a_grpc.store.row import MemoryRow
from a2a_grpc.store.values import (
    WHOLE,
    Head,
    ListFilter,
    Page,
    Position,
    Record,
    Scope,
    Snapshot,
    TaskKey,
    TaskView,
)
from a2a_grpc.store.writes import Binding, Note, Pending, StaleAppend

FORMER = "the process before this one"
"""The replica that holds the tasks at which an earlier process was at work."""


class OneServer(LocalRows):
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
        bindings, notes = Bindings(max_bindings, clock), LocalNotes(max_note_bytes)
        super().__init__(records, clock, bindings, notes, Pushes(max_pushes, clock, time.time))
        self.durable = records.durable
        self._agent: str | None = None

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

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        return await self._records.read(key, after, limit)

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        return await self._records.load(key, view)

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
