"""Transactions on a database.

A transaction is a plain function over a `sqlalchemy.Connection`, the same one for every database. It commits when the
function returns.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from a2a_grpc.database.clock import MachineClock
from a2a_grpc.uncancelled import uncancelled

P = ParamSpec("P")
T = TypeVar("T")

POOL = "a2a_grpc"
"""The name of the pools in log lines of SQLAlchemy."""
READERS = 4
"""Connections that read at the same time, in one process."""
WRITERS = 4
"""The number of connections that write at the same time, except on SQLite, which has one."""
CONNECT_S = 5
ATTEMPT_S = 15
"""Seconds that a transaction on PostgreSQL or MySQL may take before its connection is closed."""
LOCK_S = 1
"""Seconds that a transaction waits for a row that another replica has locked."""
IDLE_S = 2
"""Seconds that a transaction may do nothing, while it has locks, before the database ends it."""


class Use(Enum):
    """What a connection is for. Each use has connections of its own, so that it does not wait for another one.

    Attributes:
        READ: A query. Each of its statements sees the database at a time of its own.
        READ_SNAPSHOT: A transaction that writes nothing and sees the database at one moment.
        WRITE: A transaction that writes.
        WRITE_PRIORITY: The same, on a connection for which no other write waits. SQLite has only one for all writes.
        WRITE_UNSYNCED: The same, but the commit does not wait for the disk, if the database has this choice. A power
            failure may undo such a write, but none that was written before it. PostgreSQL commits each statement by
            itself, so that a transaction of one statement is one round trip.
    """

    READ = "read"
    READ_SNAPSHOT = "read-snapshot"
    WRITE = "write"
    WRITE_PRIORITY = "write-priority"
    WRITE_UNSYNCED = "write-unsynced"


class Database(ABC):
    """A database. A transaction is a function over a connection.

    Guarantees:

    - A caller that is canceled leaves no connection and no transaction open. Its write has ended when the caller gets
      its CancelledError.
    - Reads do not wait for a connection because of writes.

    Args:
        dialect: `sqlite`, `postgresql` or `mysql`.
        clock: The clock that `now_us` reads on SQLite. None if the database has a clock of its own.
    """

    def __init__(self, dialect: str, clock: MachineClock | None = None) -> None:
        self.dialect = dialect
        self.clock = clock
        self._under_way: set[asyncio.Future[Any]] = set()

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(Use.READ, lambda connection: query(connection, *args, **kwargs))

    async def write(self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(Use.WRITE, lambda connection: transaction(connection, *args, **kwargs))

    async def run(self, use: Use, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction. If one that writes raises an error of the connection, it may have been committed all the
        same."""
        running = self._begin(use, transaction)
        self._under_way.add(running)
        running.add_done_callback(self._finish)
        if use in (Use.READ, Use.READ_SNAPSHOT):
            # Not canceled with the caller: neither a thread nor a statement that was sent can be.
            return await asyncio.shield(running)
        return await uncancelled(running)

    def _finish(self, running: "asyncio.Future[Any]") -> None:
        self._under_way.discard(running)
        if not running.cancelled():
            running.exception()  # marked as read, as the caller may be gone

    async def close(self) -> None:
        """Wait for the transactions that run, then close every connection."""
        if self._under_way:
            await asyncio.wait(set(self._under_way))
        await self._disconnect()

    @abstractmethod
    def _begin(self, use: Use, transaction: Callable[[Connection], T]) -> "asyncio.Future[T]":
        """Begin a transaction. Return the future of its result."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close all connections. None of them is in use."""

    @abstractmethod
    async def give_up(self) -> None:
        """Stop waiting for a database that does not answer, so that `close` returns soon."""
