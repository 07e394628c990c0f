"""Places for runs: so many at a time, so many waiting, first come first served."""

import asyncio

from a2a_grpc.engine.line import Line


class Slots:
    """At most `limit` hold a place; a bounded number waits, in order.

    Whoever waits holds nothing: not a place, not a lock that a finisher would need.
    """

    def __init__(self, limit: int, queue: int) -> None:
        self._free = limit
        self._room = limit + queue
        self._line = Line()
        self._idle = asyncio.Event()
        self.taken = 0
        """Holders and waiters."""

    @property
    def room(self) -> int:
        """How many more may hold a place or wait for one."""
        return self._room - self.taken

    def enter(self) -> None:
        """Joins the queue, at once. Must be followed by a `take` that gives a place, by `acquire` or by `leave`."""
        self.taken += 1

    def leave(self) -> None:
        """Leaves the queue without having acquired a place."""
        self.taken -= 1
        if not self.taken:
            self._idle.set()

    def take(self) -> bool:
        """Takes the place, if one is free: then nobody waits."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Waits for the place; if that is canceled, the queue is left."""
        if self.take():
            return
        try:
            await self._line.wait(self._pass_on)
        except BaseException:
            self.leave()
            raise

    def release(self) -> None:
        """Gives the place to the next in the queue."""
        self.leave()
        self._pass_on()

    def _pass_on(self) -> None:
        if not self._line.serve():
            self._free += 1

    async def idle(self) -> None:
        """Returns once nobody holds a place or waits for one."""
        while self.taken:
            self._idle.clear()
            await self._idle.wait()
