"""Call functions at times of the wall clock, which may be set while they wait."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeAlias

Task: TypeAlias = "asyncio.Task[Any]"

LOOK_S = 1.0
"""The largest number of seconds between two looks at the wall clock."""


class Expiry:
    """The streams whose credentials end at a known time.

    Guarantees:

    - The function of a stream is called when the wall clock has its time. If the clock is set forward, this takes a
      second at most. A timer of the event loop alone would not notice that the clock was set.
    - All streams share one timer. There is none without streams.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends: dict[Task, tuple[float, Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, task: Task, expires_at: float, end: Callable[[], None]) -> None:
        """Add the stream that a task serves.

        Args:
            task: The task.
            expires_at: The Unix time in seconds at which the stream ends.
            end: A function that ends it. The stream is forgotten before.
        """
        self._ends[task] = expires_at, end
        self._look_within(expires_at - time.time())

    def remove(self, task: Task) -> None:
        """Forget the stream of a task. Do nothing if it is not known."""
        self._ends.pop(task, None)
        if not self._ends and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_within(self, wait_s: float) -> None:
        due = self._loop.time() + min(max(wait_s, 0.0), LOOK_S)
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.time()
        for task in [task for task, (expires_at, _) in self._ends.items() if expires_at <= now]:
            _, end = self._ends.pop(task)
            end()
        if self._ends:
            self._look_within(min(expires_at for expires_at, _ in self._ends.values()) - now)
