"""The database in an SQLite file."""

import sqlite3
from collections.abc import Callable

from sqlalchemy import Connection, Engine, FromClause, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from a2a_grpc.database import write_lock
from a2a_grpc.database.clock import MachineClock
from a2a_grpc.database.file import DatabaseFile, mark
from a2a_grpc.database.side_files import Watch
from a2a_grpc.database.threads import ThreadedDatabase, ThreadedPool
from a2a_grpc.database.transactions import POOL, READERS, Use
from a2a_grpc.database.urls import DatabaseUrl

BUSY_S = 2.0
"""Seconds that one try waits for the writer of another process. It is short, because the writes of this process wait
meanwhile."""


class HintingCompiler(SQLiteCompiler):
    """Writes the hints of a statement, such as INDEXED BY, after the table. SQLAlchemy has none for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


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
    event.listen(writer, "close", lambda *_: watch.closed())
    writing = ThreadedPool(
        *("write", writer, 1),
        check=watch.check,
        explain=watch.explain,
        writes=True,
        synchronous=url.synchronous if url.synchronous in ("full", "extra") else "",
    )

    def reading(name: str, begin: Callable[[Connection], object]) -> ThreadedPool:
        connections = engine(READERS, begin, "query_only=1")
        return ThreadedPool(name, connections, READERS, check=watch.check_reading, explain=watch.explain)

    pools = {
        Use.READ: reading("read", bool),
        Use.READ_SNAPSHOT: reading("read-snapshot", lambda connection: connection.exec_driver_sql("BEGIN")),
        **dict.fromkeys((Use.WRITE, Use.WRITE_PRIORITY, Use.WRITE_UNSYNCED), writing),  # SQLite has one writer
    }
    return ThreadedDatabase("sqlite", pools, clock)


def _pragmas(connection: sqlite3.Connection, *pragmas: str) -> None:
    connection.isolation_level = None  # the transactions are begun here
    for pragma in ("cache_size=-16384", *pragmas):
        connection.execute(f"PRAGMA {pragma}").fetchall()
