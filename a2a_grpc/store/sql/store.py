"""The `TaskStore` on a SQL database."""

import asyncio
import secrets
from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection

from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import reason, retry
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Database
from a2a_grpc.store.sql import coordination, mailbox
from a2a_grpc.store.sql.batch import Item
from a2a_grpc.store.sql.commits import Commits
from a2a_grpc.store.sql.keys import Numbers
from a2a_grpc.store.sql.migrations import prepare
from a2a_grpc.store.sql.notes import KeptNotes
from a2a_grpc.store.sql.purging import forget, purge
from a2a_grpc.store.sql.push_configs import PushConfigs
from a2a_grpc.store.sql.snapshots import SnapshotWriter
from a2a_grpc.store.values import Append, Binding, Create, Head, Pending, Scope, StaleAppend, StoreUnavailable, TaskKey
from a2a_grpc.store.written import Written, refused
from a2a_grpc.uncancelled import look_at_error

OPEN_S = 20.0
"""How long `open` waits for a database that does not answer, at most."""
CLOSE_S = 1.0
"""How long `close` waits for writes that have begun, before it gives the database up."""


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
        self._numbers = Numbers()
        self._cancels: Together[tuple[TaskKey, bytes], Head | None] = Together(
            # No caller gets an answer that its request is kept: each waits for the end of its task, which is synced.
            lambda asked: self._persist(lambda _: self._open_database().write_unsynced(mailbox.request_cancels, asked)),
            is_patient=True,  # requests that arrive together at the other replica end their tasks in one transaction
        )
        self._commits: Commits | None = None
        self._snapshot_writer: SnapshotWriter | None = None

    @property
    def is_healthy(self) -> bool:
        """True while the background tasks of the store run, which is from `open` to `close` unless one fails."""
        return all(part is not None and part.is_healthy for part in (self._commits, self._snapshot_writer))

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
            database, budget_s=self._budget_s, outage=self._outage, number=self._numbers.next, committed=self._committed
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
        for together in (self._heads, self._bases, self._cancels, self._steps, self._puts):
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

    # -- many tasks

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        return await self._read(coordination.waiting_longer, than_s, limit)

    async def count_waiting(self) -> int:
        return await self._read(coordination.count_waiting)

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
