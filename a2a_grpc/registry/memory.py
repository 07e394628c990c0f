"""Entries in the memory of one sentinel."""

import bisect
import heapq
import itertools
import secrets
import time
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from a2a_grpc.database.together import Together
from a2a_grpc.errors import PermissionDeniedError, ResourceExhaustedError
from a2a_grpc.registry.entry import Entry, Found, Key, Place, Search
from a2a_grpc.registry.protocol import GATHER_S, SWEEP_S, OccupiedError, Owned, ReplacedError, sees
from a2a_grpc.registry.rivals import Added, refusal, rivals
from a2a_grpc.registry.wordlist import Wordlist


@dataclass(slots=True)
class _Kept:
    entry: Entry
    until: float


class MemoryEntries:
    """An `EntryStore` in memory. The entries end with the process.

    Args:
        lease_s: Seconds for which an entry is there without a renewal.
        max_entries: The largest number of entries.
    """

    def __init__(self, *, lease_s: float, max_entries: int) -> None:
        self.lease_s = lease_s
        self._max_entries = max_entries
        self._kept: dict[Key, _Kept] = {}
        self._keys: list[Key] = []
        """The keys in order, so that a page is found without a look at all entries."""
        self._swept = time.monotonic()
        self._words = Wordlist()
        self._renewals: Together[Owned, bool] = Together(self._renewed, gather_s=GATHER_S)
        self._secret = secrets.token_bytes(32)

    async def open(self) -> None:
        """Do nothing, because the store is ready."""

    async def close(self) -> None:
        """Forget all entries."""
        await self._renewals.stop()
        self._kept.clear()
        self._keys.clear()
        self._words = Wordlist()

    async def secret(self) -> bytes:
        return self._secret

    async def add(self, entry: Entry) -> None:
        self._sweep()
        others = list(self._named(entry.name))
        if (refused := refusal(entry, others)) is not None:
            raise error_of(refused, entry.name, self._max_entries)
        for rival in rivals(entry, others):
            self._drop(rival.key)
        if entry.key not in self._kept:
            if len(self._keys) >= self._max_entries:
                raise error_of(Added.FULL, entry.name, self._max_entries)
            bisect.insort(self._keys, entry.key)
        else:
            self._words.remove(entry.key, self._kept[entry.key].entry.indexed.words.split())
        self._words.add(entry.key, entry.indexed.words.split())
        now = time.monotonic()
        self._kept[entry.key] = _Kept(entry, now + self.lease_s)

    async def replace(self, entry: Entry) -> list[Key]:
        others = list(self._named(entry.name))
        if refusal(entry, others) is Added.TAKEN:
            raise error_of(Added.TAKEN, entry.name, self._max_entries)
        replaced = [rival.key for rival in rivals(entry, others)]
        for key in replaced:
            self._drop(key)
        await self.add(entry)
        return replaced

    async def renew(self, key: Key, owner: str) -> bool:
        return await self._renewals.answer((key, owner))

    async def renew_all(self, asked: Collection[Owned]) -> Set[Owned]:
        return {one for one in asked if self._renew(*one)}

    async def _renewed(self, asked: Sequence[Owned]) -> Mapping[Owned, bool]:
        return {one: self._renew(*one) for one in asked}

    def _renew(self, key: Key, owner: str) -> bool:
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is None or kept.entry.owner != owner or kept.until <= now:
            return False
        kept.until = now + self.lease_s
        return True

    async def remove(self, key: Key, owner: str) -> bool:
        kept = self._kept.get(key)
        if kept is None or kept.entry.owner != owner:
            return False
        self._drop(key)
        return kept.until > time.monotonic()

    async def at(self, name: str) -> list[Entry]:
        return list(self._named(name))

    async def find(self, search: Search, *, after: Place | None = None, limit: int) -> list[Found]:
        self._sweep()
        now = time.monotonic()
        if search.words:
            last = after.order if after else None
            matches = ((-matched, key) for key, matched in self._words.find(search.words).items())
            chosen = heapq.nsmallest(
                limit,
                (
                    order
                    for order in matches
                    if (last is None or order > last)
                    and self._kept[order[1]].until > now
                    and _meets(self._kept[order[1]].entry, search)
                ),
            )
            return [Found(Place(-less, key), self._kept[key].entry) for less, key in chosen]
        first = bisect.bisect_right(self._keys, after.key) if after else 0
        kept_ones = ((key, self._kept[key]) for key in itertools.islice(self._keys, first, None))
        found = (
            Found(Place(0, key), kept.entry)
            for key, kept in kept_ones
            if kept.until > now and _meets(kept.entry, search)
        )
        return list(itertools.islice(found, limit))

    def _named(self, name: str) -> Iterator[Entry]:
        """Yield the entries with a name, in the order of their keys."""
        now = time.monotonic()
        for key in itertools.islice(self._keys, bisect.bisect_left(self._keys, Key(name, "")), None):
            if key.name != name:
                return
            if (kept := self._kept[key]).until > now:
                yield kept.entry

    def _sweep(self) -> None:
        """Remove entries whose leases have ended, from time to time."""
        now = time.monotonic()
        if now < self._swept + SWEEP_S:
            return
        self._swept = now
        for key in [key for key, kept in self._kept.items() if kept.until <= now]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        kept = self._kept.pop(key)
        del self._keys[bisect.bisect_left(self._keys, key)]
        self._words.remove(key, kept.entry.indexed.words.split())


def error_of(refused: Added, name: str, limit: int) -> Exception:
    """Return the error of an entry that was not added.

    Args:
        refused: Why it was not added.
        name: The name of the entry.
        limit: The number of entries that the store may have.
    """
    match refused:
        case Added.TAKEN:
            return PermissionDeniedError("the name belongs to another principal", metadata={"name": name})
        case Added.FULL:
            return ResourceExhaustedError(f"the registry has {limit} entries, the limit", retry_after_s=SWEEP_S)
        case Added.REPLACED:
            return ReplacedError()
    return OccupiedError()


def _meets(entry: Entry, search: Search) -> bool:
    """Return True if an entry meets the conditions of a search, except for the words."""
    skills, tags, _ = entry.indexed
    if search.skill and search.skill not in skills:
        return False
    return sees(search.tenants, entry.tenant) and tags.issuperset(search.tags)
