"""Wakes within one process."""

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
        """Always True, because no other process has to be heard."""
        return True

    async def start(self) -> None:
        """Do nothing, because wakes within a process need no connection."""

    async def stop(self) -> None:
        """Do nothing, because the bus holds no connection."""

    def wake(self, key: Key) -> None:
        if topic := self._topics.get(key):
            topic.wake()

    def wake_all(self) -> None:
        """Wake the listeners of every key, so that they read the store again."""
        for topic in list(self._topics.values()):
            topic.invalidate()

    def listen(self, key: Key) -> AbstractContextManager[Topic]:
        """Return a block that listens to a key, and gives its topic."""
        return Listening(self._topics, key)

    def __len__(self) -> int:
        """Return the number of keys that have listeners."""
        return len(self._topics)
