"""What the listeners of one key wait on."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Topic:
    """Counts the wakes of one key, and wakes the listeners that wait for the next one.

    Attributes:
        listeners: The number of blocks that listen to the key.
        wakes: The number of wakes so far.
        invalidations: The number of wakes after which another process may have changed what the key stands for.
    """

    __slots__ = ("_patient", "_waiting", "invalidations", "listeners", "wakes")

    def __init__(self) -> None:
        self.listeners = 0
        self.wakes = 0
        self.invalidations = 0
        self._waiting: set[asyncio.Future[Any]] = set()
        self._patient: set[asyncio.Future[Any]] = set()

    def wake(self) -> None:
        """Wake the listeners that wait in `wait`."""
        self.wakes += 1
        if self._waiting:
            _release(self._waiting)

    def wake_patient(self) -> None:
        """Wake the listeners that wait in `wait_patiently`."""
        if self._patient:
            _release(self._patient)

    def invalidate(self) -> None:
        """Wake all listeners, because another process may have changed something."""
        self.invalidations += 1
        self.wake_patient()
        self.wake()

    async def wait(self, seen: int) -> None:
        """Return once `wakes` is not `seen`. A wake between reading `wakes` and this call is not missed."""
        while self.wakes == seen:
            await _wait_in(self._waiting)

    def wait_patiently(self) -> Coroutine[Any, Any, None]:
        """Return at the next call of `wake_patient` or `invalidate`. Other wakes are left out."""
        return _wait_in(self._patient)


async def _wait_in(waiting: set[asyncio.Future[Any]]) -> None:
    waiter = asyncio.get_running_loop().create_future()
    waiting.add(waiter)
    try:
        await waiter
    finally:
        waiting.discard(waiter)


def _release(waiting: set[asyncio.Future[Any]]) -> None:
    for one in waiting:
        if not one.done():
            one.set_result(None)
    waiting.clear()
