"""Deleting what is past its retention, page by page, for a server and for an operator."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select

from a2a_grpc.lifecycle import state_name
from a2a_grpc.store.sql.statements import coordination, lists
from a2a_grpc.store.values import TaskKey

MAX_PARTS = 20_000
"""Records and notes that one page deletes, or those of one task. Appends wait for no more than that."""
PAGE = 200
"""Tasks that one transaction of an operator deletes at most."""


class Deleted(NamedTuple):
    """Tasks of one state that are deleted, or would be, and the size of their records and notes."""

    tasks: int
    bytes: int


def purge(connection: Connection, ended_age_s: float, keep: int, limit: int) -> list[TaskKey]:
    """Delete ended tasks. Return their names."""
    before_us = time_before(connection, ended_age_s)
    surplus = connection.execute(lists.surplus_statement(keep)).first()
    statement = lists.ended_statement(before_us, (surplus.ended_us, surplus.pk) if surplus else None, limit)
    return [TaskKey(row.tenant, row.owner, row.id) for row in _delete(connection, statement, {})]


def count_old(connection: Connection, before_us: int, states: Collection[int]) -> dict[str, Deleted]:
    """Count the tasks of some states that ended before a time."""
    rows = connection.execute(lists.COUNT_OLD, {"before_us": before_us, "states": sorted(states)})
    return {state_name(state): Deleted(count, int(size)) for state, count, size in rows}


def delete_old(connection: Connection, before_us: int, states: Collection[int]) -> dict[str, Deleted]:
    """Delete the oldest of these tasks. Return what was deleted; nothing if there are no more."""
    deleted: dict[str, Deleted] = {}
    names = {"before_us": before_us, "states": sorted(states), "at_most": PAGE}
    for row in _delete(connection, lists.OLD_TASKS, names):
        before = deleted.get(name := state_name(row.state), Deleted(0, 0))
        deleted[name] = Deleted(before.tasks + 1, before.bytes + int(row.bytes))
    return deleted


def _delete(connection: Connection, statement: Select[Any], names: dict[str, Any]) -> list[Row[Any]]:
    """Delete the first tasks that a statement locks, up to MAX_PARTS. Return their rows."""
    page: list[Row[Any]] = []
    parts = 0
    for row in connection.execute(statement, names).all():
        parts += row.parts
        if page and parts > MAX_PARTS:
            break
        page.append(row)
    if page:
        for deletion in lists.DELETE_TASK:
            connection.execute(deletion, [{"of_pk": row.pk} for row in page])
    return page


def forget(connection: Connection, bound_age_s: float, limit: int) -> int:
    """Delete idempotency keys by their age. Return their number."""
    ages = {"before_us": time_before(connection, bound_age_s), "at_most": limit}
    found = connection.execute(coordination.OLD_BINDINGS, ages).all()
    if found:
        connection.execute(coordination.DELETE_BINDING, [{"of_scope": row.scope, "of_key": row.key} for row in found])
    return len(found)


def time_before(connection: Connection, age_s: float) -> int:
    """Return the time before which everything is older than an age, by the clock of the database, in microseconds."""
    now: int = connection.scalars(lists.NOW).one()
    return now + 1 - int(age_s * 1e6)
