"""Find the sentinels that an agent is attached to, in the store that the sentinels share."""

import asyncio
import logging
import time
from collections import OrderedDict

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.registry import Entry, EntryStore
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.sentinel")

KNOWN_S = 1.0
"""Seconds for which the sentinels of an address are remembered."""
STORE_WAIT_S = 0.5
"""Seconds that the store has to answer, if there is an answer that is not older than a lease."""
MAX_KNOWN = 10_000
"""Addresses whose sentinels are remembered."""


class Locations:
    """Finds the other sentinels of an address.

    Guarantees:

    - The entries of a sentinel that is lost are not found after their lease has ended.
    - While the store does not answer, the last answer counts, for the time of a lease.
    - Calls that come at the same time ask the store once.

    Args:
        entries: The store.
        sentinel: HOST:PORT of this sentinel.
    """

    def __init__(self, entries: EntryStore, sentinel: str) -> None:
        self._entries = entries
        self._sentinel = sentinel
        self._known: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._asking: dict[str, tuple[asyncio.Task[list[str]], float]] = {}
        self._lines = Throttle(logger)

    async def entries_of(self, address: str) -> list[Entry]:
        """Return the entries of the agents at an address that are attached to other sentinels, as the store has them.

        Args:
            address: The logical address.
        """
        return [one for one in await self._entries.at(address) if self._is_of_another(one)]

    async def sentinels_of(self, address: str) -> list[str]:
        """Return HOST:PORT of the other sentinels of an address. If the store is slow, the last answer counts.

        Args:
            address: The logical address.
        """
        known, now = self._known.get(address), time.monotonic()
        if known is not None and now < known[0] + KNOWN_S:
            return known[1]
        if address not in self._asking:
            asking = asyncio.create_task(self._ask(address), name="a2a-grpc:peers")
            self._asking[address] = (asking, now)
            asking.add_done_callback(lambda done: self._asking.pop(address, None))
        asking, began = self._asking[address]
        is_usable = known is not None and now < known[0] + self._entries.lease_s
        await asyncio.wait([asking], timeout=max(0.0, began + STORE_WAIT_S - now) if is_usable else None)
        if known is not None and is_usable and not asking.done():
            return known[1]
        return await asyncio.shield(asking)

    def forget(self, address: str) -> None:
        """Ask the store again for the sentinels of an address, for its next call.

        Args:
            address: The logical address.
        """
        self._known.pop(address, None)

    async def close(self) -> None:
        """End the queries to the store."""
        self._lines.close()
        askings = [asking for asking, _ in self._asking.values()]
        for asking in askings:
            asking.cancel()
        await asyncio.gather(*askings, return_exceptions=True)

    async def _ask(self, address: str) -> list[str]:
        try:
            found = await self.entries_of(address)
        except StoreUnavailable as error:
            self._lines.warning("store", "the routes to other sentinels cannot be read error=%s", error)
            known = self._known.get(address)
            is_old = known is None or time.monotonic() > known[0] + self._entries.lease_s
            return [] if known is None or is_old else known[1]
        sentinels = sorted({one.key.sentinel for one in found})
        self._known[address] = (time.monotonic(), sentinels)
        self._known.move_to_end(address)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return sentinels

    def _is_of_another(self, entry: Entry) -> bool:
        return entry.is_attached and entry.key.sentinel != self._sentinel
