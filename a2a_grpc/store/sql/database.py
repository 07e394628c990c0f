"""Transactions on a database: in threads for SQLite and MySQL, on asyncpg for PostgreSQL.

A transaction is a plain function over a `sqlalchemy.Connection`, the same one for every database. It commits when the
function returns.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from a2a_grpc.store.sql.faults import POOL, quiet_pools
from a2a_grpc.store.sql.urls import Place

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""Connections that read at the same time, in one process."""
WRITERS = 4
"""Connections that write at the same time, but for SQLite."""
BUSY_S = 10.0
"""How long SQLite waits for the writer of another process."""
CONNECT_S = 5
ATTEMPT_S = 15
"""How long a transaction on PostgreSQL or MySQL may take before its connection is given up."""
LOCK_S = 1
"""How long a row may be locked by another replica."""
IDLE_S = 2
"""How long a replica may stand still in a transaction, with its locks, before the database ends it."""


class Database(Protocol):
    """Guarantees: a caller that is canceled leaves no connection and no transaction behind, and its write is over when
    its CancelledError arrives; writes do not keep reads waiting for a connection."""

    dialect: str

    async def read(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a transaction that sees the database as of one instant and writes nothing."""

    async def write(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a transaction; it may have been committed even if an error of the connection is raised."""

    async def close(self) -> None:
        """Waits for what is under way, then closes every connection."""


def connect(place: Place, *, busy_s: float = BUSY_S) -> Database:
    """The database at a place; nothing is opened yet. `busy_s` is how long SQLite waits for another process."""
    quiet_pools()
    match place.dialect:
        case "sqlite":
            return _sqlite(place, min(busy_s, BUSY_S))
        case "mysql":
            return _mysql(place)
    from a2a_grpc.store.sql.postgresql import AsyncpgDatabase  # asyncpg is an extra

    return AsyncpgDatabase(place)


async def wait_for_end(running: asyncio.Future[Any]) -> None:
    """Waits until a future is done, however often the caller is canceled meanwhile; looks at its error, for nobody else
    may."""
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()


class ThreadedDatabase:
    """A database with a driver that blocks: each transaction is one trip to a thread."""

    def __init__(self, dialect: str, writing: Engine, writers: int, reading: Engine, readers: int) -> None:
        self.dialect = dialect
        self._engines = (writing, reading)
        self._writers = ThreadPoolExecutor(writers, "a2a-grpc-store-write")
        self._readers = ThreadPoolExecutor(readers, "a2a-grpc-store-read")
        self._under_way: set[asyncio.Future[Any]] = set()

    async def read(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        # A thread cannot be canceled: it reads on by itself.
        return await asyncio.shield(
            self._run(self._readers, self._engines[1], lambda found: transaction(found, *args, **kwargs))
        )

    async def write(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        running = self._run(self._writers, self._engines[0], lambda found: transaction(found, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await wait_for_end(running)
            raise

    def _run(
        self, threads: ThreadPoolExecutor, engine: Engine, transaction: Callable[[Connection], T]
    ) -> asyncio.Future[T]:
        def run() -> T:
            with engine.begin() as connection:
                return transaction(connection)

        running = asyncio.wrap_future(threads.submit(run))
        self._under_way.add(running)
        running.add_done_callback(self._finish)
        return running

    def _finish(self, running: asyncio.Future[Any]) -> None:
        self._under_way.discard(running)
        if not running.cancelled():
            running.exception()  # nobody may be left to look at it

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(set(self._under_way))
        for threads in (self._writers, self._readers):
            threads.shutdown()
        for engine in self._engines:
            engine.dispose()


def _sqlite(place: Place, busy_s: float) -> ThreadedDatabase:
    """One thread writes, a few read. Several processes of a machine may share the file."""
    writing, reading = (
        create_engine(
            place.url,
            pool_size=size,
            max_overflow=0,
            pool_logging_name=POOL,
            hide_parameters=True,
            connect_args={"timeout": busy_s, "check_same_thread": False, "cached_statements": 256},
        )
        for size in (1, READERS)
    )

    @event.listens_for(writing, "connect")
    def _prepare_writer(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        _pragmas(connection, "journal_mode=WAL", f"synchronous={place.synchronous}", "journal_size_limit=67108864")

    @event.listens_for(reading, "connect")
    def _prepare_reader(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        _pragmas(connection, "query_only=1")

    @event.listens_for(writing, "begin")
    def _begin_writing(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # so that what it reads is what it writes over

    @event.listens_for(reading, "begin")
    def _begin_reading(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return ThreadedDatabase("sqlite", writing, 1, reading, READERS)


def _pragmas(connection: DBAPIConnection, *pragmas: str) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # the transactions are begun here
    for pragma in ("cache_size=-16384", *pragmas):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _mysql(place: Place) -> ThreadedDatabase:
    session = (
        f"SET SESSION innodb_lock_wait_timeout={LOCK_S}, wait_timeout={4 * IDLE_S}, "
        "sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    )
    writing, reading = (
        create_engine(
            place.url,
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
            },
        )
        for size, isolation in ((WRITERS, "READ COMMITTED"), (READERS, "REPEATABLE READ"))
    )
    return ThreadedDatabase("mysql", writing, WRITERS, reading, READERS)
