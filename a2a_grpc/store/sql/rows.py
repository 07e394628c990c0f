"""Reading and writing the rows of tasks, inside a transaction."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, bindparam, case, column, func, select, tuple_
from sqlalchemy.sql.dml import ReturningUpdate

from a2a_grpc.database.columns import now_us
from a2a_grpc.store.sql.bulk import goes_together
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.row import Row
from a2a_grpc.store.sql.schema import binding, replica, task
from a2a_grpc.store.values import AlreadyBound, Binding, Scope, TaskKey

T = TypeVar("T")


def listed(name: str) -> Select[tuple[int]]:
    """The numbers of a parameter that is a JSON array, for SQLite."""
    return select(column("value")).select_from(func.json_each(bindparam(name)))


_COLUMNS = (
    task.c.pk,
    task.c.context_id,
    task.c.seq,
    task.c.state,
    task.c.turn,
    task.c.last_turn,
    task.c.attempt,
    task.c.epoch,
    task.c.size,
    task.c.at_us,
    task.c.replica,
    task.c.cancel,
    task.c.snapshot_seq,
    task.c.snapshot_size,
)
_BY_KEY = (task.c.scope == bindparam("of_scope"), task.c.id == bindparam("of_id"))
_ROW = select(*_COLUMNS).where(*_BY_KEY)
_ROW_TO_WRITE = _ROW.with_for_update()
_NAMES = (task.c.tenant, task.c.owner, task.c.id.label("task_id"))
SHOWN_COLUMNS = (
    *_COLUMNS,
    select(replica.c.id).where(replica.c.id == task.c.replica).scalar_subquery().label("living"),
    *_NAMES,
)
"""What `shown` reads of a row."""
ROW_TO_SHOW = (
    select(*_COLUMNS, replica.c.id.label("living"), *_NAMES)
    .select_from(task.outerjoin(replica, replica.c.id == task.c.replica))
    .order_by(task.c.pk)
)
_ROWS_TO_WRITE = (
    select(*_COLUMNS)
    .where(task.c.pk.in_(bindparam("pks", expanding=True)))
    .order_by(task.c.pk)  # everybody locks in this order
    .with_for_update()
)
_ROWS_TO_WRITE_BY_KEY = (
    select(*_COLUMNS, task.c.tenant, task.c.owner, task.c.id.label("task_id"))
    .where(tuple_(task.c.scope, task.c.id).in_(bindparam("names", expanding=True)))
    .order_by(task.c.pk)
    .with_for_update()
)
_ALL_ALIVE = select(replica.c.id).where(replica.c.id.in_(bindparam("ids", expanding=True)))
_HEX_CANCEL = case((task.c.cancel.is_not(None), func.hex(task.c.cancel)))
_ROWS_TOGETHER = select(
    func.json_group_array(func.json_array(*(_HEX_CANCEL if each is task.c.cancel else each for each in _COLUMNS)))
).where(task.c.pk.in_(listed("pks")))
_ALIVE = select(replica.c.id).where(replica.c.id == bindparam("of_id"))
_KEEP_ROW = (
    task.update()
    .where(task.c.pk == bindparam("of_pk"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                *("seq", "state", "turn", "last_turn", "attempt", "epoch", "size", "at_us", "replica"),
                "cancel",
            )
        }
    )
)
_BINDINGS = select(
    binding.c.scope, binding.c.key, binding.c.fingerprint, binding.c.task_id, binding.c.turn, binding.c.reply
).where(tuple_(binding.c.scope, binding.c.key).in_(bindparam("names", expanding=True)))
_BIND = binding.insert().values(at_us=now_us())


def padded(items: Sequence[T]) -> list[T]:
    """The items, the last one repeated up to a power of two: so that few texts of a statement serve every number."""
    size = 1 << (len(items) - 1).bit_length()
    return [*items, *[items[-1]] * (size - len(items))]


def names_of(key: TaskKey) -> dict[str, Any]:
    """The parameters of a statement about one task."""
    return {"of_scope": digest_of(key.scope), "of_id": key.id}


def row_to_write(connection: Connection, key: TaskKey) -> Row | None:
    """A task's row, locked, with the truth about its holder."""
    found = connection.execute(_ROW_TO_WRITE, names_of(key)).one_or_none()
    if found is None:
        return None
    row = _row(found)
    # Not joined to the row: this statement sees who has joined or died while the lock was waited for.
    row.is_lost = not is_alive(connection, row.replica)
    return row


