"""The `TaskStore` on a SQL database."""

import asyncio
import builtins
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import Outage, reason, retry
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.offload import offload
from a2a_grpc.store.growing import folded
from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then
from a2a_grpc.store.sql import coordination, loading, mailbox, outbox, rows
from a2a_grpc.store.sql.batch import Item
from a2a_grpc.store.sql.cache import Snapshots
from a2a_grpc.store.sql.commits import Commits
from a2a_grpc.store.sql.keys import Numbers, Recent, digest_of
from a2a_grpc.store.sql.loading import Base, Wanted, bases, large_base
from a2a_grpc.store.sql.migrations import prepare
from a2a_grpc.store.sql.parts import Parts, Recall, page, parts_of_one
from a2a_grpc.store.sql.purging import forget, purge
from a2a_grpc.store.sql.snapshots import SnapshotWriter
from a2a_grpc.store.values import (
    WHOLE,
    Append,
    Binding,
    Create,
    Head,
    Listed,
    ListFilter,
    Page,
    Pending,
    Position,
    Record,
    Scope,
    Snapshot,
    StaleAppend,
    StoreUnavailable,
    TaskKey,
    TaskView,
)
from a2a_grpc.store.views import cost_of, cut
from a2a_grpc.store.written import Written, refused
from a2a_grpc.uncancelled import look_at_error

P = ParamSpec("P")
T = TypeVar("T")

OPEN_S = 20.0
"""How long `open` waits for a database that does not answer, at most."""
CLOSE_S = 1.0
"""How long `close` waits for writes that have begun, before it gives the database up."""
SEQS_AT_ONCE = 500
"""Tasks whose seqs one query asks for."""
KNOWN_NUMBERS = 100_000
"""Tasks whose numbers are remembered."""


