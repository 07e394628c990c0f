"""Who may speak to the user of a turn, if several work for the turn at the same time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Talk:
    """Guarantee: one speaks at a time; the others wait until the first one is through, with its answer."""

    def __init__(self) -> None:
        self._free = asyncio.Condition()
        self.calls: set[str] = set()
        """Ids of the calls to other agents that are at work for the turn."""

    @asynccontextmanager
    async def speaking(self, may_begin: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
        """Speak while the block runs; wait before it until no other speaks and `may_begin` returns True."""
        async with self._free:
            await self._free.wait_for(may_begin)
            try:
                yield
            finally:
                self._free.notify_all()

    async def leave(self, call: str) -> None:
        """Remove a call that is over, and let the others look whether they may begin."""
        self.calls.discard(call)
        async with self._free:
            self._free.notify_all()
