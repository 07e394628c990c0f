"""The handlers that wait in `ask`, and how long each may stay in memory."""

import asyncio
from contextlib import suppress
from itertools import islice
from typing import Protocol

from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import TaskKey

PAGE = 32
"""Runs that are let go at a time."""


class Holder(Protocol):
    """A run that waits in `ask`."""

    @property
    def key(self) -> TaskKey:
        """The name of its task."""


class Held:
    """Waiting runs, in the order in which they began to wait.

    Guarantees: `due` gives each run that has waited for `ask_hold_s`, and at once the longest waiting ones beyond
    `max_held_asks`.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._hold_s = settings.ask_hold_s
        self._limit = settings.max_held_asks
        self._since: dict[Holder, float] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._since)

    def enter(self, run: Holder) -> None:
        """Note that the run begins to wait now."""
        self._since.pop(run, None)
        self._since[run] = asyncio.get_running_loop().time()
        if len(self._since) == 1 or len(self._since) > self._limit:
            self._changed.set()

    def leave(self, run: Holder) -> None:
        """Note that the run does not wait any more."""
        self._since.pop(run, None)

    async def due(self) -> list[Holder]:
        """Wait until runs are to be let go. Return up to PAGE of them, the longest waiting first."""
        loop = asyncio.get_running_loop()
        while True:
            latest, surplus = loop.time() - self._hold_s, len(self._since) - self._limit
            oldest = enumerate(islice(self._since.items(), PAGE))
            if due := [run for place, (run, since) in oldest if place < surplus or since <= latest]:
                return due
            first = next(iter(self._since.values()), None)
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if first is None else first - latest):
                    await self._changed.wait()