class SqlStore:
    """Tasks in SQLite, PostgreSQL, MySQL or MariaDB.

    Guarantees, beyond those of a TaskStore:

    - An append inserts one row and updates as much of the task's row as has changed: its cost does not depend on the
      size of the task. Appends and creates of many tasks share a transaction.
    - A commit whose answer was lost is resolved by reading back: what was written is not refused, what was not is
      written once.
    - A fault that passes is retried for `budget_s` seconds, then the call raises StoreUnavailable.
    - A caller that is canceled leaves no connection and no transaction behind.
    """

    durable = True
    shared = True
    keeps_messages = True

    def __init__(self, url: str, *, budget_s: float = 20.0) -> None:
        """Take the URL of a database, and how long faults are retried.

        Raises:
            ConfigurationError: The URL names no database, or its driver is not installed.
        """
        self._url = DatabaseUrl.parse(url)
        self.dialect = self._url.dialect
        """One of sqlite, postgresql and mysql."""
        self._budget_s = budget_s
        self._outage = Outage(self._url.shown)
        self._numbers = Numbers()
        self._pks: Recent[TaskKey, int] = Recent(KNOWN_NUMBERS)
        self._snapshots = Snapshots()
        self._heads: Together[TaskKey, Head | None] = Together(lambda keys: self._read(rows.heads, keys))
        self._bases: Together[Wanted, Base | None] = Together(lambda wanted: self._read(bases, wanted))
        self._cancels: Together[tuple[TaskKey, bytes], Head | None] = Together(
            # No caller gets an answer that its request is kept: each waits for the end of its task, which is synced.
            lambda asked: self._persist(lambda _: self._open_database().write_unsynced(mailbox.request_cancels, asked)),
            is_patient=True,  # requests that arrive together at the other replica end their tasks in one transaction
        )
        self._steps: Together[PushStep, Then | None] = Together(
            lambda steps: self._persist(lambda _: self._open_database().write_unsynced(outbox.steps, steps))
        )
        self._database: Database | None = None
        self._commits: Commits | None = None
        self._snapshot_writer: SnapshotWriter | None = None

    @property
    def is_healthy(self) -> bool:
        """True while the background tasks of the store run, which is from `open` to `close` unless one fails."""
        return (
            self._commits is not None
            and self._commits.is_healthy
            and self._snapshot_writer is not None
            and self._snapshot_writer.is_healthy
        )

    async def open(self) -> Collection[TaskKey]:
        database = connect(self._url, busy_s=self._budget_s)
        try:
            budget_s = min(self._budget_s, OPEN_S)
            await retry(lambda _: prepare(database, self._url), budget_s=budget_s, outage=self._outage)
        except BaseException:
            await asyncio.shield(database.close())
            raise
        self._database = database
        self._commits = Commits(
            database,
            budget_s=self._budget_s,
            outage=self._outage,
            number=self._numbers.next,
            committed=self._committed,
        )
        self._snapshot_writer = SnapshotWriter(database, self.load)
        self._commits.start()
        self._snapshot_writer.start()
        return ()

    def observe_commits(self, committed: Callable[[int, float], None]) -> None:
        """Call a function after each commit of writes, until the store is closed.

        Args:
            committed: Gets the number of the writes, and the duration of the commit in seconds.
        """
        if self._commits is not None:
            self._commits.on_commit = committed

    async def close(self) -> None:
        commits, writer, database = self._commits, self._snapshot_writer, self._database
        self._commits = self._snapshot_writer = self._database = None
        closing = asyncio.create_task(self._end(commits, writer, database), name="a2a-grpc store close")
        await asyncio.wait([closing], timeout=CLOSE_S)
        if database is not None and not closing.done():
            await database.give_up()
        await closing

    async def _end(self, commits: Commits | None, writer: SnapshotWriter | None, database: Database | None) -> None:
        if writer is not None:
            await writer.stop()
        if commits is not None:
            await commits.stop()
        for together in (self._heads, self._bases, self._cancels, self._steps):
            await together.stop()
        if database is not None:
            await database.close()
        self._snapshots.clear()

    async def ping(self) -> None:
        if not self.is_healthy:
            raise StoreUnavailable("the store is closed, or a task of it has died")
        try:
            # It writes nothing: who asks does not wait until a database that says nothing is given up.
            asking = asyncio.ensure_future(self._open_database().write(coordination.ping))
            asking.add_done_callback(look_at_error)
            await asyncio.shield(asking)
        except Exception as error:
            raise StoreUnavailable(f"the store does not answer: {reason(error)}") from error

    async def belong_to(self, agent: str) -> str:
        return await self._write(coordination.belong_to, agent)

    # -- replicas

    async def join(self, replica: str, lease_s: float) -> None:
        await self._write(coordination.join, replica, lease_s)

    async def renew(self, replica: str, lease_s: float) -> bool:
        is_alive, lapsed = await self._persist(
            lambda _: self._open_database().write_priority(coordination.renew, replica, lease_s)
        )
        if lapsed:
            await self._write(coordination.expire, lapsed)
        return is_alive

    async def leave(self, replica: str) -> None:
        await self._write(coordination.leave, replica)

    async def orphaned(self, limit: int) -> list[TaskKey]:
        return await self._read(coordination.orphaned, limit)

    async def claimed_by(self, replica: str) -> list[TaskKey]:
        return await self._read(coordination.claimed_by, replica)

    async def needing_attention(self, replica: str) -> list[tuple[TaskKey, Head]]:
        return await self._read(mailbox.needing_attention, replica)

    # -- a task

    def write(self, write: Create | Append) -> Written:
        if self._commits is None:
            return refused(StoreUnavailable("the store is closed"))
        if isinstance(write, Append):
            return self._commits.write(write, self._pks.get(write.key))
        return self._commits.write(write, token=secrets.token_bytes(16) if write.pending else b"")

    def _committed(self, items: Sequence[Item]) -> None:
        for item in items:
            key = item.write.key
            if isinstance(item.outcome, StaleAppend):
                self._pks.drop(key)  # perhaps it was purged
            if not isinstance(item.outcome, int) or item.pk is None:
                continue
            self._pks.put(key, item.pk)
            if item.wants_snapshot and self._snapshot_writer is not None:
                self._snapshot_writer.add(key, item.pk)

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        token = secrets.token_bytes(16)

        def transaction(connection: Connection, is_repeat: bool) -> Head | None:
            return mailbox.enqueue(connection, key, pending, replica, limit, bind, mailbox.Token(token, is_repeat))

        return await self._write_once(transaction)

    async def pending(self, key: TaskKey) -> list[Pending]:
        return await self._read(mailbox.messages, key)

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        return await self._write(coordination.claim, key, replica, force)

    async def release(self, key: TaskKey, epoch: int) -> None:
        await self._write(coordination.release, key, epoch)
        self._forget(key)  # a task without a run is read seldom, and another process may write it

    async def request_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        return await self._cancels.answer_uncancelled((key, metadata))

    async def head(self, key: TaskKey) -> Head | None:
        return await self._heads.answer(key)

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        if view.artifacts:
            whole = await self._load_whole(key)
            if whole is None or view == WHOLE:
                return whole
            return whole._replace(task=await offload(len(whole.task), cut, whole.task, view))
        found = await self._read_snapshot(parts_of_one, key, view, self._recall(key.scope))
        if found is None:
            self._forget(key)
            return None
        return (await self._put_together(key.scope, [found]))[0]

    async def _load_whole(self, key: TaskKey) -> Snapshot | None:
        while True:
            known = self._snapshots.get(key)
            wanted = Wanted(key, known.seq if known else 0)
            base = await self._bases.answer(wanted)
            if base is not None and not base.is_small and base.seq > wanted.known_seq:
                base = await self._read_snapshot(large_base, wanted)
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
        self._snapshots.put(key, start)
        return start

    def _recall(self, scope: Scope) -> Recall:
        return lambda id: self._snapshots.peek(TaskKey(*scope, id))

    async def _put_together(self, scope: Scope, found: Sequence[Parts]) -> list[Snapshot]:
        """Return the tasks of what was read; remember those that were read whole."""
        seen: list[Snapshot] = []
        for parts, whole, snapshot in await offload(sum(parts.cost for parts in found), _put_together, found):
            if parts.is_whole:
                self._snapshots.put(TaskKey(*scope, parts.entry.position.id), whole)
            seen.append(snapshot)
        return seen

    def _forget(self, key: TaskKey) -> None:
        self._pks.drop(key)
        self._snapshots.drop(key)

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        records = await self._read(loading.read, key, after, limit)
        if records is None:
            self._forget(key)
        return records

    # -- many tasks

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        found: list[int] = []
        for start in range(0, len(keys), SEQS_AT_ONCE):
            found += await self._some_seqs(keys[start : start + SEQS_AT_ONCE])
        return found

    async def _some_seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        pks = {key: pk for key in keys if (pk := self._pks.get(key)) is not None}
        unknown = [key for key in keys if key not in pks]
        by_pk, by_name = await self._read(rows.seqs, list(pks.values()), unknown)
        found = []
        for key in keys:
            if key in pks:
                found.append(by_pk.get(pks[key], 0))
                continue
            pk, seq = by_name.get((digest_of(key.scope), key.id), (0, 0))
            if pk:
                self._pks.put(key, pk)
            found.append(seq)
        return found

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        return await self._read(coordination.waiting_longer, than_s, limit)

    async def count_waiting(self) -> int:
        return await self._read(coordination.count_waiting)

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
        found = await self._read_snapshot(page, scope, where, after, limit, view, max_bytes, self._recall(scope))
        snapshots = await self._put_together(scope, found.parts)
        positions = [parts.entry.position for parts in found.parts]
        tasks = [Listed(position, snapshot) for position, snapshot in zip(positions, snapshots, strict=True)]
        return Page(tasks, found.total, found.more)

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        def transaction(connection: Connection, is_repeat: bool) -> None:
            mailbox.bind(connection, scope, key, binding, is_repeat)

        await self._write_once(transaction)

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        return await self._read(mailbox.bound, scope, key)

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        keys = await self._write(purge, ended_age_s, keep, limit)
        for key in keys:
            self._forget(key)
        return len(keys)

    async def forget(self, *, bound_age_s: float, limit: int) -> int:
        return await self._write(forget, bound_age_s, limit)

    # -- push configs

    async def add_push(self, key: TaskKey, push: Push, *, limit: int) -> bool:
        return await self._write(outbox.add, key, push, limit)

    async def get_push(self, key: TaskKey, id: str) -> Push | None:
        return await self._read(outbox.get, key, id)

    async def list_pushes(self, key: TaskKey, after: str, limit: int) -> "builtins.list[Push] | None":
        return await self._read(outbox.page, key, after, limit)

    async def delete_push(self, key: TaskKey, id: str) -> bool:
        return await self._write(outbox.delete, key, id)

    async def claim_pushes(self, replica: str, limit: int) -> "builtins.list[PushClaim]":
        # Looked for first, as a transaction that writes makes others wait.
        if not await self._read(outbox.is_any_to_claim):
            return []
        return await self._write(outbox.claim, replica, limit)

    async def claimed_pushes(self, replica: str) -> "builtins.list[PushStep]":
        return await self._read(outbox.claimed, replica)

    async def step_push(self, step: PushStep) -> Then | None:
        return await self._steps.answer_uncancelled(step)

    async def dead_pushes(self, after: PushName | None, limit: int) -> "builtins.list[DeadPush]":
        return await self._read(outbox.dead, after, limit)

    async def revive_push(self, name: PushName) -> bool:
        return await self._write(outbox.revive, name)

    async def drop_push(self, name: PushName) -> bool:
        return await self._write(outbox.drop, name)

    # -- the way to the database

    async def _read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._persist(lambda _: self._open_database().read(query, *args, **kwargs))

    async def _read_snapshot(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._persist(lambda _: self._open_database().read_snapshot(transaction, *args, **kwargs))

    async def _write(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write what may be written twice."""
        return await self._persist(lambda _: self._open_database().write(transaction, *args, **kwargs))

    async def _write_once(self, transaction: Callable[[Connection, bool], T]) -> T:
        """Write what may be written only once. The last argument of the transaction is True if it was tried before."""
        return await self._persist(lambda is_repeat: self._open_database().write(transaction, is_repeat))

    async def _persist(self, attempt: Callable[[bool], Awaitable[T]]) -> T:
        return await retry(attempt, budget_s=self._budget_s, outage=self._outage)

    def _open_database(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the store is closed")
        return self._database


def _put_together(found: Sequence[Parts]) -> list[tuple[Parts, Snapshot, Snapshot]]:
    """Return what was read of each task, with the whole snapshot and the one that the view shows."""
    wholes = [(parts, parts.whole()) for parts in found]
    return [(parts, whole, parts.seen(whole)) for parts, whole in wholes]
