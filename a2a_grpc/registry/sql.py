"""Entries in SQLite or PostgreSQL."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from typing import TypeVar

from sqlalchemy import Connection

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.access import Access
from a2a_grpc.database.retry import is_database_error, reason
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Database
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.database.usable import usable
from a2a_grpc.registry import queries, schema, statements
from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search
from a2a_grpc.registry.memory import error_of
from a2a_grpc.registry.protocol import GATHER_S, SWEEP_S, Owned
from a2a_grpc.registry.rivals import Added

T = TypeVar("T")

logger = logging.getLogger("a2a_grpc.sentinel")

MAX_ADDS = 100
"""Entries that are added in one transaction: 500 took a busy PostgreSQL more than the time that a caller waits."""
MAX_RENEWALS = 1000
"""Leases that are renewed in one transaction."""


class SqlEntries(Access):
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
        super().__init__(url, budget_s)
        self.lease_s = lease_s
        self._max_entries = max_entries
        if self._url.dialect not in ("sqlite", "postgresql"):
            raise ConfigurationError(
                f"store is '{self._url.shown}'; the store of a sentinel must be memory:, sqlite:///sentinel.db or "
                "postgresql://…"
            )
        self._renewals: Together[bytes, bool] = Together(self._renew, gather_s=GATHER_S)
        self._adds: Together[Entry, Added] = Together(self._add_all, max_questions=MAX_ADDS)
        self._sweeping: asyncio.Task[None] | None = None
        self._count = 0

    async def open(self) -> None:
        await self._connect(self._prepare)
        await self._sweep()
        self._sweeping = asyncio.create_task(self._keep_sweeping(), name="a2a-grpc:registry")

    async def _prepare(self, database: Database) -> None:
        def prepare(connection: Connection) -> None:
            schema.make_tables(connection, self._url.shown, self._url.schema)
            if database.clock is not None:
                database.clock.anchor(connection, schema.clock, schema.agent)

        with usable(self._url):
            await database.write(prepare)

    async def close(self) -> None:
        await self._disconnect(self._end)

    async def _end(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self._renewals.stop()
        await self._adds.stop()

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

    async def _retry(self, attempt: Callable[[bool], Awaitable[T]]) -> T:
        try:
            return await super()._retry(attempt)
        except Exception as error:
            if not is_database_error(error):
                raise
            logger.error("the registry's database failed store=%s error=%s", self._url.shown, reason(error))
            raise StoreUnavailable(f"'{self._url.shown}' failed: {reason(error)}") from error
