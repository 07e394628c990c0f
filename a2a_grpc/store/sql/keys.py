"""How tasks are named in the database."""

import hashlib
import secrets
import time
from collections import OrderedDict
from functools import lru_cache
from typing import Generic, TypeVar

from a2a_grpc.store.values import Scope

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
    """A bounded mapping that deletes the item that was not used for the longest time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if (found := self._items.get(key)) is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._limit:
            self._items.popitem(last=False)

    def drop(self, key: K) -> None:
        self._items.pop(key, None)
