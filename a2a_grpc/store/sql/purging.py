"""Removing what is past its retention, page by page."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, or_, select

from a2a_grpc.database.columns import now_us
from a2a_grpc.store.sql.schema import binding, pending, record, snapshot, task
from a2a_grpc.store.values import TaskKey

MAX_RECORDS = 20_000
"""Records that one page removes, or those of one task: appends wait no longer than that takes."""

_ENDED = task.c.ended_us.is_not(None)
_BY_TASK = [(table.delete().where(table.c.task == bindparam("of_pk"))) for table in (record, snapshot, pending)]
_REMOVE = task.delete().where(task.c.pk == bindparam("of_pk"))
_FORGET = binding.delete().where(binding.c.scope == bindparam("of_scope"), binding.c.key == bindparam("of_key"))


def _before(connection: Connection, age_s: float) -> int:
    """Return the moment from which on all is younger than the age."""
    now: int = connection.scalars(select(now_us())).one()
    return now + 1 - int(age_s * 1e6)


def surplus_statement(keep: int) -> Select[Any]:
    """The newest task that is too many: what others remove at the same time, at the old end, does not move it."""
    return (
        select(task.c.ended_us, task.c.pk)
        .where(_ENDED)
        .order_by(task.c.ended_us.desc(), task.c.pk.desc())
        .offset(keep)
        .limit(1)
    )


def ended_statement(ended_before_us: int, surplus: tuple[int, int] | None, limit: int) -> Select[Any]:
    """Tasks that ended before a moment, and those up to a surplus one, the oldest first."""
    doomed: ColumnElement[bool] = task.c.ended_us < ended_before_us
    if surplus is not None and surplus[0] >= ended_before_us:
        doomed = and_(task.c.ended_us <= surplus[0], or_(task.c.ended_us < surplus[0], task.c.pk <= surplus[1]))
    return (
        select(task.c.pk, task.c.tenant, task.c.owner, task.c.id, task.c.seq)
        .where(_ENDED, doomed)
        .order_by(task.c.ended_us, task.c.pk)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def purge(connection: Connection, ended_age_s: float, keep: int, limit: int) -> list[TaskKey]:
    """Delete ended tasks. Return their names."""
    ended_before_us = _before(connection, ended_age_s)
    surplus = connection.execute(surplus_statement(keep)).first()
    found = connection.execute(
        ended_statement(ended_before_us, (surplus.ended_us, surplus.pk) if surplus else None, limit)
    ).all()
    page: list[Any] = []
    records = 0
    for row in found:
        records += row.seq
        if page and records > MAX_RECORDS:
            break
        page.append(row)
    if page:
        pks = [{"of_pk": row.pk} for row in page]
        for statement in (*_BY_TASK, _REMOVE):
            connection.execute(statement, pks)
    return [TaskKey(row.tenant, row.owner, row.id) for row in page]


def forget(connection: Connection, bound_age_s: float, limit: int) -> int:
    """Delete idempotency keys by their age. Return their number."""
    bound_before_us = _before(connection, bound_age_s)
    found = connection.execute(
        select(binding.c.scope, binding.c.key)
        .where(binding.c.at_us < bound_before_us)
        .order_by(binding.c.at_us)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if found:
        connection.execute(_FORGET, [{"of_scope": row.scope, "of_key": row.key} for row in found])
    return len(found)
