"""Store tasks of an export."""

import time
from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy import Connection, Table

from a2a_grpc.store.sql.coordination import belong_to, bindings
from a2a_grpc.store.sql.keys import Numbers
from a2a_grpc.store.sql.rows import numbers_of
from a2a_grpc.store.sql.schema import binding, task
from a2a_grpc.store.sql.statements.outbox import State
from a2a_grpc.store.sql.upkeep.lines import Imported, Row
from a2a_grpc.store.sql.upkeep.rows import PARTS

REPLICA = "(imported)"
"""The holder of tasks that ran when they were exported. It has no lease, so a server takes them over."""
NO_SECRETS = "the config was exported without its secrets; create it again"
AT_ONCE = 500
"""Rows of one statement."""


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
    there, now_us = numbers_of(connection, [one.key for one in tasks]), int(time.time() * 1e6)
    new = [(numbers.next(), one) for one in tasks if one.key not in there]
    _insert(connection, task, ({**one.row, "pk": pk, "replica": one.row["replica"] and REPLICA} for pk, one in new))
    for kind, table in PARTS.items():
        parts = ({**row, "task": pk} for pk, one in new for row in one.parts[kind])
        _insert(connection, table, (_push(row, now_us) for row in parts) if kind == "push" else parts)
    bound = bindings(connection, [(row["scope"], row["key"]) for row in keys])
    _insert(connection, binding, (row for row in keys if (row["scope"], row["key"]) not in bound))
    return len(new)


def _push(row: Row, now_us: int) -> Row:
    """Return a push config as it is stored. One that was claimed is due, and one that lacks its secrets is dead."""
    lacks_secrets = row.pop("lacks_secrets")
    if lacks_secrets and row["state"] != State.ENDED:
        return {**row, "state": int(State.DEAD), "error": NO_SECRETS, "due_us": None, "replica": None}
    return {**row, "due_us": now_us if row["replica"] else row["due_us"], "replica": None}


def _insert(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    rest = iter(rows)
    while batch := list(islice(rest, AT_ONCE)):
        connection.execute(table.insert(), batch)
