"""What the listeners of one key wait on."""

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


class Topic:
    """What the listeners of one key share: a count of wakes, with whoever waits for the next one."""

    __slots__ = ("_trusting", "_waiters", "doubts", "listeners", "wakes")

    def __init__(self) -> None:
        self.listeners = 0
        self.wakes = 0
        self.doubts = 0
        """How often there may be something new that is not of this process: whoever listens looks for itself."""
        self._waiters: set[asyncio.Future[Any]] = set()
        self._trusting: set[asyncio.Future[Any]] = set()

    def wake(self) -> None:
        self.wakes += 1
        if self._waiters:
            _release(self._waiters)

    def doubt(self) -> None:
        """Wakes those who listen, for what another process has done, or may have."""
        self.doubts += 1
        _release(self._trusting)
        self.wake()

    async def wait(self, seen: int) -> None:
        """Returns once `wakes` is not `seen` any more: a wake between a look and this wait is not missed."""
        while self.wakes == seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    async def trusted(self, told: "asyncio.Future[T | None]") -> T | None:
        """What this process comes to by itself; None as soon as there is a doubt. A caller that is canceled cancels
        it."""
        self._trusting.add(told)
        try:
            return await told
        finally:
            self._trusting.discard(told)


def _release(waiting: set[asyncio.Future[Any]]) -> None:
    for one in waiting:
        if not one.done():
            one.set_result(None)
    waiting.clear()
