"""Store tasks of an export."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from a2a_grpc.store.sql.coordination import belong_to
from a2a_grpc.store.sql.keys import Numbers
from a2a_grpc.store.sql.rows import names_of
from a2a_grpc.store.sql.schema import binding, note, pending, push, record, snapshot, task
from a2a_grpc.store.sql.statements.coordination import AGENT_NAME
from a2a_grpc.store.sql.statements.outbox import State
from a2a_grpc.store.sql.statements.tasks import SEQS_BY_KEY
from a2a_grpc.store.sql.upkeep.lines import Imported, Row
from a2a_grpc.store.values import TaskKey

REPLICA = "(imported)"
"""The holder of tasks that ran when they were exported. It has no lease, so a server takes them over."""
NO_SECRETS = "the config was exported without its secrets; create it again"
AT_ONCE = 500
"""Rows of one statement."""

_BOUND = select(binding.c.key).where(binding.c.scope == bindparam("of_scope"), binding.c.key == bindparam("of_key"))


def existing(connection: Connection, keys: Sequence[TaskKey]) -> set[TaskKey]:
    """Return the tasks of these names that the database has."""
    if not keys:
        return set()
    names = names_of(keys)
    found = {(bytes(row.scope), row.id) for row in connection.execute(SEQS_BY_KEY, names)}
    return {key for key, name in zip(keys, names["names"], strict=False) if name in found}


def owner(connection: Connection) -> str:
    """Return the name of the agent whose tasks the database keeps; "" if there is none."""
    return connection.scalars(AGENT_NAME).first() or ""


def load(connection: Connection, tasks: Sequence[Imported], keys: Sequence[Row], agent: str, numbers: Numbers) -> int:
    """Store tasks and idempotency keys, except those that the database has. Return the number of tasks stored.

    Args:
        connection: A transaction.
        tasks: The tasks.
        keys: The idempotency keys.
        agent: The name of the agent, which is kept if the database has none; "" if it is not known.
        numbers: Numbers for the tasks.
    """
    if agent:
        belong_to(connection, agent)
    there, now_us = existing(connection, [one.key for one in tasks]), int(time.time() * 1e6)
    new = [(numbers.next(), one) for one in tasks if one.key not in there]
    _insert(connection, task, ({**one.row, "pk": pk, "replica": one.row["replica"] and REPLICA} for pk, one in new))
    for table, part in ((record, "records"), (pending, "pending"), (note, "notes")):
        _insert(connection, table, ({**row, "task": pk} for pk, one in new for row in getattr(one, part)))
    _insert(connection, snapshot, ({**one.snapshot, "task": pk} for pk, one in new if one.snapshot is not None))
    _insert(connection, push, ({**_push(row, now_us), "task": pk} for pk, one in new for row in one.pushes))
    unbound = [row for row in keys if connection.execute(_BOUND, _name_of(row)).first() is None]
    _insert(connection, binding, unbound)
    return len(new)


def _name_of(row: Row) -> Row:
    return {"of_scope": row["scope"], "of_key": row["key"]}


def _push(row: Row, now_us: int) -> Row:
    """Return a push config as it is stored. One that was claimed is due, and one that lacks its secrets is dead."""
    lacks_secrets = row["lacks_secrets"]
    kept = {name: value for name, value in row.items() if name != "lacks_secrets"}
    if lacks_secrets and row["state"] != State.ENDED:
        return {**kept, "state": int(State.DEAD), "error": NO_SECRETS, "due_us": None, "replica": None}
    return {**kept, "due_us": now_us if row["replica"] else row["due_us"], "replica": None}


def _insert(connection: Connection, table: Any, rows: Iterable[Row]) -> None:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == AT_ONCE:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)
