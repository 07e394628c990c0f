"""How tasks are named in the database, and what is remembered of them by their names."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from a2a_grpc.store.values import Scope, TaskKey

K = TypeVar("K")
V = TypeVar("V")

_EPOCH_MS = 1_735_689_600_000  # 2025: 41 bits of milliseconds last until 2094
_COUNT_BITS = 22


@lru_cache(maxsize=4096)
def digest_of(scope: Scope) -> bytes:
    """Return 32 bytes that stand for a tenant and an owner. Each is hashed after its length, so that no pairs meet."""
    digest = hashlib.sha256()
    for part in scope:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()


def name_of(key: TaskKey) -> dict[str, Any]:
    """Return the parameters of a statement about one task."""
    return {"of_scope": digest_of(key.scope), "of_id": key.id}


def names_of(keys: Iterable[TaskKey]) -> dict[str, list[tuple[bytes, str]]]:
    """Return the parameters of a statement about several tasks."""
    return {"names": padded([(digest_of(key.scope), key.id) for key in keys])}


def padded(items: Sequence[V]) -> list[V]:
    """Return the items, with the last one repeated up to a power of two, so that few texts of a statement are made."""
    size = 1 << (len(items) - 1).bit_length()
    return [*items, *[items[-1]] * (size - len(items))]


class Numbers:
    """Numbers for new tasks: a moment, then a count that begins anywhere.

    They are made here and not by the database. So tasks and their records are written by two statements on every
    database. If two processes number tasks in the same millisecond, they choose the same number once in four million
    times. The database refuses the second task, which then gets another number.
    """

    def __init__(self) -> None:
        self._count = secrets.randbits(_COUNT_BITS)

    def next(self) -> int:
        """Return a number for a task."""
        self._count = (self._count + 1) % (1 << _COUNT_BITS)
        return (time.time_ns() // 1_000_000 - _EPOCH_MS) << _COUNT_BITS | self._count


class Recent(Generic[K, V]):
    """A bounded mapping that deletes the items that were not used for the longest time.

    Args:
        limit: The largest size of all items. An item that takes more than a quarter of it is not kept.
        size_of: A function that returns the size of an item. If it is not given, items are counted.
    """

    def __init__(self, limit: int, size_of: Callable[[V], int] = lambda item: 1) -> None:
        self._limit = limit
        self._size_of = size_of
        self._size = 0
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if (found := self._items.get(key)) is not None:
            self._items.move_to_end(key)
        return found

    def peek(self, key: K) -> V | None:
        """Return an item without counting this as a use. Any thread may call it."""
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        self.drop(key)
        size = self._size_of(value)
        if size > self._limit // 4:
            return
        self._items[key] = value
        self._size += size
        while self._size > self._limit:
            _, oldest = self._items.popitem(last=False)
            self._size -= self._size_of(oldest)

    def drop(self, key: K) -> None:
        if (known := self._items.pop(key, None)) is not None:
            self._size -= self._size_of(known)

    def clear(self) -> None:
        self._items.clear()
        self._size = 0
