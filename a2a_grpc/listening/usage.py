"""Measure how busy this process is."""

import time
from collections.abc import Callable


class Usage:
    """Measures how much of a processor the process uses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._used = time.process_time()
        self.process = 0.0
        """The processors that the process used between the last two looks. 1.0 is one processor."""

    def look(self) -> None:
        at, used = self._clock(), time.process_time()
        self.process = (used - self._used) / max(at - self._at, 1e-6)
        self._at, self._used = at, used
