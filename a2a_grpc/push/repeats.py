"""Doing the work of a notification once, although it may be sent several times."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable


class Repeats:
    """Remembers what was done.

    Guarantees:

    - Work for a key that was done is not done again, as long as the key is remembered.
    - Work for a key that is being done is waited for. If it fails, the next one that waits does it.
    - At most `limit` keys are remembered: those that were done or seen last.

    Args:
        limit: The number of keys.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._done: OrderedDict[Hashable, None] = OrderedDict()
        self._running: dict[Hashable, asyncio.Future[None]] = {}

    async def once(self, key: Hashable, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work for a key, unless it was done.

        Args:
            key: The key.
            work: Does the work. If it raises an exception, the work is not done.
        """
        while (running := self._running.get(key)) is not None:
            await asyncio.wait([running])
        if key in self._done:
            self._done.move_to_end(key)
            return
        running = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            await work()
            self._done[key] = None
            if len(self._done) > self._limit:
                self._done.popitem(last=False)
        finally:
            del self._running[key]
            running.set_result(None)
