"""Idempotency keys in the memory of one process."""

from collections.abc import Callable
from itertools import islice

from a2a_grpc.store.values import Scope
from a2a_grpc.store.writes import AlreadyBound, Binding


class Bindings:
    """Keeps what idempotency keys stand for, at most `limit` of them. For a new key it deletes the oldest."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._bound: dict[tuple[Scope, str], tuple[float, Binding]] = {}  # in the order in which they were bound

    def get(self, scope: Scope, key: str) -> Binding | None:
        found = self._bound.get((scope, key))
        return found[1] if found else None

    def check(self, scope: Scope, key: str) -> None:
        """Raise AlreadyBound if the key is bound."""
        if found := self._bound.get((scope, key)):
            raise AlreadyBound(found[1])

    def put(self, scope: Scope, key: str, binding: Binding) -> None:
        if len(self._bound) >= self._limit:
            del self._bound[next(iter(self._bound))]
        self._bound[scope, key] = self._clock(), binding

    def drop(self, scope: Scope, key: str) -> None:
        self._bound.pop((scope, key), None)

    def forget(self, age_s: float, limit: int) -> int:
        """Delete keys of that age. Return their number."""
        now = self._clock()
        old = [name for name, (at, _) in islice(self._bound.items(), limit) if at <= now - age_s]
        for name in old:
            del self._bound[name]
        return len(old)

    def clear(self) -> None:
        self._bound.clear()
