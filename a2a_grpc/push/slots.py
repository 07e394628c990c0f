"""A limit for the number of things that are at work for one key at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """Places for work, so many for each key. Further work waits, in the order in which it came.

    Nothing is kept of a key for which nothing is at work.

    Args:
        limit: The number of places for each key.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys: dict[str, _Places] = {}

    def __len__(self) -> int:
        return len(self._keys)

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold a place of a key while the block runs. Wait for it first if there is none."""
        places = self._keys.setdefault(key, _Places(asyncio.Semaphore(self._limit)))
        places.users += 1
        try:
            async with places.free:
                yield
        finally:
            places.users -= 1
            if not places.users:
                del self._keys[key]


class _Places:
    """The places of a key, and the number of those who hold one or wait for one."""

    __slots__ = ("free", "users")

    def __init__(self, free: asyncio.Semaphore) -> None:
        self.free = free
        self.users = 0
