"""Transactions on PostgreSQL, through asyncpg."""

import asyncio
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.clock import MachineClock
from a2a_grpc.database.transactions import ATTEMPT_S, CONNECT_S, IDLE_S, LOCK_S, READERS, WRITERS
from a2a_grpc.database.transient import POOL
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.masking import mask_url
from a2a_grpc.uncancelled import uncancelled

P = ParamSpec("P")
T = TypeVar("T")

TERMINATED_S = 0.1
"""Seconds that a transaction may take to notice that its connection was terminated."""


class AsyncpgDatabase:
    """A `Database` on asyncpg.

    Each transaction runs in a task of its own, so that no cancellation reaches a connection in the middle of a
    statement.
    """

    dialect = "postgresql"
    clock: MachineClock | None = None

    def __init__(self, url: DatabaseUrl) -> None:
        self._connections: WeakSet[Any] = WeakSet()
        self._reading = _engine(url, READERS, "AUTOCOMMIT", self._connections)
        self._reading_snapshot = _engine(url, READERS, "REPEATABLE READ", self._connections)
        self._writing = _engine(url, WRITERS, "READ COMMITTED", self._connections)
        self._writing_priority = _engine(url, 1, "READ COMMITTED", self._connections)
        self._writing_unsynced = _engine(url, 1, "AUTOCOMMIT", self._connections, synchronous_commit="off")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._is_given_up = False

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
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
        return await uncancelled(self._run(self._writing_unsynced, lambda found: transaction(found, *args, **kwargs)))

    def _run(self, engine: AsyncEngine, transaction: Callable[[Connection], T]) -> asyncio.Task[T]:
        async def run() -> T:
            try:
                # A peer that was cut off sends nothing, so the limit ends the connection.
                async with asyncio.timeout(ATTEMPT_S):
                    async with engine.begin() as connection:
                        return await connection.run_sync(transaction)
            except (Exception, asyncio.CancelledError):
                if self._is_given_up:  # drivers raise different errors for it
                    raise TimeoutError("no answer before the store was closed") from None
                raise

        running = asyncio.create_task(run(), name="a2a-grpc store transaction")
        self._under_way.add(running)
        running.add_done_callback(self._finish)
        return running

    def _finish(self, running: asyncio.Task[Any]) -> None:
        self._under_way.discard(running)
        if not running.cancelled():
            running.exception()  # marked as read, as the caller may be gone

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(set(self._under_way))
        both = self._reading, self._reading_snapshot
        for engine in (*both, self._writing, self._writing_priority, self._writing_unsynced):
            await engine.dispose()

    async def give_up(self) -> None:
        self._is_given_up = True
        for connection in list(self._connections):
            connection.terminate()
        if self._under_way:  # terminated connections end by themselves
            await asyncio.wait(set(self._under_way), timeout=TERMINATED_S)
        for connecting in self._under_way:
            connecting.cancel()


def _engine(
    url: DatabaseUrl, size: int, isolation: IsolationLevel, connections: "WeakSet[Any]", **more: str
) -> AsyncEngine:
    """Return an engine whose connections are added to `connections`, with more settings of the session."""
    connecting = url.connecting
    assert connecting is not None
    # No statement names a schema: each finds the tables, and each migration makes them, along the search path.
    path = {"search_path": f'"{url.schema}"'} if url.schema else {}
    settings = {
        "application_name": connecting.application_name,
        "jit": "off",
        "lock_timeout": str(1000 * LOCK_S),
        "idle_in_transaction_session_timeout": str(1000 * IDLE_S),
        **path,
        **more,
    }

    async def connect() -> Any:
        arguments = {"timeout": CONNECT_S, **connecting.arguments}
        try:
            made = await asyncpg.connect(connecting.dsn, server_settings=settings, **arguments)
            connections.add(made)
            return made
        except asyncpg.ClientConfigurationError as error:  # such as verify-full without a root certificate
            raise ConfigurationError(f"store is '{url.shown}'; {mask_url(str(error))}") from error

    return create_async_engine(
        url.engine_url,
        async_creator=connect,
        pool_size=size,
        max_overflow=0,
        pool_timeout=ATTEMPT_S,
        pool_logging_name=POOL,
        hide_parameters=True,
        isolation_level=isolation,
    )
