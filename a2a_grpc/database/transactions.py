"""Transactions on a database: in threads for SQLite and MySQL, on asyncpg for PostgreSQL.

A transaction is a plain function over a `sqlalchemy.Connection`, the same one for every database. It commits when the
function returns.
"""

import asyncio
import socket
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine, FromClause, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from a2a_grpc.database import write_lock
from a2a_grpc.database.clock import MachineClock
from a2a_grpc.database.file import DatabaseFile, Watch, mark
from a2a_grpc.database.transient import POOL
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.uncancelled import uncancelled

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""Connections that read at the same time, in one process."""
WRITERS = 4
"""The number of connections that write at the same time, except on SQLite, which has one."""
BUSY_S = 2.0
"""Seconds that one try on SQLite waits for the writer of another process. It is short, because the writes of this
process wait meanwhile."""
CONNECT_S = 5
ATTEMPT_S = 15
"""Seconds that a transaction on PostgreSQL or MySQL may take before its connection is closed."""
LOCK_S = 1
"""Seconds that a transaction waits for a row that another replica has locked."""
IDLE_S = 2
"""Seconds that a transaction may do nothing, while it has locks, before the database ends it."""


class Database(Protocol):
    """A database. A transaction is a function over a connection.

    Guarantees:

    - A caller that is canceled leaves no connection and no transaction open. Its write has ended when the caller gets
      its CancelledError.
    - Reads do not wait for a connection because of writes.
    """

    dialect: str
    clock: MachineClock | None
    """The clock that `now_us` reads on SQLite. None if the database has a clock of its own."""

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query. Each of its statements sees the database at a time of its own."""

    async def read_snapshot(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a transaction that writes nothing and sees the database at one moment."""

    async def write(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a transaction that writes. If an error of the connection is raised, it may have been committed all the
        same."""

    async def write_priority(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what `write` does on a connection for which no other write waits. SQLite has only one for all writes."""

    async def write_unsynced(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what `write` does, but let the commit not wait for the disk, if the database has this choice.

        A power failure may undo such a write, but none that was written before it. PostgreSQL commits each statement by
        itself, so that a transaction of one statement is one round trip.
        """

    async def close(self) -> None:
        """Wait for the transactions that run, then close every connection."""

    async def give_up(self) -> None:
        """Stop waiting for a database that does not answer, so that `close` returns soon."""


class HintingCompiler(SQLiteCompiler):
    """Writes the hints of a statement, such as INDEXED BY, after the table. SQLAlchemy has none for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


class ThreadedPool:
    """Connections of one kind, with a thread for each."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        size: int,
        *,
        check: Callable[[], object] = bool,
        explain: Callable[[], object] = bool,
        writes: bool = False,
        synchronous: str = "",
    ) -> None:
        self.engine = engine
        self._synchronous = synchronous
        self.check = check
        """A function that raises StoreLost if the database file was moved or replaced."""
        self.explain = explain
        """Does the same as `check`, after a transaction that failed."""
        self.writes = writes
        self.sockets: WeakSet[socket.socket] = WeakSet()
        """The sockets of connections to a database server."""
        self.threads = ThreadPoolExecutor(size, f"a2a-grpc-store-{name}")

    @contextmanager
    def transaction(self, *, is_synced: bool = True) -> Iterator[Connection]:
        """Begin a transaction. Its commit waits for the disk if `is_synced`."""
        if is_synced or not self._synchronous:
            with self.engine.begin() as connection:
                yield connection
            return
        with self.engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.execute("PRAGMA synchronous=normal")  # SQLite refuses it within a transaction
            try:
                with connection.begin():
                    yield connection
            finally:
                driver.execute(f"PRAGMA synchronous={self._synchronous}")

    def close(self) -> None:
        self.threads.shutdown()
        self.engine.dispose()

    def give_up(self) -> None:
        """Wake the threads that wait for an answer of a database server."""
        for waiting in list(self.sockets):
            with suppress(OSError):  # it was closed by the other end
                waiting.shutdown(socket.SHUT_RDWR)


class ThreadedDatabase:
    """A database whose driver blocks, so that each transaction runs in a thread."""

    def __init__(
        self,
        dialect: str,
        *,
        reading: ThreadedPool,
        reading_snapshot: ThreadedPool,
        writing: ThreadedPool,
        writing_priority: ThreadedPool,
        clock: MachineClock | None = None,
    ) -> None:
        self.dialect = dialect
        self.clock = clock
        self._reading = reading
        self._reading_snapshot = reading_snapshot
        self._writing = writing
        self._writing_priority = writing_priority
        self._under_way: set[asyncio.Future[Any]] = set()

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        # A thread cannot be canceled, so it continues to read.
        return await asyncio.shield(self._run(self._reading, lambda found: query(found, *args, **kwargs)))

    async def read_snapshot(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await asyncio.shield(
            self._run(self._reading_snapshot, lambda found: transaction(found, *args, **kwargs))
        )

    async def write(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await uncancelled(self._run(self._writing, lambda found: transaction(found, *args, **kwargs)))

    async def write_priority(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await uncancelled(self._run(self._writing_priority, lambda found: transaction(found, *args, **kwargs)))

    async def write_unsynced(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        running = self._run(self._writing, lambda found: transaction(found, *args, **kwargs), is_synced=False)
        return await uncancelled(running)

    def _run(
        self, pool: ThreadedPool, transaction: Callable[[Connection], T], *, is_synced: bool = True
    ) -> asyncio.Future[T]:
        def run() -> T:
            try:
                with pool.transaction(is_synced=is_synced) as connection:
                    pool.check()
                    result = transaction(connection)
                if pool.writes:
                    pool.check()  # a commit to a file that was replaced must not be acknowledged
            except (DBAPIError, sqlite3.Error):  # the second kind comes from blobs
                pool.explain()  # raises StoreLost if the file is gone: SQLite only says "disk I/O error"
                raise
            return result

        running = asyncio.wrap_future(pool.threads.submit(run))
        self._under_way.add(running)
        running.add_done_callback(self._finish)
        return running

    def _finish(self, running: asyncio.Future[Any]) -> None:
        self._under_way.discard(running)
        if not running.cancelled():
            running.exception()  # marked as read, as the caller may be gone

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(set(self._under_way))
        for pool in self._pools:
            pool.close()

    async def give_up(self) -> None:
        for pool in self._pools:
            pool.give_up()

    @property
    def _pools(self) -> "set[ThreadedPool]":
        return {self._reading, self._reading_snapshot, self._writing, self._writing_priority}


def sqlite_database(url: DatabaseUrl, busy_s: float) -> ThreadedDatabase:
    """Return the database in an SQLite file, with one thread that writes and a few that read. Processes may share the
    file."""

    file = DatabaseFile(url.path)
    watch = Watch(file)
    clock = MachineClock()

    def engine(size: int, begin: Callable[[Connection], object], *pragmas: str, writes: bool = False) -> Engine:
        made = create_engine(
            url.engine_url,
            creator=lambda: file.connect(busy_s),
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            pool_logging_name=POOL,
            hide_parameters=True,
        )
        made.dialect.statement_compiler = HintingCompiler

        @event.listens_for(made, "connect")
        def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
            assert isinstance(connection, sqlite3.Connection)
            _pragmas(connection, *pragmas)
            if writes:
                mark(connection)
                connection.execute("PRAGMA busy_timeout=0").fetchall()
            clock.register(connection)

        event.listen(made, "begin", begin)
        return made

    pragmas = ("journal_mode=WAL", f"synchronous={url.synchronous}", "journal_size_limit=67108864")
    writer = engine(1, lambda connection: write_lock.begin(connection, busy_s), *pragmas, writes=True)
    event.listen(writer, "connect", lambda *_: watch.connected())
    writing = ThreadedPool(
        *("write", writer, 1),
        check=watch.check,
        explain=watch.explain,
        writes=True,
        synchronous=url.synchronous if url.synchronous in ("full", "extra") else "",
    )

    def reading(name: str, begin: Callable[[Connection], object]) -> ThreadedPool:
        connections = engine(READERS, begin, "query_only=1")
        return ThreadedPool(name, connections, READERS, check=file.check, explain=file.check)

    return ThreadedDatabase(
        "sqlite",
        reading=reading("read", bool),
        reading_snapshot=reading("read-snapshot", lambda connection: connection.exec_driver_sql("BEGIN")),
        writing=writing,
        writing_priority=writing,  # SQLite has one writer
        clock=clock,
    )


def _pragmas(connection: sqlite3.Connection, *pragmas: str) -> None:
    connection.isolation_level = None  # the transactions are begun here
    for pragma in ("cache_size=-16384", *pragmas):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def mysql_database(url: DatabaseUrl) -> ThreadedDatabase:
    """Return a database of MySQL or MariaDB."""
    session = (
        f"SET SESSION innodb_lock_wait_timeout={LOCK_S}, wait_timeout={4 * IDLE_S}, "
        "sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    )

    def pool(name: str, size: int, isolation: IsolationLevel) -> ThreadedPool:
        engine = create_engine(
            url.engine_url,
            pool_size=size,
            max_overflow=0,
            pool_recycle=2 * IDLE_S,  # before the server ends them
            pool_logging_name=POOL,
            hide_parameters=True,
            isolation_level=isolation,
            connect_args={
                "connect_timeout": CONNECT_S,
                "read_timeout": ATTEMPT_S,
                "write_timeout": ATTEMPT_S,
                "init_command": session,
                "charset": "utf8mb4",
                **url.arguments,
            },
        )
        made = ThreadedPool(name, engine, size)
        event.listen(engine, "connect", lambda connection, _: made.sockets.add(connection._sock))
        return made

    return ThreadedDatabase(
        "mysql",
        reading=pool("read", READERS, "AUTOCOMMIT"),
        reading_snapshot=pool("read-snapshot", READERS, "REPEATABLE READ"),
        writing=pool("write", WRITERS, "READ COMMITTED"),
        writing_priority=pool("write-priority", 1, "READ COMMITTED"),
    )
