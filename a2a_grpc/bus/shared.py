"""What the buses between processes have in common: how keys travel, the outbox, and background tasks."""

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
"""Bytes that stand for a key between processes. Keys with the same digest wake each other's listeners."""
EVERY_KEY = bytes(DIGEST_BYTES)
"""The digest that stands for all keys."""
MAX_WAITING = 16_384
"""Digests that may wait to be sent. If there are more, the one for all keys takes their place."""


def digest(key: Key) -> bytes:
    """Return the bytes that stand for a key between processes."""
    parts = [b"name"] if isinstance(key, str) else [b"key"]
    for part in (key,) if isinstance(key, str) else key:
        encoded = part.encode("utf-8", "surrogatepass")
        parts += (len(encoded).to_bytes(4, "big"), encoded)
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()


class Outbox:
    """Digests that wait to be sent, each once, at most `MAX_WAITING`."""

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
        """Take all digests out, and return them."""
        taken = list(self._digests)
        self._digests.clear()
        return taken


def joined(digests: list[bytes], limit: int) -> list[bytes]:
    """Join digests to strings of bytes that hold at most `limit` digests each."""
    return [b"".join(digests[start : start + limit]) for start in range(0, len(digests), limit)]


def split(received: bytes) -> Iterable[bytes]:
    """Return the digests in a string of bytes. An incomplete one at the end is left out."""
    return (
        received[start : start + DIGEST_BYTES] for start in range(0, len(received) - DIGEST_BYTES + 1, DIGEST_BYTES)
    )


class SharedBus(LocalBus, ABC):
    """A bus that wakes this process as the local bus does, and finds the listeners that other processes wake."""

    def __init__(self) -> None:
        super().__init__()
        self._meant: dict[bytes, Topic] = {}
        self._outbox = Outbox()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_started = False

    @property
    def is_healthy(self) -> bool:
        """True while wakes of other processes arrive."""
        return self._is_started and not any(task.done() for task in self._tasks.values())

    def wake(self, key: Key) -> None:
        super().wake(key)
        if self._is_started:
            self._outbox.add(digest(key))
            self._send_soon()

    @contextmanager
    def listen(self, key: Key) -> Iterator[Topic]:
        """Listen to a key while the block runs, and give its topic."""
        meant = digest(key)
        with super().listen(key) as topic:
            self._meant[meant] = topic
            try:
                yield topic
            finally:
                if topic.listeners == 1:
                    self._meant.pop(meant, None)

    def _hear(self, received: bytes) -> None:
        """Wake the listeners of the digests that another process has sent."""
        for one in split(received):
            if topic := self._meant.get(one):
                topic.invalidate()
            elif one == EVERY_KEY:
                self.wake_all()

    @abstractmethod
    def _send_soon(self) -> None:
        """Begin to send what is in the outbox."""

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a background task that the bus needs to be healthy."""
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
