"""Entries in SQLite or PostgreSQL."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.retry import Outage, is_database_error, reason, retry
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.database.usable import usable
from a2a_grpc.registry import queries, schema, statements
from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search
from a2a_grpc.registry.memory import error_of
from a2a_grpc.registry.protocol import GATHER_S, SWEEP_S, Owned
from a2a_grpc.registry.rivals import Added

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("a2a_grpc.sentinel")

MAX_ADDS = 100
"""Entries that are added in one transaction: 500 took a busy PostgreSQL more than the time that a caller waits."""
MAX_RENEWALS = 1000
"""Leases that are renewed in one transaction."""
CLOSE_S = 1.0
"""Seconds that transactions in progress have to end before the database is given up."""


class SqlEntries:
    """An `EntryStore` in a database. Sentinels that share the database have one registry.

    Args:
        url: `sqlite:///FILE` or `postgresql://…`.
        lease_s: Seconds for which an entry is there without a renewal.
        max_entries: The largest number of entries, about.
        budget_s: Seconds for which the database may fail to answer before a call raises StoreUnavailable.

    Raises:
        ConfigurationError: The URL names no database that can be used, or its driver is not installed.
    """

    def __init__(self, url: str, *, lease_s: float, max_entries: int, budget_s: float = 5.0) -> None:
        self.lease_s = lease_s
        self._max_entries = max_entries
        self._url = DatabaseUrl.parse(url)
        if self._url.dialect not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                f"store is '{self._url.shown}'; the store of a sentinel must be memory:, sqlite:///sentinel.db or "
                "postgresql://…"
            )
        self._budget_s = budget_s
        self._outage = Outage(self._url.shown)
        self._renewals: Together[bytes, bool] = Together(self._renew, gather_s=GATHER_S)
        self._adds: Together[Entry, Added] = Together(self._add_all, max_questions=MAX_ADDS)
        self._database: Database | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._count = 0

    async def open(self) -> None:
        database = connect(self._url, busy_s=self._budget_s)

        def prepare(connection: Connection) -> None:
            schema.make_tables(connection, self._url.shown, self._url.schema)
            if database.clock is not None:
                database.clock.anchor(connection, schema.clock, schema.agent)

        async def attempt(_: bool) -> None:
            with usable(self._url):
                await database.write(prepare)

        try:
            await retry(attempt, budget_s=self._budget_s, outage=self._outage)
        except BaseException:
            await asyncio.shield(database.close())
            raise
        self._database = database
        await self._sweep()
        self._sweeping = asyncio.create_task(self._keep_sweeping(), name="a2a-grpc:registry")

    async def close(self) -> None:
        database, self._database = self._database, None
        if database is None:
            return
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self._renewals.stop()
        await self._adds.stop()
        closing = asyncio.create_task(database.close(), name="a2a-grpc:registry")
        await asyncio.wait([closing], timeout=CLOSE_S)
        if not closing.done():
            await database.give_up()
        await closing

    async def secret(self) -> bytes:
        return await self._write(statements.secret, secrets.token_bytes(32))

    async def add(self, entry: Entry) -> None:
        self._check(entry, await self._adds.answer_uncancelled(entry))

    async def replace(self, entry: Entry) -> list[Key]:
        room = self._max_entries - self._count
        outcome, replaced = await self._write(statements.replace, entry, self._lease_us, room)
        self._check(entry, outcome)
        return replaced

    async def renew(self, key: Key, owner: str) -> bool:
        return await self._renewals.answer_uncancelled(key.digest(owner))

    async def renew_all(self, asked: Collection[Owned]) -> Set[Owned]:
        owned = {key.digest(owner): (key, owner) for key, owner in asked}
        ids, there = list(owned), set[Owned]()
        for first in range(0, len(ids), MAX_RENEWALS):
            renewed = await self._write(statements.renew, ids[first : first + MAX_RENEWALS], self._lease_us)
            there.update(owned[id] for id in renewed)
        return there

    async def remove(self, key: Key, owner: str) -> bool:
        return await self._write(statements.remove, key.digest(owner))

    async def at(self, name: str) -> list[Entry]:
        return await self._read(queries.at, name)

    async def find(self, search: Search, *, after: Place | None = None, limit: int) -> list[Found]:
        return await self._read(queries.find, search, after, limit)

    def _check(self, entry: Entry, outcome: Added) -> None:
        """Raise the error of an entry that was not added."""
        if outcome not in (Added.NEW, Added.AGAIN):
            raise error_of(outcome, entry.name, self._max_entries)

    @property
    def _lease_us(self) -> int:
        return int(self.lease_s * 1_000_000)

    async def _add_all(self, entries: Sequence[Entry]) -> Mapping[Entry, Added]:
        """Add entries in one transaction, because agents that have lost a sentinel come back together."""
        room = self._max_entries - self._count
        outcomes = await self._write(statements.add_all, entries, self._lease_us, room)
        self._count += list(outcomes.values()).count(Added.NEW)
        return outcomes

    async def _renew(self, ids: Sequence[bytes]) -> Mapping[bytes, bool]:
        there = await self._write(statements.renew, ids, self._lease_us)
        return {one: one in there for one in ids}

    async def _keep_sweeping(self) -> None:
        """Remove entries whose leases have ended, from time to time."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._sweep()
            except StoreUnavailable as error:
                logger.debug("ended leases were not removed: %s", error)

    async def _sweep(self) -> None:
        self._count = await self._write(statements.sweep)

    async def _read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._persist(lambda database: database.read(query, *args, **kwargs))

    async def _write(
        self, transaction: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self._persist(lambda database: database.write(transaction, *args, **kwargs))

    async def _persist(self, run: Callable[[Database], Awaitable[T]]) -> T:
        """Run a transaction. Repeat it while the errors of the database are transient."""
        database = self._database
        if database is None:
            raise StoreUnavailable("the registry is closed")
        try:
            return await retry(lambda _: run(database), budget_s=self._budget_s, outage=self._outage)
        except Exception as error:
            if not is_database_error(error):
                raise
            logger.error("the registry's database failed store=%s error=%s", self._url.shown, reason(error))
            raise StoreUnavailable(f"'{self._url.shown}' failed: {reason(error)}") from error
