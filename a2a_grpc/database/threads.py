"""Transactions in threads, for drivers that block: those of SQLite and MySQL."""

import asyncio
import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from a2a_grpc.database.clock import MachineClock
from a2a_grpc.database.transactions import Database, Use

T = TypeVar("T")


class ThreadedPool:
    """Connections of one kind, with a thread for each."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        size: int,
        *,
        check: Callable[[], object] = bool,
        explain: Callable[[Exception], object] = bool,
        writes: bool = False,
        synchronous: str = "",
    ) -> None:
        self.engine = engine
        self._synchronous = synchronous
        self.check = check
        """A function that raises StoreLost if the database file was moved, replaced or damaged."""
        self.explain = explain
        """Does the same as `check`, after a transaction that failed with an error."""
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


class ThreadedDatabase(Database):
    """A database whose driver blocks, so that each transaction runs in a thread.

    Args:
        dialect: `sqlite` or `mysql`.
        pools: The connections for each use.
        clock: The clock of an SQLite file.
    """

    def __init__(self, dialect: str, pools: Mapping[Use, ThreadedPool], clock: MachineClock | None = None) -> None:
        super().__init__(dialect, clock)
        self.pools = pools

    def _begin(self, use: Use, transaction: Callable[[Connection], T]) -> "asyncio.Future[T]":
        pool = self.pools[use]

        def run() -> T:
            try:
                with pool.transaction(is_synced=use is not Use.WRITE_UNSYNCED) as connection:
                    pool.check()
                    result = transaction(connection)
                if pool.writes:
                    pool.check()  # a commit to a file that was replaced must not be acknowledged
            except (DBAPIError, sqlite3.Error) as error:  # the second kind comes from blobs
                pool.explain(error)  # raises StoreLost if the file is gone: SQLite only says "disk I/O error"
                raise
            return result

        return asyncio.wrap_future(pool.threads.submit(run))

    async def _disconnect(self) -> None:
        for pool in set(self.pools.values()):
            pool.close()

    async def give_up(self) -> None:
        for pool in set(self.pools.values()):
            pool.give_up()
