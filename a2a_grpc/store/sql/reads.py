"""Reads of tasks from a SQL database, and the caches that spare them."""

from collections.abc import Sequence

from a2a_grpc.database.access import Access
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Use
from a2a_grpc.offload import offload
from a2a_grpc.store.growing import folded
from a2a_grpc.store.sql import rows, snapshots
from a2a_grpc.store.sql.keys import Recent
from a2a_grpc.store.sql.parts import Parts, Recall, page, parts_of_one
from a2a_grpc.store.sql.snapshots import Base, Wanted, bases, large_base
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
from a2a_grpc.store.views import cost_of, cut

SEQS_AT_ONCE = 500
"""Tasks whose seqs one query asks for."""
KNOWN_NUMBERS = 100_000
"""Tasks whose numbers are remembered."""
SNAPSHOTS_BYTES, SNAPSHOT_OVERHEAD = 32 << 20, 200
"""The largest size of all whole tasks in the cache, and about how much each one takes in addition to its bytes."""


class Reads(Access):
    """Adds reads of tasks to a SQL store. `Records` documents the methods."""

    def __init__(self, url: str, budget_s: float) -> None:
        super().__init__(url, budget_s)
        self._pks: Recent[TaskKey, int] = Recent(KNOWN_NUMBERS)
        self._snapshots: Recent[TaskKey, Snapshot] = Recent(
            SNAPSHOTS_BYTES, lambda snapshot: len(snapshot.task) + SNAPSHOT_OVERHEAD
        )
        self._heads: Together[TaskKey, Head | None] = Together(lambda keys: self._read(rows.heads, keys))
        self._bases: Together[Wanted, Base | None] = Together(lambda wanted: self._read(bases, wanted))

    async def head(self, key: TaskKey) -> Head | None:
        return await self._heads.answer(key)

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        if view.artifacts:
            whole = await self._load_whole(key)
            if whole is None or view == WHOLE:
                return whole
            return whole._replace(task=await offload(len(whole.task), cut, whole.task, view))
        found = await self._run(Use.READ_SNAPSHOT, parts_of_one, key, view, self._recall(key.scope))
        if found is None:
            self._forget(key)
            return None
        return (await self._put_together(key.scope, [found]))[0]

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        records = await self._read(snapshots.read, key, after, limit)
        if records is None:
            self._forget(key)
        return records

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        found: dict[TaskKey, tuple[int, int]] = {}
        for start in range(0, len(keys), SEQS_AT_ONCE):
            found |= await self._read(
                rows.seqs, {key: self._pks.get(key) for key in keys[start : start + SEQS_AT_ONCE]}
            )
        for key, (pk, _) in found.items():
            self._pks.put(key, pk)
        return [found[key][1] if key in found else 0 for key in keys]

    async def _load_whole(self, key: TaskKey) -> Snapshot | None:
        while True:
            known = self._snapshots.get(key)
            wanted = Wanted(key, known.seq if known else 0)
            base = await self._bases.answer(wanted)
            if base is not None and not base.is_small and base.seq > wanted.known_seq:
                base = await self._run(Use.READ_SNAPSHOT, large_base, wanted)
            if base is None:
                self._forget(key)
                return None
            start = base.stored or known
            after = start.seq if start else 0
            records = base.records
            if len(records) == base.seq - after:
                break
            self._forget(key)  # it was purged a moment ago
        if start is None or records:
            pieces = [start.task] if start else []
            task = await offload(sum(map(len, pieces)) + cost_of(records), folded, pieces, records)
            start = Snapshot(base.seq, task, base.state, base.turn)
        self._remember(key, start)
        return start

    def _remember(self, key: TaskKey, whole: Snapshot) -> None:
        """Keep a whole task, unless a newer one is kept."""
        known = self._snapshots.peek(key)
        if known is None or known.seq < whole.seq:
            self._snapshots.put(key, whole)

    def _recall(self, scope: Scope) -> Recall:
        return lambda id: self._snapshots.peek(TaskKey(*scope, id))

    async def _put_together(self, scope: Scope, found: Sequence[Parts]) -> list[Snapshot]:
        """Return the tasks of what was read, as far as their views show them. Remember those that were read whole."""

        def put_together() -> list[tuple[Parts, Snapshot, Snapshot]]:
            return [(parts, whole := parts.whole(), parts.seen(whole)) for parts in found]

        made = await offload(sum(parts.cost for parts in found), put_together)
        for parts, whole, _ in made:
            if parts.is_whole:
                self._remember(TaskKey(*scope, parts.entry.position.id), whole)
        return [seen for _, _, seen in made]

    def _forget(self, key: TaskKey) -> None:
        self._pks.drop(key)
        self._snapshots.drop(key)

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
        arguments = (scope, where, after, limit, view, max_bytes, self._recall(scope))
        found, total, more = await self._run(Use.READ_SNAPSHOT, page, *arguments)
        tasks = await self._put_together(scope, found)
        listed = [Listed(parts.entry.position, task) for parts, task in zip(found, tasks, strict=True)]
        return Page(listed, total, more)
