"""The log of one task in memory."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from a2a_grpc.offload import offload
from a2a_grpc.store.growing import folded
from a2a_grpc.store.order import Order
from a2a_grpc.store.values import Record, Snapshot, TaskView
from a2a_grpc.store.views import (
    RECORD_COST,
    chosen,
    core_of,
    cost_of,
    cut,
    merged_core,
    recent,
    size_of,
    told_by,
)
from a2a_grpc.wire import TaskState

FREED_RECORDS = 5_000
"""Records that are freed at a time."""


class _Fold(NamedTuple):
    """The task after the first records of its log, kept so that no record is folded twice."""

    task: bytes
    """The serialised task."""
    records: int
    """Number of records that are folded."""
    size: int
    """Bytes of those records."""


class MemoryLog:
    """The records of one task. A task is put together when a reader asks for it, never by an append."""

    __slots__ = (
        "_reading",
        "at_us",
        "bytes",
        "context_id",
        "core",
        "counts",
        "epoch",
        "last",
        "lean",
        "order",
        "records",
        "status_bytes",
        "statuses",
        "whole",
    )

    def __init__(self, record: Record, context_id: str, order: Order) -> None:
        self.records = [record]
        self.last = record
        self.order = order
        self.context_id = context_id
        self.epoch = 1
        self.bytes = record.size
        self.at_us = record.at_us
        self.statuses = [record]
        """The records that bring a status: all of a task except its artifacts."""
        self.status_bytes = record.size
        self.counts: list[int] = []
        """Messages in each of `statuses`, as far as they were counted."""
        self.core: bytes | None = None
        """The core of the task as of the records that were counted."""
        self.whole: _Fold | None = None
        self.lean: _Fold | None = None
        """The task without its artifacts."""
        self._reading: asyncio.Lock | None = None

    @property
    def state(self) -> TaskState:
        return self.last.state

    @property
    def reading(self) -> asyncio.Lock:
        """The lock of the one reader that puts the task together. Readers that wait for it then use the result."""
        if self._reading is None:
            self._reading = asyncio.Lock()
        return self._reading

    def add_status(self, record: Record) -> None:
        """Take note of an appended record that brings a status."""
        self.at_us = record.at_us
        self.statuses.append(record)
        self.status_bytes += record.size

    async def load(self, view: TaskView) -> Snapshot:
        """Return the task as of the newest record when the task is put together."""
        async with self.reading:
            last = self.last
            if view.artifacts:
                self.whole = made = await _grown(self.whole, self.records, self.bytes)
            elif view.history_length is None or not await self._count():
                self.lean = made = await _grown(self.lean, self.statuses, self.status_bytes)
            else:
                records = self.recent(view.history_length)
                task = await offload(cost_of(records), recent, self.core or b"", records, view.history_length)
                return Snapshot(last.seq, task, last.state, last.turn)
        task = made.task
        if view.history_length is not None:  # artifacts are left out already
            task = await offload(len(task), cut, task, view)
        return Snapshot(last.seq, task, last.state, last.turn)

    async def size(self, view: TaskView) -> int:
        """Return how many bytes the task has at most, with the parts that the view names."""
        artifacts = self.bytes - self.status_bytes if view.artifacts else 0
        if view.history_length is None:
            return artifacts + self.status_bytes
        async with self.reading:
            is_counted = await self._count()
        if not is_counted:
            return artifacts + self.status_bytes
        sizes = ((len(record.event), len(record.message)) for record in self.recent(view.history_length))
        return artifacts + size_of(len(self.core or b""), sizes, view.history_length)

    def recent(self, length: int) -> list[Record]:
        """Return the records that the task with so many messages is made of."""
        return [self.statuses[place] for place in chosen(self.counts, length)]

    async def free(self) -> None:
        """Free the records of a log that was removed, in steps. A million of them take 100 ms."""
        if len(self.records) <= FREED_RECORDS:
            return
        async with self.reading:
            while self.records:
                self._free_last()
                await asyncio.sleep(0)

    def free_some(self) -> bool:
        """Do one step of `free`, unless a reader has the log in hand. Return True if nothing is left."""
        if not self.reading.locked():
            self._free_last()
        return not self.records

    def _free_last(self) -> None:
        del self.statuses[-FREED_RECORDS:]
        del self.records[-FREED_RECORDS:]

    async def _count(self) -> bool:
        """Bring `counts` and `core` up to the newest record. Return False if some record is not understood."""
        start, upto = len(self.counts), len(self.statuses)
        if start < upto:
            cost = self.status_bytes if not start else RECORD_COST * (upto - start)
            self.core, counts = await offload(cost, _counted, self.core, self.statuses, start, upto)
            self.counts += counts
        return self.core is not None


async def _grown(known: _Fold | None, records: Sequence[Record], size: int) -> _Fold:
    """Return the fold of all records, which have so many bytes."""
    known, upto = known or _Fold(b"", 0, 0), len(records)
    if known.records == upto:
        return known
    cost = len(known.task) + size - known.size + RECORD_COST * (upto - known.records)
    return _Fold(await offload(cost, _refolded, known.task, records, known.records, upto), upto, size)


def _refolded(task: bytes, records: Sequence[Record], start: int, upto: int) -> bytes:
    return folded([task], list(islice(records, start, upto)))


def _counted(core: bytes | None, records: Sequence[Record], start: int, upto: int) -> tuple[bytes | None, list[int]]:
    """Return the core once the records of a range are folded, with the number of messages in each of them."""
    counts = []
    for place, record in enumerate(islice(records, start, upto), start):
        told = told_by(record)
        if place == 0:
            core = core_of(record.event)
        elif told.messages is None:
            core = None
        elif core is not None and told.has_metadata:
            core = merged_core(core, record)
        counts.append(told.messages or 0)
    return core, counts
