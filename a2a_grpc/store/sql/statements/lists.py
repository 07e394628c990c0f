"""Statements about pages of tasks, and about tasks that are past their retention."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, or_, select

from a2a_grpc.database.columns import now_us
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.schema import note, pending, push, record, snapshot, task
from a2a_grpc.store.sql.statements.notes import BYTES_OF_TASK, COUNT_OF_TASK
from a2a_grpc.store.sql.statements.tasks import KEY, KEY_COLUMNS, THIS_TASK
from a2a_grpc.store.values import ListFilter, Position, Scope

ENTRY_COLUMNS = (
    *(task.c.pk, task.c.at_us, task.c.id, task.c.seq, task.c.state, task.c.turn, task.c.size),
    func.length(task.c.core).label("core_size"),
)
ENTRY = select(*ENTRY_COLUMNS).where(KEY)
"""Read the row of one task as `page_statement` does."""


def _conditions(scope: Scope, where: ListFilter) -> list[Any]:
    found: list[Any] = [task.c.scope == digest_of(scope)]
    if where.context_id:
        found.append(task.c.context_id == where.context_id)
    if where.state:
        found.append(task.c.state == where.state)
    if where.since_us:
        found.append(task.c.at_us >= where.since_us)
    return found


def page_statement(scope: Scope, where: ListFilter, after: Position | None, limit: int) -> Select[Any]:
    """Read the rows of a page of a list, and one more, to see whether there are more."""
    statement = select(*ENTRY_COLUMNS).where(*_conditions(scope, where))
    if after is not None:
        # Not as a comparison of rows: MariaDB finds no range of the index in one.
        statement = statement.where(task.c.at_us <= after.at_us, or_(task.c.at_us < after.at_us, task.c.id < after.id))
    return statement.order_by(task.c.at_us.desc(), task.c.id.desc()).limit(limit + 1)


def count_statement(scope: Scope, where: ListFilter) -> Select[Any]:
    """Count the tasks of a list."""
    return select(func.count()).select_from(task).where(*_conditions(scope, where))


# -- retention

NOW = select(now_us())
"""Read the clock of the database."""

_ended = task.c.ended_us.is_not(None)
PARTS = (task.c.seq + COUNT_OF_TASK).label("parts")
"""The number of records and notes of a task, which are deleted with it."""
_BYTES = task.c.size + BYTES_OF_TASK
_is_old = and_(_ended, task.c.ended_us < bindparam("before_us"), task.c.state.in_(bindparam("states", expanding=True)))
COUNT_OLD = (
    select(task.c.state, func.count(), func.sum(_BYTES)).where(_is_old).group_by(task.c.state).order_by(task.c.state)
)
"""Count the tasks of some states that ended before a time, and their bytes, state by state."""
OLD_TASKS = (
    select(task.c.pk, task.c.state, _BYTES.label("bytes"), PARTS)
    .where(_is_old)
    .order_by(task.c.ended_us, task.c.pk)
    .limit(bindparam("at_most"))
    .with_for_update(skip_locked=True)
)
"""Lock the oldest of these tasks."""
DELETE_TASK = (
    *(table.delete().where(table.c.task == bindparam("of_pk")) for table in (record, snapshot, pending, push, note)),
    task.delete().where(THIS_TASK),
)
"""Delete a task from all tables, in this order."""


def surplus_statement(keep: int) -> Select[Any]:
    """Find the newest ended task that is too many. What others delete at the old end does not change the answer."""
    return (
        select(task.c.ended_us, task.c.pk)
        .where(_ended)
        .order_by(task.c.ended_us.desc(), task.c.pk.desc())
        .offset(keep)
        .limit(1)
    )


def ended_statement(ended_before_us: int, surplus: tuple[int, int] | None, limit: int) -> Select[Any]:
    """Lock the oldest tasks that ended before a time, or that are not newer than a surplus task."""
    is_old: ColumnElement[bool] = task.c.ended_us < ended_before_us
    if surplus is not None and surplus[0] >= ended_before_us:
        is_old = and_(task.c.ended_us <= surplus[0], or_(task.c.ended_us < surplus[0], task.c.pk <= surplus[1]))
    return (
        select(task.c.pk, *KEY_COLUMNS, PARTS)
        .where(_ended, is_old)
        .order_by(task.c.ended_us, task.c.pk)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
