"""Statements about the logs of tasks, and about snapshots, which are tasks as of one record."""

from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    Select,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    null,
    select,
)

from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS, STATUS_INDEX, record, snapshot, task
from a2a_grpc.store.sql.sqlite import among, value_or_size
from a2a_grpc.store.sql.statements.tasks import KEY, KEYS, PKS, THIS_TASK

SMALL_BYTES = 16 * 1024
"""Size up to which a task is read whole, and remembered, for each view: reading its parts would not be faster."""


RECORD_COLUMNS = (record.c.seq, record.c.event, record.c.state, record.c.turn, record.c.at_us, record.c.message)
_record_range = (record.c.seq > bindparam("after"), record.c.seq <= bindparam("upto"))
_record_order = (record.c.task, record.c.seq)
_tells_status = record.c.at_us > literal_column("0")

INSERTED_COLUMNS = [column.name for column in record.c]
INSERT_RECORD = record.insert()
"""Append a record."""
RECORDS_BY_KEY = (
    select(*RECORD_COLUMNS)
    # The log has no gaps, so the bound on seq serves as the limit, and needs no sort.
    .select_from(task.outerjoin(record, and_(record.c.task == task.c.pk, *_record_range)))
    .where(KEY)
    .order_by(record.c.seq)
)
"""Read records of one task, by its key. A task without such records gives one row of NULLs, an unknown task none."""
RECORDS = select(*RECORD_COLUMNS).where(record.c.task == bindparam("of_pk"), *_record_range).order_by(record.c.seq)
"""Read records of one task, by its number."""
RECORD_WRITTEN = select(record.c.event, record.c.message, record.c.epoch).where(
    record.c.task == bindparam("of_pk"), record.c.seq == bindparam("of_seq")
)
"""Read back one record whose commit was not answered."""
RECORDS_AFTER = (
    select(record.c.task, *RECORD_COLUMNS)
    .where(record.c.task.in_(PKS), record.c.seq > bindparam("after"))
    .order_by(*_record_order)
)
"""Read the records of several tasks after one seq."""
RECORDS_SINCE_SNAPSHOT = (
    select(record.c.task, *RECORD_COLUMNS)
    .select_from(task.join(record, and_(record.c.task == task.c.pk, record.c.seq > task.c.snapshot_seq)))
    .where(task.c.pk.in_(PKS))
    .order_by(*_record_order)
)
"""Read the records of several tasks after their stored snapshots."""


def _along_statuses(query: Select[Any]) -> Select[Any]:
    """Have SQLite read records by the index of those that bring a status.

    Along the primary key SQLite would read each event, to get to the columns behind the event.
    """
    return query.with_hint(record, f"INDEXED BY {STATUS_INDEX}", "sqlite")


_is_in_parts = snapshot.c.history.is_not(None)
STATUS_RECORDS_SINCE_SNAPSHOT = _along_statuses(
    select(record.c.task, *RECORD_COLUMNS)
    .select_from(
        task.outerjoin(snapshot, and_(snapshot.c.task == task.c.pk, _is_in_parts)).join(
            record, and_(record.c.task == task.c.pk, record.c.seq > func.coalesce(snapshot.c.seq, 0))
        )
    )
    .where(task.c.pk.in_(PKS), _tells_status)
    .order_by(*_record_order)
)
"""Read the records with a status of several tasks, after the snapshots that are stored in parts."""
STATUS_SIZES = _along_statuses(
    select(record.c.task, func.sum(func.length(record.c.event) + func.coalesce(func.length(record.c.message), 0)))
    .where(record.c.task.in_(PKS), _tells_status)
    .group_by(record.c.task)
)
"""Add up the sizes of the records with a status, task by task."""


def _recent_records() -> Select[Any]:
    newest_first: Any = {"partition_by": record.c.task, "order_by": record.c.seq.desc()}
    counting = select(
        record.c.task,
        record.c.seq,
        record.c.messages,
        func.row_number().over(**newest_first).label("place"),
        func.sum(record.c.messages).over(**newest_first).label("upto_here"),
    )
    counted = _along_statuses(counting.where(record.c.task.in_(PKS), _tells_status)).subquery()
    length: BindParameter[int] = bindparam("length")
    is_needed = and_(length > 0, counted.c.messages > 0, counted.c.upto_here - counted.c.messages <= length)
    is_newest = and_(counted.c.place == 1, (length > 0) | (counted.c.seq > 1))
    return (
        select(record.c.task, record.c.seq, func.length(record.c.event), func.length(record.c.message))
        .select_from(counted.join(record, and_(record.c.task == counted.c.task, record.c.seq == counted.c.seq)))
        .where(is_newest | is_needed)
    )


RECENT_RECORDS = _recent_records()
"""Find the records that have the newest `length` messages of tasks, and their sizes. See `views.chosen`."""
_at_places = among("places", record.c.task, record.c.seq)
RECORDS_AT = select(record.c.task, *RECORD_COLUMNS).where(_at_places)
"""Read single records of several tasks."""
EVENTS_AT = select(record.c.task, *RECORD_COLUMNS[:-1], null()).where(_at_places)
"""Read single records of several tasks, without the messages of users."""

# -- snapshots

LEAN_PARTS = (snapshot.c.body, snapshot.c.history)
_BASE = select(
    *(task.c.pk, task.c.seq, task.c.state, task.c.turn, task.c.size, task.c.tenant, task.c.owner, task.c.id),
    *(value_or_size(part).label(part.name) for part in SNAPSHOT_PARTS),
    snapshot.c.seq.label("stored_seq"),
    snapshot.c.state.label("stored_state"),
    snapshot.c.turn.label("stored_turn"),
).where(KEYS)
_newer_snapshot = and_(snapshot.c.task == task.c.pk, snapshot.c.seq > bindparam("known_seq"))
BASES_OF_SMALL = _BASE.select_from(task.outerjoin(snapshot, and_(_newer_snapshot, task.c.size <= literal(SMALL_BYTES))))
"""Read rows of tasks, and the stored snapshots of the small ones, if they are newer than the known ones."""
BASE = _BASE.select_from(task.outerjoin(snapshot, _newer_snapshot))
"""Read the row of a task, and its stored snapshot, if it is newer than the known one."""


def _snapshots(*parts: Column[Any]) -> Select[Any]:
    return select(snapshot.c.task, *map(value_or_size, parts)).where(snapshot.c.task.in_(PKS))


SNAPSHOTS = _snapshots(*SNAPSHOT_PARTS)
"""Read the stored snapshots of tasks."""
SNAPSHOTS_WITHOUT_ARTIFACTS = _snapshots(*LEAN_PARTS).where(_is_in_parts)
"""Read the stored snapshots of tasks without artifacts. Earlier versions wrote snapshots in one piece; they are left
out, because their artifacts would have to be loaded, too."""
INSERT_SNAPSHOT = snapshot.insert()
"""Store a snapshot."""
DELETE_OLDER_SNAPSHOT = snapshot.delete().where(
    snapshot.c.task == bindparam("of_pk"), snapshot.c.seq < bindparam("new_seq")
)
"""Delete the stored snapshot of a task, if it is older than the new one."""
UPDATE_SNAPSHOT_SEQ = (
    task.update()
    .where(THIS_TASK, task.c.snapshot_seq < bindparam("new_seq"))
    .values(snapshot_seq=bindparam("new_seq"), snapshot_size=task.c.size)
)
"""Note in the row of a task which snapshot is stored, unless a newer one is."""
