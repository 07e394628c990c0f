"""What was appended here lately, kept in memory for the followers of this process."""

from collections import OrderedDict
from collections.abc import Sequence

from a2a_grpc.store.values import Record, Snapshot, TaskKey

MAX_RECORDS = 1024
"""Records kept of one task."""
MAX_TASK_BYTES = 1 << 20
"""Bytes kept of one task's records."""
MAX_BYTES = 32 << 20
"""Bytes kept of all records; as much again of snapshots."""
OVERHEAD = 200
"""About what a record takes beside its bytes."""


class _Tail:
    __slots__ = ("records", "size")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.size = 0


class Tails:
    """Guarantees: the records of a task are contiguous and committed; memory is bounded, and what was not used for the
    longest goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._tails: OrderedDict[TaskKey, _Tail] = OrderedDict()
        self._size = 0

    def add(self, key: TaskKey, record: Record) -> None:
        """Takes a record that is committed; one that does not follow the last begins anew."""
        tail = self._tails.get(key)
        if tail is None or tail.records[-1].seq + 1 != record.seq:
            if tail is not None and record.seq <= tail.records[-1].seq:
                return  # it is here already
            self.drop(key)
            tail = self._tails[key] = _Tail()
        cost = record.size + OVERHEAD
        tail.records.append(record)
        tail.size += cost
        self._size += cost
        self._tails.move_to_end(key)
        if len(tail.records) > MAX_RECORDS or tail.size > MAX_TASK_BYTES:
            self._halve(tail)
        while self._size > self._max_bytes:
            _, oldest = self._tails.popitem(last=False)
            self._size -= oldest.size

    def _halve(self, tail: _Tail) -> None:
        """Forgets the older half: in the mean an append costs the same, whatever is kept."""
        keep = tail.records[-(len(tail.records) // 2) :] if len(tail.records) > 1 else tail.records
        size = sum(record.size + OVERHEAD for record in keep)
        self._size -= tail.size - size
        tail.records, tail.size = keep, size

    def after(self, key: TaskKey, seq: int, limit: int) -> Sequence[Record]:
        """Records after a seq, without gaps, as many as are here and at most `limit`; none if the next is not."""
        tail = self._tails.get(key)
        if tail is None:
            return ()
        start = seq + 1 - tail.records[0].seq
        if not 0 <= start < len(tail.records):
            return ()
        self._tails.move_to_end(key)
        return tail.records[start : start + limit]

    def known(self, key: TaskKey, seq: int, limit: int) -> Sequence[Record] | None:
        """The same; None where this is not known: the next record, if there is one, may not be here."""
        return self.after(key, seq, limit) or (() if self.ends_at(key, seq) else None)

    def has(self, key: TaskKey) -> bool:
        """Return True if any record of the task is here."""
        return key in self._tails

    def ends_at(self, key: TaskKey, seq: int) -> bool:
        """Whether this is the newest record that was added."""
        tail = self._tails.get(key)
        return tail is not None and tail.records[-1].seq == seq

    def drop(self, key: TaskKey) -> None:
        if (tail := self._tails.pop(key, None)) is not None:
            self._size -= tail.size

    def clear(self) -> None:
        self._tails.clear()
        self._size = 0


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
        """The same without counting as a use; may be called from any thread."""
        return self._snapshots.get(key)

    def put(self, key: TaskKey, snapshot: Snapshot) -> None:
        """Keeps a snapshot, unless a newer one is here or it is too large to be kept with others."""
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
