"""Transactions on PostgreSQL, through asyncpg."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.transactions import (
    ATTEMPT_S,
    CONNECT_S,
    IDLE_S,
    LOCK_S,
    POOL,
    READERS,
    WRITERS,
    Database,
    Use,
)
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.masking import mask_url

T = TypeVar("T")

TERMINATED_S = 0.1
"""Seconds that a transaction may take to notice that its connection was terminated."""


class AsyncpgDatabase(Database):
    """A database on asyncpg.

    Each transaction runs in a task of its own, so that no cancellation of a caller reaches a statement. A transaction
    that must end has its connection terminated. If a statement were canceled instead, asyncpg would open a further
    connection to cancel the statement, and asyncio would log an error when that connection is cut at once.
    """

    def __init__(self, url: DatabaseUrl) -> None:
        super().__init__("postgresql")
        self._url = url
        self._connections: WeakSet[Any] = WeakSet()
        self._in_use: dict[asyncio.Task[Any] | None, Any] = {}
        """The connection of each transaction that has one."""
        self._late: set[asyncio.Task[Any] | None] = set()
        """The transactions that have reached their limit."""
        self.pools = {
            Use.READ: self._engine(READERS, "AUTOCOMMIT"),
            Use.READ_SNAPSHOT: self._engine(READERS, "REPEATABLE READ"),
            Use.WRITE: self._engine(WRITERS, "READ COMMITTED"),
            Use.WRITE_PRIORITY: self._engine(1, "READ COMMITTED"),
            Use.WRITE_UNSYNCED: self._engine(1, "AUTOCOMMIT", synchronous_commit="off"),
        }
        self._is_given_up = False

    def _begin(self, use: Use, transaction: Callable[[Connection], T]) -> "asyncio.Future[T]":
        async def run() -> T:
            # A peer that was cut off sends nothing, so the limit ends the connection.
            limit = asyncio.get_running_loop().call_later(ATTEMPT_S, self._end, running)
            try:
                async with self.pools[use].begin() as connection:
                    return await connection.run_sync(transaction)
            except (Exception, asyncio.CancelledError):
                if self._is_given_up:  # drivers raise different errors for it
                    raise TimeoutError("no answer before the store was closed") from None
                if running in self._late:
                    raise TimeoutError(f"no answer within {ATTEMPT_S:g} s") from None
                raise
            finally:
                limit.cancel()
                self._in_use.pop(running, None)
                self._late.discard(running)

        running = asyncio.create_task(run(), name="a2a-grpc store transaction")
        return running

    def _end(self, running: "asyncio.Task[Any]") -> None:
        """End the connection of a transaction, or the one that it is about to get."""
        self._late.add(running)
        if (connection := self._in_use.get(running)) is not None:
            connection.terminate()

    def _use(self, connection: Any) -> None:
        """Take note of the connection of the current transaction."""
        running = asyncio.current_task()
        self._in_use[running] = connection
        if running in self._late:
            connection.terminate()

    async def _disconnect(self) -> None:
        for engine in self.pools.values():
            await engine.dispose()

    async def give_up(self) -> None:
        self._is_given_up = True
        for connection in list(self._connections):
            connection.terminate()
        if self._under_way:  # terminated connections end by themselves
            await asyncio.wait(set(self._under_way), timeout=TERMINATED_S)
        for connecting in self._under_way:
            connecting.cancel()

    def _engine(self, size: int, isolation: IsolationLevel, **more: str) -> AsyncEngine:
        """Return an engine, with more settings of its sessions."""
        connecting = self._url.connecting
        assert connecting is not None
        # No statement names a schema: each finds the tables, and each migration makes them, along the search path.
        path = {"search_path": f'"{self._url.schema}"'} if self._url.schema else {}
        settings = {
            "application_name": connecting.application_name,
            "jit": "off",
            "lock_timeout": str(1000 * LOCK_S),
            "statement_timeout": str(int(1000 * ATTEMPT_S)),  # the statement of a terminated connection runs on
            "idle_in_transaction_session_timeout": str(1000 * IDLE_S),
            **path,
            **more,
        }

        async def connect() -> Any:
            arguments = {"timeout": CONNECT_S, **connecting.arguments}
            try:
                made = await asyncpg.connect(connecting.dsn, server_settings=settings, **arguments)
            except asyncpg.ClientConfigurationError as error:  # such as verify-full without a root certificate
                raise ConfigurationError(f"store is '{self._url.shown}'; {mask_url(str(error))}") from error
            self._connections.add(made)
            self._use(made)
            return made

        engine = create_async_engine(
            self._url.engine_url,
            async_creator=connect,
            pool_size=size,
            max_overflow=0,
            pool_timeout=ATTEMPT_S,
            pool_logging_name=POOL,
            hide_parameters=True,
            isolation_level=isolation,
        )
        event.listen(engine.sync_engine, "checkout", lambda adapted, *_: self._use(adapted.driver_connection))
        return engine
