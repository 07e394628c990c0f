"""Wakes within one process."""

import asyncio
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Topic:
    """What the listeners of one key share: a count of wakes, with whoever waits for the next one."""

    __slots__ = ("_waiters", "listeners", "wakes")

    def __init__(self) -> None:
        self.listeners = 0
        self.wakes = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        self.wakes += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, seen: int) -> None:
        """Returns once `wakes` is not `seen` any more: a wake between a look and this wait is not missed."""
        while self.wakes == seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)


class LocalBus:
    """Wakes every listener of a key in this process. A wake carries nothing; none is lost; a key nobody listens to
    costs nothing."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, Topic] = {}

    def wake(self, key: Hashable) -> None:
        if topic := self._topics.get(key):
            topic.wake()

    def wake_all(self) -> None:
        """Wakes the listeners of every key."""
        for topic in list(self._topics.values()):
            topic.wake()

    @contextmanager
    def listen(self, key: Hashable) -> Iterator[Topic]:
        """The topic of a key, for as long as the block runs."""
        topic = self._topics.setdefault(key, Topic())
        topic.listeners += 1
        try:
            yield topic
        finally:
            topic.listeners -= 1
            if not topic.listeners:
                del self._topics[key]

    def __len__(self) -> int:
        """Keys somebody listens to."""
        return len(self._topics)
