"""A lock for each key, which exists as long as a caller holds it or waits for it."""

import asyncio
from collections.abc import Hashable
from weakref import WeakValueDictionary


class KeyLocks:
    """One holder per key at a time; the others wait in order. A key without holder and waiters costs nothing."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def holding(self, key: Hashable) -> asyncio.Lock:
        """Return the lock of a key, for an `async with` block. Keep a reference to the lock while it is held."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
