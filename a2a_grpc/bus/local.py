"""Wakes within one process."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from a2a_grpc.bus.protocol import Key
from a2a_grpc.bus.topic import Topic


class LocalBus:
    """Wakes every listener of a key in this process; none of these wakes is lost."""

    def __init__(self) -> None:
        self._topics: dict[Key, Topic] = {}

    @property
    def is_healthy(self) -> bool:
        """True: there is no other process to hear."""
        return True

    async def start(self) -> None:
        """Nothing is needed to wake within a process."""

    async def stop(self) -> None:
        """Nothing is left to do."""

    def wake(self, key: Key) -> None:
        if topic := self._topics.get(key):
            topic.wake()

    def wake_all(self) -> None:
        """Wakes the listeners of every key."""
        for topic in list(self._topics.values()):
            topic.wake()

    @contextmanager
    def listen(self, key: Key) -> Iterator[Topic]:
        """The topic of a key, for as long as the block runs."""
        topic = self._topics.setdefault(key, Topic())
        topic.listeners += 1
        try:
            yield topic
        finally:
            topic.listeners -= 1
            if not topic.listeners:
                del self._topics[key]

    def keys(self) -> Iterable[Key]:
        """The keys that somebody listens to, as they are now."""
        return list(self._topics)

    def __len__(self) -> int:
        """Keys somebody listens to."""
        return len(self._topics)
