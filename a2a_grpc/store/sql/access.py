"""The database of a store: reads and writes that are tried again while it does not answer."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from a2a_grpc.database.retry import Outage, retry
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.store.values import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class Access:
    """Gives a store its database, which is there from `open` to `close`.

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

    async def _read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._persist(lambda _: self._open_database().read(query, *args, **kwargs))

    async def _read_snapshot(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._persist(lambda _: self._open_database().read_snapshot(transaction, *args, **kwargs))

    async def _write(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write what may be written twice."""
        return await self._persist(lambda _: self._open_database().write(transaction, *args, **kwargs))

    async def _write_once(self, transaction: Callable[[Connection, bool], T]) -> T:
        """Write what may be written only once. The last argument of the transaction is True if it was tried before."""
        return await self._persist(lambda is_repeat: self._open_database().write(transaction, is_repeat))

    async def _persist(self, attempt: Callable[[bool], Awaitable[T]]) -> T:
        return await retry(attempt, budget_s=self._budget_s, outage=self._outage)

    def _open_database(self) -> Database:
        if self._database is None:
            raise StoreUnavailable("the store is closed")
        return self._database
