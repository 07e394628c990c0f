"""The background work of an engine that goes on until the engine stops, with names and failures in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from a2a_grpc.bus import Topic
from a2a_grpc.store import StoreUnavailable
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.engine")

AFTER_FAILURE_S = 0.2
"""The least time between a round that failed and the next one."""
LINES_EVERY_S = 10.0
"""Time between two log lines about rounds that fail in the same way."""


class PeriodicTasks:
    """Loops that go on if one of their rounds fails.

    Guarantees:

    - After a round that fails, the next one comes.
    - Failures are logged, those of one kind once in ten seconds.
    - A loop that ends before `stop` makes `is_healthy` False, and is logged as an error.
    """

    def __init__(self) -> None:
        self._lines = Throttle(logger, LINES_EVERY_S)
        self._loops: list[asyncio.Task[None]] = []

    @property
    def is_healthy(self) -> bool:
        """True while every loop runs."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    def every(
        self,
        interval_s: float,
        name: str,
        round_: Callable[[], Awaitable[None]],
        topic: Topic | None = None,
        *,
        first_after_s: float = 0.0,
    ) -> None:
        """Begin a loop with a round at every interval, and each time that `topic` is woken."""
        loop = asyncio.create_task(
            self._repeat(interval_s, name, round_, topic, first_after_s), name=f"a2a-grpc:{name}"
        )
        loop.add_done_callback(self._ended)
        self._loops.append(loop)

    async def stop(self, within_s: float = 1.0) -> None:
        """End all loops. One that waits for a store that does not answer may end later than within that time."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        if loops:
            await asyncio.wait(loops, timeout=within_s)
        self._lines.close()

    def _ended(self, loop: "asyncio.Task[None]") -> None:
        if loop in self._loops:
            error = None if loop.cancelled() else loop.exception()
            logger.error("background loop ended name=%s", loop.get_name(), exc_info=error)

    async def _repeat(
        self,
        interval_s: float,
        name: str,
        round_: Callable[[], Awaitable[None]],
        topic: Topic | None,
        first_after_s: float,
    ) -> None:
        await asyncio.sleep(first_after_s)
        while True:
            seen = topic.wakes if topic else 0
            try:
                await round_()
            except StoreUnavailable as error:
                self._lines.warning("store", "the store does not answer loop=%s error=%s", name, error)
                await asyncio.sleep(AFTER_FAILURE_S)
            except Exception as error:
                kind = f"{name} {type(error).__name__}"
                self._lines.error(kind, "a background loop failed once and continues loop=%s", name, exc_info=error)
                await asyncio.sleep(AFTER_FAILURE_S)
            if topic is None:
                await asyncio.sleep(interval_s)
                continue
            try:
                async with asyncio.timeout(interval_s):
                    await topic.wait(seen)
            except TimeoutError:
                pass
