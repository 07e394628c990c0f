"""What the buses between processes have in common: how keys travel, what waits to be told, tasks that must not die."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from a2a_grpc.bus.local import LocalBus
from a2a_grpc.bus.protocol import Key
from a2a_grpc.bus.topic import Topic

logger = logging.getLogger("a2a_grpc.bus")

DIGEST_BYTES = 12
"""Bytes that stand for a key between processes. Keys that share them would wake each other, and no worse."""
EVERY_KEY = bytes(DIGEST_BYTES)
"""Stands for all keys."""
MAX_WAITING = 16_384
"""Digests that may wait to be told. One for all keys stands for more than that."""


def digest(key: Key) -> bytes:
    """What stands for a key between processes."""
    parts = [b"name"] if isinstance(key, str) else [b"key"]
    for part in (key,) if isinstance(key, str) else key:
        encoded = part.encode("utf-8", "surrogatepass")
        parts += (len(encoded).to_bytes(4, "big"), encoded)
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()


class Outbox:
    """Digests that wait to be told, each once, at most `MAX_WAITING`."""

    __slots__ = ("_digests",)

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def add(self, *digests: bytes) -> None:
        for one in digests:
            if EVERY_KEY in self._digests:
                return
            if len(self._digests) >= MAX_WAITING:
                self._digests.clear()
                one = EVERY_KEY
            self._digests[one] = None

    def take(self) -> list[bytes]:
        """Everything that waits, which then waits no more."""
        taken = list(self._digests)
        self._digests.clear()
        return taken


def joined(digests: list[bytes], limit: int) -> list[bytes]:
    """Digests in as few strings of bytes as hold at most `limit` of them."""
    return [b"".join(digests[start : start + limit]) for start in range(0, len(digests), limit)]


def split(told: bytes) -> Iterable[bytes]:
    """The digests in one of those; what is left over at the end is nothing."""
    return (told[start : start + DIGEST_BYTES] for start in range(0, len(told) - DIGEST_BYTES + 1, DIGEST_BYTES))


class SharedBus(LocalBus, ABC):
    """Wakes in this process as the local bus does, and finds who is meant by what other processes tell."""

    def __init__(self) -> None:
        super().__init__()
        self._meant: dict[bytes, Topic] = {}
        self._outbox = Outbox()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_started = False

    @property
    def is_healthy(self) -> bool:
        """Whether wakes of other processes arrive now."""
        return self._is_started and not any(task.done() for task in self._tasks.values())

    def wake(self, key: Key) -> None:
        super().wake(key)
        if self._is_started:
            self._outbox.add(digest(key))
            self._tell_soon()

    @contextmanager
    def listen(self, key: Key) -> Iterator[Topic]:
        """The topic of a key, for as long as the block runs."""
        meant = digest(key)
        with super().listen(key) as topic:
            self._meant[meant] = topic
            try:
                yield topic
            finally:
                if topic.listeners == 1:
                    self._meant.pop(meant, None)

    def _hear(self, told: bytes) -> None:
        """Wakes those that another process means."""
        for one in split(told):
            if topic := self._meant.get(one):
                topic.invalidate()
            elif one == EVERY_KEY:
                self.wake_all()

    @abstractmethod
    def _tell_soon(self) -> None:
        """Has the outbox emptied, as there is something in it."""

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """A background task that the bus needs to be healthy."""
        task = asyncio.create_task(work, name=f"a2a-grpc:bus:{name}")
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if self._is_started:
            error = None if task.cancelled() else task.exception()
            logger.error("background task failed name=%s", task.get_name(), exc_info=error)

    async def _end_tasks(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
