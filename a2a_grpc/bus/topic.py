"""What the listeners of one key wait on."""

import asyncio


class Topic:
    """What the listeners of one key share: a count of wakes, with whoever waits for the next one."""

    __slots__ = ("_waiters", "doubts", "listeners", "wakes")

    def __init__(self) -> None:
        self.listeners = 0
        self.wakes = 0
        self.doubts = 0
        """How often a wake may have been lost: whoever listens looks for itself."""
        self._waiters: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        self.wakes += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def doubt(self) -> None:
        """Wakes those who listen, to look for what they may have missed."""
        self.doubts += 1
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
