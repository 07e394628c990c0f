"""Rounds of the event loop's clock: one timer for many coroutines that wait for about the same time."""

import asyncio


class Rounds:
    """Wakes coroutines that wait for about the same time at once.

    A timer for each of thousands of short waits would take longer than the rest of their work.

    Args:
        round_s: Seconds between two rounds.
    """

    def __init__(self, round_s: float) -> None:
        self._round_s = round_s
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._loop = asyncio.get_running_loop()

    def at(self, time_s: float) -> "asyncio.Future[None]":
        """Return a future that is done at the first round that is not before a time.

        Args:
            time_s: The time, by the clock of the event loop.
        """
        number = max(int(time_s / self._round_s), int(self._loop.time() / self._round_s)) + 1
        future: asyncio.Future[None] = self._loop.create_future()
        if number in self._waiting:
            self._waiting[number].append(future)
        else:
            self._waiting[number] = [future]
            self._loop.call_at(number * self._round_s, self._wake, number)
        return future

    def _wake(self, number: int) -> None:
        for future in self._waiting.pop(number):
            if not future.done():
                future.set_result(None)
