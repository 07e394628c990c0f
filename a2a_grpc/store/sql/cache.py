"""The newest snapshots that were put together here, kept in memory."""

from collections import OrderedDict

from a2a_grpc.store.values import Snapshot, TaskKey

MAX_BYTES = 32 << 20
"""Bytes kept of all snapshots."""
OVERHEAD = 200
"""About what a snapshot takes in addition to its bytes."""


class Snapshots:
    """The newest snapshots that were folded here, bounded in memory."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._snapshots: OrderedDict[TaskKey, Snapshot] = OrderedDict()
        self._size = 0

    def get(self, key: TaskKey) -> Snapshot | None:
        if (found := self._snapshots.get(key)) is not None:
            self._snapshots.move_to_end(key)
        return found

    def peek(self, key: TaskKey) -> Snapshot | None:
        """Return a snapshot without counting this as a use. Any thread may call it."""
        return self._snapshots.get(key)

    def put(self, key: TaskKey, snapshot: Snapshot) -> None:
        """Keep a snapshot, unless there is a newer one, or it is too large to be kept with others."""
        known = self._snapshots.get(key)
        if known is not None and known.seq >= snapshot.seq:
            return
        self.drop(key)
        if len(snapshot.task) > self._max_bytes // 4:
            return
        self._snapshots[key] = snapshot
        self._size += len(snapshot.task) + OVERHEAD
        while self._size > self._max_bytes:
            _, oldest = self._snapshots.popitem(last=False)
            self._size -= len(oldest.task) + OVERHEAD

    def drop(self, key: TaskKey) -> None:
        if (known := self._snapshots.pop(key, None)) is not None:
            self._size -= len(known.task) + OVERHEAD

    def clear(self) -> None:
        self._snapshots.clear()
        self._size = 0
