"""A lock per key, for as long as somebody wants it."""

import asyncio
from collections import deque
from collections.abc import Hashable
from types import TracebackType


class KeyLocks:
    """One holder per key at a time; the others wait in order. A key that nobody holds or waits for costs nothing."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """Of each key that is held: who comes next, in order."""

    def holding(self, key: Hashable) -> "Holding":
        """Holds the key's lock while an `async with` block runs."""
        return Holding(self._waiting, key)


class Holding:
    """A block that holds a lock."""

    __slots__ = ("_key", "_waiting")

    def __init__(self, waiting: dict[Hashable, deque[asyncio.Future[None]]], key: Hashable) -> None:
        self._waiting = waiting
        self._key = key

    async def __aenter__(self) -> None:
        queue = self._waiting.get(self._key)
        if queue is None:
            self._waiting[self._key] = deque()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it was handed over at that very moment
            elif turn in queue:  # and not passed over already
                queue.remove(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        """Gives the lock to the next who still waits for it."""
        queue = self._waiting[self._key]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[self._key]
