"""Lists of tasks: a page in a constant number of queries, along an index."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, or_, select

from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.parts import ENTRY_COLUMNS, Parts, Recall, entry_of, read_parts
from a2a_grpc.store.sql.schema import task
from a2a_grpc.store.values import ListFilter, Position, Scope, TaskView


class Found(NamedTuple):
    """A page before its tasks are put together."""

    parts: list[Parts]
    total: int
    more: bool


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
    statement = select(*ENTRY_COLUMNS).where(*conditions(scope, where))
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
    view: TaskView,
    max_bytes: int | None,
    recall: Recall,
) -> Found:
    """Return a page; `recall` is asked for a task before the database is."""
    total: int = connection.scalars(count_statement(scope, where)).one()
    entries = [entry_of(found) for found in connection.execute(page_statement(scope, where, after, limit))]
    chosen = entries[:limit]
    parts = read_parts(connection, chosen, view, recall, max_bytes) if chosen else []
    return Found(parts, total, len(entries) > len(parts))
