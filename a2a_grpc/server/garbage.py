"""Keep the garbage collector of a program from looking at all objects again and again."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

IDLE_LOOK_S = 60.0
"""Seconds between two looks whether the server is idle, so that a full collection delays no call."""
FULL_INTERVAL_S = 600.0
"""Seconds that are at least between two collections of all objects."""
THRESHOLDS = (700, 3, 2)
"""The thresholds of the collector. With them its oldest generation has about 8,000 objects, which take 4 ms."""


class Garbage:
    """Sets up the garbage collector of a program that serves.

    A full collection looks at every object. With 50,000 tasks in memory it took 400 ms, in which no call was served.
    Reference counts free nearly all objects. The collector only frees objects that refer to each other in a circle. It
    finds most of these while they are young.

    Guarantees:

    - An object that survives a collection of the oldest generation is frozen, so automatic collections ignore it.
    - Frozen objects are looked at again while no call is open, at most once in ten minutes.
    - `stop` restores the settings of the collector.
    """

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self._is_idle = is_idle
        self._thresholds = gc.get_threshold()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Set up the collector. Call this when the program has loaded all that it needs."""
        collect_all()
        gc.freeze()
        gc.collect()  # a collection of no objects, since the next one waits for a quarter of those left
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(_freeze_survivors)
        self._looking = asyncio.create_task(self._collect_when_idle(), name="a2a-grpc:garbage")

    def stop(self) -> None:
        """Restore the settings of the collector."""
        if self._looking is None:
            return
        self._looking.cancel()
        self._looking = None
        gc.callbacks.remove(_freeze_survivors)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()

    async def _collect_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(IDLE_LOOK_S)
            if loop.time() - last >= FULL_INTERVAL_S and self._is_idle():
                collect_all()
                last = loop.time()


def collect_all() -> None:
    """Do a full collection of all objects, also of frozen ones."""
    gc.unfreeze()
    gc.collect()


def _freeze_survivors(phase: str, about: dict[str, Any]) -> None:
    """Freeze the objects that survived a full collection."""
    if phase == "stop" and about["generation"] == 2:
        gc.freeze()
