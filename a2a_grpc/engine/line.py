"""A line of waiters for something that one of them has at a time."""

import asyncio
from collections import deque
from collections.abc import Callable


class Line:
    """First come, first served.

    Guarantees: a waiter that is canceled takes nothing; what was given to it at that very moment is passed on.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self, pass_on: Callable[[], None]) -> None:
        """Wait until `serve` has come to this waiter. If it is canceled then, call `pass_on` for the next."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                pass_on()
            elif turn in self._waiting:  # and not passed over already
                self._waiting.remove(turn)
            raise

    def serve(self) -> bool:
        """Let the next waiter go on. Return False if none waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return True
        return False
