"""Lists of tasks: a page in a constant number of queries, along an index."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, func, or_, select

from a2a_grpc.store.protocol import ListFilter, Position, Record, Scope, Snapshot
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.rows import padded
from a2a_grpc.store.sql.schema import record, snapshot, task
from a2a_grpc.store.sql.statements import READ_COLUMNS, record_of
from a2a_grpc.wire import TaskState


class Entry(NamedTuple):
    """A task of a page as its row tells."""

    pk: int
    position: Position
    seq: int
    state: TaskState
    turn: int


class Found(NamedTuple):
    """A page before its tasks are folded."""

    entries: list[Entry]
    total: int
    more: bool
    snapshots: dict[int, Snapshot]
    records: dict[int, list[Record]]
    """The records of each task after its stored snapshot."""


_SNAPSHOTS = select(snapshot).where(snapshot.c.task.in_(bindparam("pks", expanding=True)))
_RECORDS = (
    select(record.c.task, *READ_COLUMNS)
    .select_from(task.join(record, and_(record.c.task == task.c.pk, record.c.seq > task.c.snapshot_seq)))
    .where(task.c.pk.in_(bindparam("pks", expanding=True)))
    .order_by(record.c.task, record.c.seq)
)


def conditions(scope: Scope, where: ListFilter) -> list[Any]:
    found: list[Any] = [task.c.scope == digest_of(scope)]
    if where.context_id:
        found.append(task.c.context_id == where.context_id)
    if where.state:
        found.append(task.c.state == where.state)
    if where.since_us:
        found.append(task.c.at_us >= where.since_us)
    return found


def page_statement(scope: Scope, where: ListFilter, after: Position | None, limit: int) -> Select[Any]:
    """One row more than a page has: whether there is another."""
    statement = select(task.c.pk, task.c.at_us, task.c.id, task.c.seq, task.c.state, task.c.turn).where(
        *conditions(scope, where)
    )
    if after is not None:
        # Not as a comparison of rows: MariaDB finds no range of the index in one.
        statement = statement.where(task.c.at_us <= after.at_us, or_(task.c.at_us < after.at_us, task.c.id < after.id))
    return statement.order_by(task.c.at_us.desc(), task.c.id.desc()).limit(limit + 1)


def count_statement(scope: Scope, where: ListFilter) -> Select[Any]:
    return select(func.count()).select_from(task).where(*conditions(scope, where))


def page(
    connection: Connection,
    scope: Scope,
    where: ListFilter,
    after: Position | None,
    limit: int,
    recall: Callable[[str], Snapshot | None],
) -> Found:
    """A page; `recall` gives a snapshot by the id of its task, and is asked before the database is."""
    total: int = connection.scalars(count_statement(scope, where)).one()
    entries = [
        Entry(found.pk, Position(found.at_us, found.id), found.seq, found.state, found.turn)
        for found in connection.execute(page_statement(scope, where, after, limit))
    ]
    more = len(entries) > limit
    entries = entries[:limit]
    snapshots: dict[int, Snapshot] = {}
    records: dict[int, list[Record]] = {}
    for entry in entries:
        if (known := recall(entry.position.id)) is not None and known.seq == entry.seq:
            snapshots[entry.pk] = known
    if unknown := [entry.pk for entry in entries if entry.pk not in snapshots]:
        pks = {"pks": padded(unknown)}
        for found in connection.execute(_SNAPSHOTS, pks):
            snapshots[found.task] = Snapshot(found.seq, found.body, found.state, found.turn)
        for found in connection.execute(_RECORDS, pks):
            records.setdefault(found[0], []).append(record_of(found[1:]))
    return Found(entries, total, more, snapshots, records)
