"""Deleting what is past its retention, page by page."""

from typing import Any

from sqlalchemy import Connection, Row, Select

from a2a_grpc.store.sql.statements.coordination import DELETE_BINDING, OLD_BINDINGS
from a2a_grpc.store.sql.statements.lists import DELETE_TASK, NOW, ended_statement, surplus_statement
from a2a_grpc.store.values import TaskKey

MAX_PARTS = 20_000
"""Records and notes that one page deletes, or those of one task. Appends wait for no more than that."""


def purge(connection: Connection, ended_age_s: float, keep: int, limit: int) -> list[TaskKey]:
    """Delete ended tasks. Return their names."""
    ended_before_us = _before_us(connection, ended_age_s)
    surplus = connection.execute(surplus_statement(keep)).first()
    statement = ended_statement(ended_before_us, (surplus.ended_us, surplus.pk) if surplus else None, limit)
    return [TaskKey(row.tenant, row.owner, row.id) for row in delete(connection, statement)]


def delete(connection: Connection, statement: Select[Any]) -> list[Row[Any]]:
    """Delete the first tasks that a statement finds, up to MAX_PARTS. Return their rows.

    Args:
        connection: A transaction.
        statement: Locks rows of tasks, with the columns `pk` and `parts`.
    """
    page: list[Row[Any]] = []
    parts = 0
    for row in connection.execute(statement).all():
        parts += row.parts
        if page and parts > MAX_PARTS:
            break
        page.append(row)
    if page:
        for deletion in DELETE_TASK:
            connection.execute(deletion, [{"of_pk": row.pk} for row in page])
    return page


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
