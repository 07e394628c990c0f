"""Deleting ended tasks by age and state, page by page."""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.sql.elements import ColumnElement

from a2a_grpc.database.columns import now_us
from a2a_grpc.lifecycle import state_name
from a2a_grpc.store.sql.purging import delete
from a2a_grpc.store.sql.schema import task
from a2a_grpc.store.sql.statements.lists import PARTS
from a2a_grpc.store.sql.statements.notes import BYTES_OF_TASK

PAGE = 200
"""Tasks that one transaction deletes at most."""
_BYTES = task.c.size + BYTES_OF_TASK


class Deleted(NamedTuple):
    """Tasks of one state that are deleted, or would be, and the size of their records and notes."""

    tasks: int
    bytes: int


def time_before(connection: Connection, age_s: float) -> int:
    """Return the time that is `age_s` seconds ago by the clock of the database, in microseconds since 1970."""
    now: int = connection.scalars(select(now_us())).one()
    return now - int(age_s * 1e6)


def found(connection: Connection, before_us: int, states: Collection[int]) -> dict[str, Deleted]:
    """Count the tasks of some states that ended before a time."""
    query = select(task.c.state, func.count(), func.sum(_BYTES)).where(_old(before_us, states))
    rows = connection.execute(query.group_by(task.c.state).order_by(task.c.state))
    return {state_name(state): Deleted(count, int(size)) for state, count, size in rows}


def delete_page(connection: Connection, before_us: int, states: Collection[int]) -> dict[str, Deleted]:
    """Delete the oldest of these tasks. Return what was deleted; nothing if there are no more."""
    query = select(task.c.pk, task.c.state, _BYTES.label("bytes"), PARTS).where(_old(before_us, states))
    query = query.order_by(task.c.ended_us, task.c.pk).limit(PAGE).with_for_update(skip_locked=True)
    deleted: dict[str, Deleted] = {}
    for row in delete(connection, query):
        before = deleted.get(name := state_name(row.state), Deleted(0, 0))
        deleted[name] = Deleted(before.tasks + 1, before.bytes + int(row.bytes))
    return deleted


def _old(before_us: int, states: Collection[int]) -> ColumnElement[bool]:
    return and_(task.c.ended_us.is_not(None), task.c.ended_us < before_us, task.c.state.in_(sorted(states)))
