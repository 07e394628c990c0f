"""A lock per key, for as long as somebody wants it."""

from collections.abc import Callable, Hashable
from types import TracebackType

from a2a_grpc.engine.line import Line


class KeyLocks:
    """One holder per key at a time; the others wait in order. A key that nobody holds or waits for costs nothing."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Line | None] = {}
        """Of each key that is held: who comes next, where somebody has come."""

    def take(self, key: Hashable) -> Callable[[], None]:
        """Take the lock of a key that no caller holds, without waiting. Return the function that gives it back."""
        if key in self._waiting:
            raise RuntimeError("the lock is held")
        self._waiting[key] = None
        return Holding(self._waiting, key).release

    def holding(self, key: Hashable) -> "Holding":
        """Holds the key's lock while an `async with` block runs."""
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
        """Gives the lock to the next who still waits for it."""
        line = self._waiting[self._key]
        if line is None or not line.serve():
            del self._waiting[self._key]
