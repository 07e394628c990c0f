"""Time limits for peers, which count only the time in which the event loop of this process runs.

A process that is stopped, or gets no processor, reads nothing meanwhile. When the process goes on, every limit by the
clock is over, although the peers may have sent everything in time.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

LOOK_S = 0.1
"""Between two looks at what may be late."""
LATE_S = 0.1
"""An event loop that comes to a look so much later than planned was held up."""
ROUNDS = 4
"""Rounds of the event loop in which what has arrived is seen, before it counts as late."""
LOOKS = 8
"""Looks in which the time of a `time_limit` passes, at least."""
MAX_LOOK_S = 1.0
"""Between two looks of a `time_limit`, at most."""


class RunningClock:
    """Measures the seconds in which the event loop runs, from one look to the next.

    Guarantees:

    - Of the time between two looks, no more counts than was planned. If the event loop was held up, nothing counts, so
      that what waits can be read before the next look judges.
    - An event loop that is held up again and again does not stop the clock: of such looks in a row, only the first
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
        """Return the seconds that count, since an unknown moment."""
        return min(self._loop.time(), self._due) - self._lost_s

    def look(self, next_s: float) -> None:
        """Note that the event loop runs. The next look is planned in `next_s` seconds; never, if that is infinite."""
        now = self._loop.time()
        late_s = max(0.0, now - self._due)
        is_late = late_s > LATE_S
        self._lost_s += now - self._looked_at if is_late and not self._was_late else late_s
        self._was_late = is_late
        self._looked_at, self._due = now, now + next_s


class Deadlines(Generic[T]):
    """Ends what takes too long. One timer looks after everything: a timer for each call would cost more than the rest.

    Guarantees:

    - Nothing is ended before its time, measured by a `RunningClock`. While the event loop runs, everything is ended at
      the second look after its time at the latest.
    - There is no timer while there is nothing to look after.

    Args:
        end: Called with what is late. By then it is looked after no longer.
        look_s: The time between two looks.
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
        """Look after something that may take so many seconds from now on."""
        if self._timer is None:
            self._look_later()
        self._until[item] = self._clock.time() + limit_s

    def remove(self, item: T) -> None:
        """Look after something no longer. Does nothing if it is not known."""
        self._until.pop(item, None)

    def close(self) -> None:
        """Look after nothing any more."""
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
        """End what is late once the event loop has gone round so often, except what is over by then."""
        if rounds:
            self._loop.call_soon(self._end_late, late, rounds - 1)
            return
        now = self._clock.time()
        for item in late:
            if self._until.get(item, math.inf) <= now:  # it may be looked after again, with more time
                del self._until[item]
                self._end(item)


@asynccontextmanager
async def time_limit(limit_s: float) -> AsyncIterator[None]:
    """Limit the time of a block as `asyncio.timeout` does, by a `RunningClock`. Raise TimeoutError if it is over."""
    async with asyncio.timeout(None) as timeout:
        deadlines: Deadlines[asyncio.Timeout] = Deadlines(
            lambda late: late.reschedule(0.0), look_s=min(limit_s / LOOKS, MAX_LOOK_S)
        )
        deadlines.add(timeout, limit_s)
        try:
            yield
        finally:
            deadlines.close()
