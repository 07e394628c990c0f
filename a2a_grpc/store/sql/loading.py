"""Where reading a whole task begins: the row, the newest snapshot at hand, the records after that snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, literal, select, tuple_

from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.mailbox import READ_COLUMNS, record_of, records
from a2a_grpc.store.sql.parts import SMALL_BYTES
from a2a_grpc.store.sql.rows import padded
from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS, record, snapshot, task
from a2a_grpc.store.sql.sqlite import value_or_size, whole
from a2a_grpc.store.values import Record, Snapshot, TaskKey
from a2a_grpc.wire import TaskState

_WITH_SNAPSHOT = and_(snapshot.c.task == task.c.pk, snapshot.c.seq > bindparam("known_seq"))
_BASES = select(
    *(task.c.pk, task.c.seq, task.c.state, task.c.turn, task.c.size, task.c.tenant, task.c.owner, task.c.id),
    *(value_or_size(part).label(part.name) for part in SNAPSHOT_PARTS),
    snapshot.c.seq.label("stored_seq"),
    snapshot.c.state.label("stored_state"),
    snapshot.c.turn.label("stored_turn"),
).where(tuple_(task.c.scope, task.c.id).in_(bindparam("names", expanding=True)))
_SMALL_BASES = _BASES.select_from(task.outerjoin(snapshot, and_(_WITH_SNAPSHOT, task.c.size <= literal(SMALL_BYTES))))
_LARGE_BASE = _BASES.select_from(task.outerjoin(snapshot, _WITH_SNAPSHOT))
_RECORDS_OF_MANY = (
    select(record.c.task, *READ_COLUMNS)
    .where(record.c.task.in_(bindparam("pks", expanding=True)), record.c.seq > bindparam("after"))
    .order_by(record.c.task, record.c.seq)
)


class Wanted(NamedTuple):
    """A task that is to be read."""

    key: TaskKey
    known_seq: int
    """The seq of the snapshot that the reader has; 0 if it has none."""
    with_records: bool


@dataclass(slots=True)
class Base:
    """The row of a task, with what else was read."""

    pk: int
    seq: int
    state: TaskState
    turn: int
    size: int
    """Bytes of all its records."""
    stored: Snapshot | None = None
    """The stored snapshot, if it is newer than the one that the reader has."""
    records: Sequence[Record] = ()
    """Those after the newest of the two snapshots, if they were asked for."""

    @property
    def is_small(self) -> bool:
        return self.size <= SMALL_BYTES


def bases(connection: Connection, wanted: Sequence[Wanted]) -> dict[Wanted, Base | None]:
    """Return where reading each task begins; None for each unknown task. Of a task that is not small only the row is
    read: large tasks do not share a query, so that no reader waits for the task of another."""
    names = padded([(digest_of(key.scope), key.id) for key, _, _ in wanted])
    found = connection.execute(_SMALL_BASES, {"names": names, "known_seq": min(seq for _, seq, _ in wanted)})
    by_key = {TaskKey(each.tenant, each.owner, each.id): each for each in found}
    read = {one: _base(connection, by_key[one.key], one) if one.key in by_key else None for one in wanted}
    _read_records(connection, read)
    return read


def large_base(connection: Connection, wanted: Wanted) -> Base | None:
    """Return where reading a task of any size begins; None for an unknown task. To be called in a transaction that sees
    the database as of one instant."""
    key, known_seq, with_records = wanted
    names = {"names": [(digest_of(key.scope), key.id)], "known_seq": known_seq}
    found = connection.execute(_LARGE_BASE, names).one_or_none()
    if found is None:
        return None
    base = _base(connection, found, wanted)
    after = _after(wanted, base)
    if with_records and after < base.seq:
        base.records = records(connection, base.pk, after, base.seq)
    return base


def _base(connection: Connection, found: Any, wanted: Wanted) -> Base:
    base = Base(found.pk, found.seq, found.state, found.turn, found.size)
    if found.stored_seq is not None and found.stored_seq > wanted.known_seq:
        body = whole(connection, found.pk, *((part, getattr(found, part.name)) for part in SNAPSHOT_PARTS))
        base.stored = Snapshot(found.stored_seq, body, found.stored_state, found.stored_turn)
    return base


def _after(wanted: Wanted, base: Base) -> int:
    """Return the seq of the newest snapshot."""
    return base.stored.seq if base.stored else wanted.known_seq


def _read_records(connection: Connection, read: dict[Wanted, Base | None]) -> None:
    """Read the records of the tasks that are small."""
    behind = {
        one: base
        for one, base in read.items()
        if base and one.with_records and base.is_small and _after(one, base) < base.seq
    }
    if not behind:
        return
    by_pk: dict[int, list[Record]] = {base.pk: [] for base in behind.values()}
    after = min(_after(one, base) for one, base in behind.items())
    for pk, *columns in connection.execute(_RECORDS_OF_MANY, {"pks": padded(list(by_pk)), "after": after}):
        by_pk[pk].append(record_of(columns))
    for one, base in behind.items():
        after = _after(one, base)
        base.records = [found for found in by_pk[base.pk] if after < found.seq <= base.seq]