def rows_to_write_by_key(connection: Connection, keys: Sequence[TaskKey]) -> dict[TaskKey, Row]:
    """The rows of those of these tasks that are there, locked, with the truth about their holders."""
    names = padded(sorted({(digest_of(key.scope), key.id) for key in keys}))
    found = connection.execute(_ROWS_TO_WRITE_BY_KEY, {"names": names}).all()
    rows = {TaskKey(each.tenant, each.owner, each.task_id): _row(each) for each in found}
    holders = sorted({row.replica for row in rows.values() if row.replica})
    alive = set(connection.scalars(_ALL_ALIVE, {"ids": padded(holders)})) if holders else set()
    for row in rows.values():
        row.is_lost = bool(row.replica) and row.replica not in alive
    return rows


def is_alive(connection: Connection, replica_id: str) -> bool:
    """Whether a replica has a lease that nobody has ended; nobody counts as alive."""
    return not replica_id or connection.execute(_ALIVE, {"of_id": replica_id}).first() is not None


def rows_to_write(connection: Connection, pks: Iterable[int]) -> dict[int, Row]:
    """The rows of these tasks, locked."""
    if goes_together(connection.dialect):
        together = connection.execute(_ROWS_TOGETHER, {"pks": json.dumps(list(pks))}).scalar_one()
        return {values[0]: _row(values) for values in json.loads(together)}
    found = connection.execute(_ROWS_TO_WRITE, {"pks": padded(sorted(pks))}).all()
    return {row.pk: _row(row) for row in found}


def shown(
    connection: Connection, query: "Select[Any] | ReturningUpdate[Any]", names: dict[str, Any]
) -> list[tuple[TaskKey, Row]]:
    """Return the rows that a query made of ROW_TO_SHOW finds, or an update of SHOWN_COLUMNS returns, each with its key
    and the truth about its holder."""
    rows = []
    for found in connection.execute(query, names):
        row = _row(found)
        row.is_lost = bool(row.replica) and found.living is None
        rows.append((TaskKey(found.tenant, found.owner, found.task_id), row))
    return rows


def keep_row(connection: Connection, row: Row) -> None:
    """Writes all of a row that may change."""
    connection.execute(
        _KEEP_ROW,
        {
            "of_pk": row.pk,
            "new_seq": row.seq,
            "new_state": row.state,
            "new_turn": row.turn,
            "new_last_turn": row.last_turn,
            "new_attempt": row.attempt,
            "new_epoch": row.epoch,
            "new_size": row.size,
            "new_at_us": row.at_us,
            "new_replica": row.replica or None,
            "new_cancel": row.cancel,
        },
    )


def _row(found: Sequence[Any]) -> Row:
    row = Row(*found[: len(_COLUMNS)])
    row.replica = row.replica or ""  # NULL where nobody holds the task
    if isinstance(row.cancel, str):
        row.cancel = bytes.fromhex(row.cancel)
    return row


def bindings(connection: Connection, names: Iterable[tuple[Scope, str]]) -> dict[tuple[bytes, str], Binding]:
    """What these idempotency keys stand for, those that are bound."""
    asked = sorted({(digest_of(scope), key) for scope, key in names})
    if not asked:
        return {}
    return {
        (found.scope, found.key): Binding(found.fingerprint, found.task_id, found.turn, found.reply)
        for found in connection.execute(_BINDINGS, {"names": padded(asked)})
    }


def check_unbound(connection: Connection, scope: Scope, key: str) -> None:
    """Raises AlreadyBound."""
    for known in bindings(connection, [(scope, key)]).values():
        raise AlreadyBound(known)


def bind_all(connection: Connection, fresh: dict[tuple[bytes, str], Binding]) -> None:
    """Binds keys, in the order in which everybody does."""
    if fresh:
        connection.execute(
            _BIND,
            [
                {
                    "scope": scope,
                    "key": key,
                    "fingerprint": bound.fingerprint,
                    "task_id": bound.task_id,
                    "turn": bound.turn,
                    "reply": bound.reply,
                }
                for (scope, key), bound in sorted(fresh.items())
            ],
        )
