"""Reading and writing the rows of tasks, inside a transaction."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Select
from sqlalchemy.sql.dml import ReturningUpdate

from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.row import StoredRow
from a2a_grpc.store.sql.sqlite import goes_together
from a2a_grpc.store.sql.statements.coordination import ALIVE, ALIVE_AMONG
from a2a_grpc.store.sql.statements.tasks import (
    HEADS,
    ROW_COLUMNS,
    ROW_TO_WRITE,
    ROWS_AS_JSON,
    ROWS_TO_WRITE,
    ROWS_TO_WRITE_BY_KEY,
    SEQS,
    SEQS_BY_KEY,
    UPDATE_CLAIM,
)
from a2a_grpc.store.values import Head, TaskKey

T = TypeVar("T")
Names = list[tuple[bytes, str]]


def padded(items: Sequence[T]) -> list[T]:
    """Return the items, with the last one repeated up to a power of two, so that few texts of a statement are made."""
    size = 1 << (len(items) - 1).bit_length()
    return [*items, *[items[-1]] * (size - len(items))]


def name_of(key: TaskKey) -> dict[str, Any]:
    """Return the parameters of a statement about one task."""
    return {"of_scope": digest_of(key.scope), "of_id": key.id}


def names_of(keys: Iterable[TaskKey]) -> dict[str, Names]:
    """Return the parameters of a statement about several tasks."""
    return {"names": padded([(digest_of(key.scope), key.id) for key in keys])}


def row_to_write(connection: Connection, key: TaskKey) -> StoredRow | None:
    """Lock the row of a task. Return it; None for an unknown task."""
    found = connection.execute(ROW_TO_WRITE, name_of(key)).one_or_none()
    if found is None:
        return None
    row = _row(found)
    # Not joined to the row: this statement sees which replicas joined or died while it waited for the lock.
    row.is_lost = not is_alive(connection, row.replica)
    return row


def rows_to_write(connection: Connection, pks: Collection[int]) -> dict[int, StoredRow]:
    """Lock the rows of tasks. Return them by number, without the state of their holders."""
    if not pks:
        return {}
    if goes_together(connection.dialect):
        together = json.loads(connection.execute(ROWS_AS_JSON, {"pks": json.dumps(list(pks))}).scalar_one())
    else:
        together = connection.execute(ROWS_TO_WRITE, {"pks": padded(sorted(pks))}).all()
    return {row.pk: row for row in map(_row, together)}


def rows_to_write_by_key(connection: Connection, keys: Iterable[TaskKey]) -> dict[TaskKey, StoredRow]:
    """Lock the rows of tasks. Return those that there are."""
    found = connection.execute(ROWS_TO_WRITE_BY_KEY, names_of(sorted(set(keys)))).all()
    rows = {TaskKey(each.tenant, each.owner, each.task_id): _row(each) for each in found}
    holders = sorted({row.replica for row in rows.values() if row.replica})
    alive = set(connection.scalars(ALIVE_AMONG, {"ids": padded(holders)})) if holders else set()
    for row in rows.values():
        row.is_lost = bool(row.replica) and row.replica not in alive
    return rows


def is_alive(connection: Connection, replica: str) -> bool:
    """Return True if a replica has a lease, or for "", which stands for no replica."""
    return not replica or connection.execute(ALIVE, {"of_id": replica}).first() is not None


def shown(
    connection: Connection, query: "Select[Any] | ReturningUpdate[Any]", names: dict[str, Any]
) -> dict[TaskKey, Head]:
    """Return the rows that `HEADS`, `NEEDING_ATTENTION` or `REQUEST_CANCEL_AND_SHOW` finds, in their order."""
    heads = {}
    for found in connection.execute(query, names):
        key = TaskKey(found.tenant, found.owner, found.task_id)
        heads[key] = _row(found).head(is_lost=bool(found.replica) and found.living is None)
    return heads


def heads(connection: Connection, keys: Sequence[TaskKey]) -> dict[TaskKey, Head | None]:
    """Return the rows of tasks; None for each unknown task."""
    return dict.fromkeys(keys) | shown(connection, HEADS, names_of(keys))


def write_claim(connection: Connection, row: StoredRow) -> None:
    """Write what a claim or a message may have changed in a row."""
    claim = {"new_last_turn": row.last_turn, "new_attempt": row.attempt, "new_epoch": row.epoch}
    connection.execute(UPDATE_CLAIM, {"of_pk": row.pk, "new_replica": row.holder, **claim})


def seqs(connection: Connection, pks: Sequence[int], keys: Sequence[TaskKey]) -> tuple[dict[int, int], dict[Any, Any]]:
    """Return newest seqs: those of `pks` by number, and those of `keys` by scope and id, each with the number."""
    by_pk: dict[int, int] = {}
    by_name: dict[Any, Any] = {}
    if pks:
        by_pk = {found.pk: found.seq for found in connection.execute(SEQS, {"pks": padded(pks)})}
    if keys:
        found = connection.execute(SEQS_BY_KEY, names_of(keys))
        by_name = {(each.scope, each.id): (each.pk, each.seq) for each in found}
    return by_pk, by_name


def _row(found: Sequence[Any]) -> StoredRow:
    row = StoredRow(*found[: len(ROW_COLUMNS)])
    row.replica = row.replica or ""
    if isinstance(row.cancel, str):  # from JSON
        row.cancel = bytes.fromhex(row.cancel)
    return row
