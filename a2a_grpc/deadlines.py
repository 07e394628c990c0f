"""Time limits for peers, which count only the time in which the event loop of this process runs.

A process that is stopped, or gets no processor, reads nothing. When it continues, every limit by the clock is over,
although the peers may have sent everything in time.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

LOOK_S = 0.1
"""Seconds between two looks at work that may be late."""
LATE_S = 0.1
"""Seconds. If a look comes so much later than planned, the event loop was held up."""
ROUNDS = 4
"""Rounds of the event loop in which data that have arrived are read, before their work counts as late."""
LOOKS = 8
"""The least number of looks in the time of a `time_limit`."""
MAX_LOOK_S = 1.0
"""The largest number of seconds between two looks of a `time_limit`."""


class RunningClock:
    """Measures the seconds in which the event loop runs, from one look to the next.

    Guarantees:

    - Of the time between two looks, no more counts than was planned. If the event loop was held up, nothing counts, so
      that waiting data can be read before the next look.
    - The clock does not stop if the event loop is held up again and again. Of such looks in a row, only the first
      counts for nothing.
    """

    __slots__ = ("_due", "_looked_at", "_loop", "_lost_s", "_was_late")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._looked_at = 0.0
        self._due = math.inf
        self._lost_s = 0.0
        self._was_late = False

    def time(self) -> float:
        """Return the seconds that count. Only differences have a meaning."""
        return min(self._loop.time(), self._due) - self._lost_s

    def look(self, next_s: float) -> None:
        """Note that the event loop runs. The next look is planned in `next_s` seconds, which may be infinite."""
        now = self._loop.time()
        late_s = max(0.0, now - self._due)
        is_late = late_s > LATE_S
        self._lost_s += now - self._looked_at if is_late and not self._was_late else late_s
        self._was_late = is_late
        self._looked_at, self._due = now, now + next_s


class Deadlines(Generic[T]):
    """Ends work that takes too long, with one timer for all work, because a timer for each call would cost more.

    Guarantees:

    - No work is ended before its time, measured by a `RunningClock`. While the event loop runs, work is ended at the
      second look after its time at the latest.
    - There is no timer while there is no work.

    Args:
        end: A function that is called with work that is late. The work is forgotten before.
        look_s: Seconds between two looks.
    """

    def __init__(self, end: Callable[[T], None], *, look_s: float = LOOK_S) -> None:
        self._end = end
        self._look_s = look_s
        self._loop = asyncio.get_running_loop()
        self._clock = RunningClock()
        self._until: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, item: object) -> bool:
        return item in self._until

    def add(self, item: T, limit_s: float) -> None:
        """Add work that may take this many seconds from now on."""
        if self._timer is None:
            self._look_later()
        self._until[item] = self._clock.time() + limit_s

    def remove(self, item: T) -> None:
        """Forget work. Do nothing if it is not known."""
        self._until.pop(item, None)

    def close(self) -> None:
        """Forget all work."""
        self._until.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._clock.look(self._look_s)
        self._timer = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        if not self._until:
            self._timer = None
            self._clock.look(math.inf)
            return
        self._look_later()
        now = self._clock.time()
        if late := [item for item, until in self._until.items() if until <= now]:
            self._end_late(late, ROUNDS)

    def _end_late(self, late: list[T], rounds: int) -> None:
        """End the work that is late, after some rounds of the event loop in which it may still end by itself."""
        if rounds:
            self._loop.call_soon(self._end_late, late, rounds - 1)
            return
        now = self._clock.time()
        for item in late:
            if self._until.get(item, math.inf) <= now:  # it may have been added again, with more time
                del self._until[item]
                self._end(item)


@asynccontextmanager
async def time_limit(limit_s: float) -> AsyncIterator[None]:
    """Limit the time of a block as `asyncio.timeout` does, but by a `RunningClock`. Raise TimeoutError when it is
    over."""
    async with asyncio.timeout(None) as timeout:
        deadlines: Deadlines[asyncio.Timeout] = Deadlines(
            lambda late: late.reschedule(0.0), look_s=min(limit_s / LOOKS, MAX_LOOK_S)
        )
        deadlines.add(timeout, limit_s)
        try:
            yield
        finally:
            deadlines.close()
