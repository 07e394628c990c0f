"""A lock for each key, which exists as long as a caller holds it or waits for it."""

from collections.abc import Callable, Hashable
from types import TracebackType

from a2a_grpc.engine.line import Line


class KeyLocks:
    """One holder per key at a time; the others wait in order. A key without holder and waiters costs nothing."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Line | None] = {}
        """For each key that is held, the line of its waiters; None if there was none yet."""

    def take(self, key: Hashable) -> Callable[[], None]:
        """Take the lock of a key that no caller holds, without waiting. Return the function that gives it back."""
        if key in self._waiting:
            raise RuntimeError("the lock is held")
        self._waiting[key] = None
        return Holding(self._waiting, key).release

    def holding(self, key: Hashable) -> "Holding":
        """Return a block that holds the lock of a key."""
        return Holding(self._waiting, key)


class Holding:
    """A block that holds a lock."""

    __slots__ = ("_key", "_waiting")

    def __init__(self, waiting: dict[Hashable, Line | None], key: Hashable) -> None:
        self._waiting = waiting
        self._key = key

    async def __aenter__(self) -> None:
        if self._key not in self._waiting:
            self._waiting[self._key] = None
            return
        line = self._waiting[self._key]
        if line is None:
            line = self._waiting[self._key] = Line()
        await line.wait(self.release)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the lock to the next waiter."""
        line = self._waiting[self._key]
        if line is None or not line.serve():
            del self._waiting[self._key]
