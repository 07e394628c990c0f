"""Wakes within one process."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType

from a2a_grpc.bus.protocol import Key
from a2a_grpc.bus.topic import Topic


class Listening(AbstractContextManager[Topic]):
    """A block that listens to a key."""

    __slots__ = ("_key", "_topic", "_topics")

    def __init__(self, topics: dict[Key, Topic], key: Key) -> None:
        self._topics = topics
        self._key = key

    def __enter__(self) -> Topic:
        topic = self._topics.get(self._key)
        if topic is None:
            topic = self._topics[self._key] = Topic()
        topic.listeners += 1
        self._topic = topic
        return topic

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._topic.listeners -= 1
        if not self._topic.listeners:
            del self._topics[self._key]


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
        """Wakes the listeners of every key, to look for themselves."""
        for topic in list(self._topics.values()):
            topic.invalidate()

    def listen(self, key: Key) -> AbstractContextManager[Topic]:
        """The topic of a key, for as long as the block runs."""
        return Listening(self._topics, key)

    def keys(self) -> Iterable[Key]:
        """The keys that somebody listens to, as they are now."""
        return list(self._topics)

    def __len__(self) -> int:
        """Keys somebody listens to."""
        return len(self._topics)
