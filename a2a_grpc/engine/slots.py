"""Places for runs: so many at a time, so many waiting, first come first served."""

import asyncio


class Slots:
    """At most `limit` hold a place; a bounded number waits, in order.

    Whoever waits holds nothing: not a place, not a lock that a finisher would need.
    """

    def __init__(self, limit: int, queue: int) -> None:
        self._places = asyncio.Semaphore(limit)
        self._room = limit + queue
        self._idle = asyncio.Event()
        self._idle.set()
        self.taken = 0
        """Holders and waiters."""

    @property
    def is_full(self) -> bool:
        return self.room <= 0

    @property
    def room(self) -> int:
        """How many more may hold a place or wait for one."""
        return self._room - self.taken

    def enter(self) -> None:
        """Joins the queue, at once. Must be followed by `acquire` or `leave`."""
        self.taken += 1
        self._idle.clear()

    def leave(self) -> None:
        """Leaves the queue without having acquired a place."""
        self.taken -= 1
        if not self.taken:
            self._idle.set()

    async def acquire(self) -> None:
        """Waits for the place; if that is canceled, the queue is left."""
        try:
            await self._places.acquire()
        except BaseException:
            self.leave()
            raise

    def release(self) -> None:
        """Gives the place to the next in the queue."""
        self.leave()
        self._places.release()

    async def idle(self) -> None:
        """Returns once nobody holds a place or waits for one."""
        while self.taken:
            await self._idle.wait()
