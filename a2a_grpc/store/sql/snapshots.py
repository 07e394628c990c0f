"""Whole tasks: read from the row, the stored snapshot and the records after it; and stored as snapshots.

Snapshots are written in the background. They are shortcuts whose loss loses nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from a2a_grpc.database.retry import reason
from a2a_grpc.database.transactions import Database
from a2a_grpc.offload import offload
from a2a_grpc.store.sql.keys import name_of, names_of, padded
from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS
from a2a_grpc.store.sql.sqlite import fill, room_for, whole
from a2a_grpc.store.sql.statements import records
from a2a_grpc.store.values import Record, Snapshot, TaskKey
from a2a_grpc.store.views import split
from a2a_grpc.wire import TaskState

logger = logging.getLogger("a2a_grpc.store")

# -- reading


def record_of(found: Sequence[Any]) -> Record:
    """Return a record from RECORD_COLUMNS."""
    seq, event, state, turn, at_us, message = found
    return Record(seq, event, state, turn, at_us, message or b"")


def read(connection: Connection, key: TaskKey, after: int, limit: int) -> list[Record] | None:
    """Return the records of a task after a seq; None for an unknown task."""
    found = connection.execute(records.RECORDS_BY_KEY, {**name_of(key), "after": after, "upto": after + limit}).all()
    return [record_of(row) for row in found if row.seq is not None] if found else None


class Wanted(NamedTuple):
    """A task to read.

    Attributes:
        key: The name of the task.
        known_seq: The seq of the snapshot that the reader has; 0 if it has none.
    """

    key: TaskKey
    known_seq: int


@dataclass(slots=True)
class Base:
    """What was read of a task.

    Attributes:
        pk: The number of the task.
        seq: The newest seq.
        state: The state of the task.
        turn: The turn of the newest record.
        size: The size of all records, in bytes.
        stored: The stored snapshot, if it is newer than the one that the reader has.
        records: The records after the newest snapshot.
    """

    pk: int
    seq: int
    state: TaskState
    turn: int
    size: int
    stored: Snapshot | None = None
    records: Sequence[Record] = ()

    @property
    def is_small(self) -> bool:
        return self.size <= records.SMALL_BYTES


def bases(connection: Connection, wanted: Sequence[Wanted]) -> dict[Wanted, Base | None]:
    """Read small tasks, and the rows of the others. Return None for each unknown task.

    Large tasks do not share a query, so that no reader waits for the task of another one.
    """
    names = names_of([one.key for one in wanted])
    found = connection.execute(records.BASES_OF_SMALL, {**names, "known_seq": min(one.known_seq for one in wanted)})
    by_key = {TaskKey(each.tenant, each.owner, each.id): each for each in found}
    read = {one: _base(connection, by_key[one.key], one) if one.key in by_key else None for one in wanted}
    _read_records(connection, read)
    return read


def large_base(connection: Connection, wanted: Wanted) -> Base | None:
    """Read a task of any size, in a transaction that sees the database at one moment. Return None if it is unknown."""
    found = connection.execute(records.BASE, {**names_of([wanted.key]), "known_seq": wanted.known_seq}).one_or_none()
    if found is None:
        return None
    base = _base(connection, found, wanted)
    after = _after(wanted, base)
    if after < base.seq:
        names = {"of_pk": base.pk, "after": after, "upto": base.seq}
        base.records = [record_of(row) for row in connection.execute(records.RECORDS, names)]
    return base


def _base(connection: Connection, found: Any, wanted: Wanted) -> Base:
    base = Base(found.pk, found.seq, found.state, found.turn, found.size)
    if found.stored_seq is not None and found.stored_seq > wanted.known_seq:
        parts = zip(SNAPSHOT_PARTS, (found.body, found.history, found.artifacts), strict=True)
        body = whole(connection, found.pk, *parts)
        base.stored = Snapshot(found.stored_seq, body, found.stored_state, found.stored_turn)
    return base


def _after(wanted: Wanted, base: Base) -> int:
    """Return the seq of the newest snapshot."""
    return base.stored.seq if base.stored else wanted.known_seq


def _read_records(connection: Connection, read: dict[Wanted, Base | None]) -> None:
    """Read the records of the tasks that are small."""
    behind = {one: base for one, base in read.items() if base and base.is_small and _after(one, base) < base.seq}
    if not behind:
        return
    by_pk: dict[int, list[Record]] = {base.pk: [] for base in behind.values()}
    after = min(_after(one, base) for one, base in behind.items())
    for pk, *columns in connection.execute(records.RECORDS_AFTER, {"pks": padded(list(by_pk)), "after": after}):
        by_pk[pk].append(record_of(columns))
    for one, base in behind.items():
        after = _after(one, base)
        base.records = [found for found in by_pk[base.pk] if after < found.seq <= base.seq]


# -- storing


class Superfluous(Exception):
    """A newer snapshot is stored, or the task was purged meanwhile."""


def keep(connection: Connection, pk: int, taken: Snapshot, parts: Sequence[bytes]) -> None:
    """Store the snapshot of a task, which is in `parts`. The task's row is locked last, because an append may wait for
    it."""
    connection.execute(records.DELETE_OLDER_SNAPSHOT, {"of_pk": pk, "new_seq": taken.seq})
    values = {column.name: room_for(connection, part) for column, part in zip(SNAPSHOT_PARTS, parts, strict=True)}
    connection.execute(
        records.INSERT_SNAPSHOT.values(task=pk, seq=taken.seq, state=taken.state, turn=taken.turn, **values)
    )
    for column, part in zip(SNAPSHOT_PARTS, parts, strict=True):
        fill(connection, pk, column, part)
    if not connection.execute(records.UPDATE_SNAPSHOT_SEQ, {"of_pk": pk, "new_seq": taken.seq}).rowcount:
        raise Superfluous


class SnapshotWriter:
    """Writes the snapshots of tasks that are due, in transactions of their own, never in the way of an append."""

    def __init__(self, database: Database, load: Callable[[TaskKey], Awaitable[Snapshot | None]]) -> None:
        self._database = database
        self._load = load
        self._due: dict[TaskKey, int] = {}
        self._arrived = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep_forever(), name="a2a-grpc store snapshots")

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    @property
    def is_healthy(self) -> bool:
        return self._keeping is not None and not self._keeping.done()

    def add(self, key: TaskKey, pk: int) -> None:
        """Store a snapshot of a task soon."""
        self._due[key] = pk
        self._arrived.set()

    async def _keep_forever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._due:
                key, pk = self._due.popitem()
                try:
                    if (taken := await self._load(key)) is not None:
                        parts = await offload(len(taken.task), split, taken.task)
                        await self._database.write(keep, pk, taken, parts)
                except (Superfluous, IntegrityError):
                    pass
                except Exception as error:
                    self._due.clear()  # the log has it all
                    logger.info("snapshots were not stored error=%s", reason(error))
