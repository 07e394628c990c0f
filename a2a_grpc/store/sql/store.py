"""The `TaskStore` on a SQL database."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence

from a2a_grpc.database.retry import reason
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Use
from a2a_grpc.store.sql import coordination, rows
from a2a_grpc.store.sql.batch import Item
from a2a_grpc.store.sql.commits import Commits
from a2a_grpc.store.sql.migrations import prepare
from a2a_grpc.store.sql.notes import KeptNotes
from a2a_grpc.store.sql.outbox import PushConfigs
from a2a_grpc.store.sql.purging import forget, purge
from a2a_grpc.store.sql.snapshots import SnapshotWriter
from a2a_grpc.store.sql.statements import tasks
from a2a_grpc.store.values import Head, Scope, StoreUnavailable, TaskKey
from a2a_grpc.store.writes import Append, Binding, Create, Pending, StaleAppend
from a2a_grpc.store.written import Written, refused
from a2a_grpc.uncancelled import look_at_error


class SqlStore(KeptNotes, PushConfigs):
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
        super().__init__(url, budget_s)
        self.dialect = self._url.dialect
        """One of sqlite, postgresql and mysql."""
        self._cancels: Together[tuple[TaskKey, bytes], Head | None] = Together(
            # No caller gets an answer that its request is kept: each waits for the end of its task, which is synced.
            lambda asked: self._run(Use.WRITE_UNSYNCED, coordination.request_cancels, asked),
            is_patient=True,  # requests that arrive together at the other replica end their tasks in one transaction
        )
        self._commits: Commits | None = None
        self._snapshot_writer: SnapshotWriter | None = None

    @property
    def is_healthy(self) -> bool:
        """True while the background tasks of the store run, which is from `open` to `close` unless one fails."""
        return all(part is not None and part.is_healthy for part in (self._commits, self._snapshot_writer))

    async def open(self) -> Collection[TaskKey]:
        database = await self._connect(lambda database: prepare(database, self._url))
        self._commits = Commits(database, budget_s=self._budget_s, outage=self._outage, committed=self._committed)
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
        commits, writer = self._commits, self._snapshot_writer
        self._commits = self._snapshot_writer = None

        async def end() -> None:
            for part in (writer, commits, self._heads, self._bases, self._cancels, self._steps, self._puts):
                if part is not None:
                    await part.stop()

        await self._disconnect(end)
        self._snapshots.clear()

    async def ping(self) -> None:
        if not self.is_healthy:
            raise StoreUnavailable("the store is closed, or a task of it has died")
        try:
            # It writes nothing: who asks does not wait until a database that says nothing is given up.
            asking = asyncio.ensure_future(self._opened.write(coordination.ping))
            asking.add_done_callback(look_at_error)
            await asyncio.shield(asking)
        except Exception as error:
            raise StoreUnavailable(f"the store does not answer: {reason(error)}") from error
        if self._commits is not None and self._commits.failure:  # a disk that is full can be read
            raise StoreUnavailable(f"the store accepts no writes: {self._commits.failure}")

    async def belong_to(self, agent: str) -> str:
        return await self._write(coordination.belong_to, agent)

    # -- replicas

    async def join(self, replica: str, lease_s: float) -> None:
        await self._write(coordination.join, replica, lease_s)

    async def renew(self, replica: str, lease_s: float) -> bool:
        is_alive, lapsed = await self._run(Use.WRITE_PRIORITY, coordination.renew, replica, lease_s)
        if lapsed:
            await self._write(coordination.expire, lapsed)
        return is_alive

    async def leave(self, replica: str) -> None:
        await self._write(coordination.leave, replica)

    async def orphaned(self, limit: int) -> list[TaskKey]:
        return await self._read(rows.keys, tasks.ORPHANED, {"at_most": limit})

    async def claimed_by(self, replica: str) -> list[TaskKey]:
        return await self._read(rows.keys, tasks.CLAIMED_BY, {"of_replica": replica})

    async def needing_attention(self, replica: str) -> list[tuple[TaskKey, Head]]:
        return list((await self._read(rows.shown, tasks.NEEDING_ATTENTION, {"of_replica": replica})).items())

    # -- a task

    def write(self, write: Create | Append) -> Written:
        if self._commits is None:
            return refused(StoreUnavailable("the store is closed"))
        if isinstance(write, Append):
            return self._commits.write(write, self._pks.get(write.key), has_notes=self._take_noted(write))
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
        return await self._write_once(coordination.enqueue, key, pending, replica, limit, bind, token)

    async def pending(self, key: TaskKey) -> list[Pending]:
        return await self._read(coordination.messages, key)

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        return await self._write(coordination.claim, key, replica, force)

    async def release(self, key: TaskKey, epoch: int) -> None:
        await self._write(coordination.release, key, epoch)
        self._forget(key)  # a task without a run is read seldom, and another process may write it

    async def request_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        return await self._cancels.answer_uncancelled((key, metadata))

    # -- many tasks

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        ages = {"age_us": int(than_s * 1e6), "at_most": limit}
        return await self._read(rows.keys, tasks.WAITING_LONGER, ages)

    async def count_waiting(self) -> int:
        return await self._read(lambda connection: connection.execute(tasks.COUNT_WAITING).scalar_one())

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        await self._write_once(coordination.bind, scope, key, binding)

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        return await self._read(coordination.bound, scope, key)

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        keys = await self._write(purge, ended_age_s, keep, limit)
        for key in keys:
            self._forget(key)
        return len(keys)

    async def forget(self, *, bound_age_s: float, limit: int) -> int:
        return await self._write(forget, bound_age_s, limit)
