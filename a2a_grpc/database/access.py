"""The database of a store, from its opening to its closing: transactions that are tried again for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import Outage, retry
from a2a_grpc.database.transactions import Database, Use
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.database.urls import DatabaseUrl

P = ParamSpec("P")
T = TypeVar("T")

OPEN_S = 20.0
"""Seconds for which a database may fail to answer when it is opened, at most."""
CLOSE_S = 1.0
"""Seconds that transactions in progress have to end before the database is given up."""


class Access:
    """Gives a store its database.

    Args:
        url: The URL of the database.
        budget_s: Seconds for which transient faults are retried.

    Raises:
        ConfigurationError: The URL names no database, or its driver is not installed.
    """

    def __init__(self, url: str, budget_s: float) -> None:
        self._url = DatabaseUrl.parse(url)
        self._budget_s = budget_s
        self._outage = Outage(self._url.shown)
        self._database: Database | None = None

    async def _connect(self, prepare: Callable[[Database], Awaitable[None]]) -> Database:
        """Open the database once it is prepared."""
        database = connect(self._url, busy_s=self._budget_s)
        try:
            await retry(lambda _: prepare(database), budget_s=min(self._budget_s, OPEN_S), outage=self._outage)
        except BaseException:
            await asyncio.shield(database.close())
            raise
        self._database = database
        return database

    async def _disconnect(self, end: Callable[[], Awaitable[None]]) -> None:
        """Close the database after the store has ended its own work."""
        database, self._database = self._database, None

        async def close() -> None:
            await end()
            if database is not None:
                await database.close()

        closing = asyncio.create_task(close(), name="a2a-grpc store close")
        await asyncio.wait([closing], timeout=CLOSE_S)
        if database is not None and not closing.done():
            await database.give_up()
        await closing

    async def _read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(Use.READ, query, *args, **kwargs)

    async def _write(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write what may be written twice."""
        return await self._run(Use.WRITE, transaction, *args, **kwargs)

    async def _write_once(
        self, transaction: Callable[Concatenate[Connection, bool, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write what may be written only once. The second argument of the transaction is True if it was tried
        before."""
        return await self._retry(
            lambda is_repeat: self._opened.run(
                Use.WRITE, lambda connection: transaction(connection, is_repeat, *args, **kwargs)
            )
        )

    async def _run(
        self, use: Use, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._retry(
            lambda _: self._opened.run(use, lambda connection: transaction(connection, *args, **kwargs))
        )

    async def _retry(self, attempt: Callable[[bool], Awaitable[T]]) -> T:
        return await retry(attempt, budget_s=self._budget_s, outage=self._outage)

    @property
    def _opened(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the store is closed")
        return self._database
