"""The lock for the user's attention, if several agents work for one turn at the same time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Talk:
    """A lock for the user's attention. One agent at a time has it, from its question to the answer.

    Attributes:
        calls: The ids of the calls to other agents that work for the turn.
    """

    def __init__(self) -> None:
        self._free = asyncio.Condition()
        self.calls: set[str] = set()

    @asynccontextmanager
    async def speaking(self, may_begin: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
        """Hold the lock while the block runs. Wait for it until it is free and `may_begin` returns True."""
        async with self._free:
            await self._free.wait_for(may_begin)
            try:
                yield
            finally:
                self._free.notify_all()

    async def leave(self, call: str) -> None:
        """Remove a call that is over, and wake those that wait for the lock."""
        self.calls.discard(call)
        async with self._free:
            self._free.notify_all()
