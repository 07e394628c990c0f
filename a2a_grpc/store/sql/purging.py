"""Deleting what is past its retention, page by page."""

from typing import Any

from sqlalchemy import Connection

from a2a_grpc.store.sql.statements.coordination import DELETE_BINDING, OLD_BINDINGS
from a2a_grpc.store.sql.statements.lists import DELETE_TASK, NOW, ended_statement, surplus_statement
from a2a_grpc.store.values import TaskKey

MAX_RECORDS = 20_000
"""Records that one page deletes, or those of one task. Appends wait for no more than that."""


def purge(connection: Connection, ended_age_s: float, keep: int, limit: int) -> list[TaskKey]:
    """Delete ended tasks. Return their names."""
    ended_before_us = _before_us(connection, ended_age_s)
    surplus = connection.execute(surplus_statement(keep)).first()
    page: list[Any] = []
    records = 0
    for row in connection.execute(
        ended_statement(ended_before_us, (surplus.ended_us, surplus.pk) if surplus else None, limit)
    ).all():
        records += row.seq
        if page and records > MAX_RECORDS:
            break
        page.append(row)
    if page:
        for statement in DELETE_TASK:
            connection.execute(statement, [{"of_pk": row.pk} for row in page])
    return [TaskKey(row.tenant, row.owner, row.id) for row in page]


def forget(connection: Connection, bound_age_s: float, limit: int) -> int:
    """Delete idempotency keys by their age. Return their number."""
    ages = {"before_us": _before_us(connection, bound_age_s), "at_most": limit}
    found = connection.execute(OLD_BINDINGS, ages).all()
    if found:
        connection.execute(DELETE_BINDING, [{"of_scope": row.scope, "of_key": row.key} for row in found])
    return len(found)


def _before_us(connection: Connection, age_s: float) -> int:
    """Return the time before which everything is older than an age."""
    now: int = connection.scalars(NOW).one()
    return now + 1 - int(age_s * 1e6)
