"""Statements about notes: named values of tasks."""

from typing import Any

from sqlalchemy import Insert, Select, bindparam, func, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from a2a_grpc.store.sql.schema import note, task
from a2a_grpc.store.sql.statements.tasks import KEY


def _given(name: str) -> Any:
    return bindparam(f"of_{name}", type_=note.c[name].type).label(name)


_COLUMNS = ("task", "turn", "name", "value")
_NOTE: Select[Any] = (
    select(task.c.pk, _given("turn"), _given("name"), _given("value"))
    .where(KEY, task.c.epoch == bindparam("of_epoch"), task.c.ended_us.is_(None))
    .with_for_update()
)


def _upsert(made: "postgresql.Insert | sqlite.Insert") -> Insert:
    return made.from_select(_COLUMNS, _NOTE).on_conflict_do_update(
        index_elements=note.primary_key, set_={"value": made.excluded.value}
    )


_on_mysql = mysql.insert(note).from_select(_COLUMNS, _NOTE)  # `inserted` is known only to this statement, no copy of it
PUT: dict[str, Insert] = {
    "sqlite": _upsert(sqlite.insert(note)),
    "postgresql": _upsert(postgresql.insert(note)),
    "mysql": _on_mysql.on_duplicate_key_update(value=_on_mysql.inserted.value),
}
"""Lock the row of a task, and write a note if the claim of the writer is the newest one and the task has not ended.

It is one statement, so that a note costs one round trip. A claim that comes meanwhile waits for the lock, or has come
before, and then no row is found. On MariaDB it is the statement of MySQL.
"""
DELETE_DONE = note.delete().where(note.c.task == bindparam("of_pk"), note.c.turn > 0, note.c.turn <= bindparam("upto"))
"""Delete the notes of the turns of one task up to a turn."""
GET = (
    select(note.c.value)
    .select_from(note.join(task, task.c.pk == note.c.task))
    .where(KEY, note.c.turn == bindparam("of_turn"), note.c.name == bindparam("of_name"))
)
"""Read one note."""
SIZES = (
    select(note.c.name, func.length(note.c.value).label("size"))
    .select_from(note.join(task, task.c.pk == note.c.task))
    .where(KEY, note.c.turn == bindparam("of_turn"))
)
"""Read the names of the notes of a turn, and the sizes of their values."""
COUNT_OF_TASK = select(func.count()).where(note.c.task == task.c.pk).correlate(task).scalar_subquery()
"""The number of notes of a task, as a column of a statement that reads the task."""
BYTES = func.coalesce(func.sum(func.length(note.c.value)), 0)
"""The size of notes, in bytes."""
BYTES_OF_TASK = select(BYTES).where(note.c.task == task.c.pk).correlate(task).scalar_subquery()
"""The size of the notes of a task, as a column."""
