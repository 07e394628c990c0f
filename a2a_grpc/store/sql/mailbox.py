"""The transactions of the store about one task, one key or one replica: plain functions over a connection."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, case, func, select, tuple_

from a2a_grpc.database.columns import now_us
from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.rows import (
    ROW_TO_SHOW,
    SHOWN_COLUMNS,
    bind_all,
    bindings,
    check_unbound,
    is_alive,
    keep_row,
    names_of,
    padded,
    row_to_write,
    rows_to_write_by_key,
    shown,
)
from a2a_grpc.store.sql.schema import pending, record, replica, task
from a2a_grpc.store.values import AlreadyBound, Binding, Head, Pending, Record, Scope, TaskKey

READ_COLUMNS = (record.c.seq, record.c.event, record.c.state, record.c.turn, record.c.at_us, record.c.message)

_BY_KEY = and_(task.c.scope == bindparam("of_scope"), task.c.id == bindparam("of_id"))
_READ = (
    select(*READ_COLUMNS)
    .select_from(
        # The log has no gaps: the bound on seq serves as the limit, and needs no sort.
        task.outerjoin(
            record,
            and_(record.c.task == task.c.pk, record.c.seq > bindparam("after"), record.c.seq <= bindparam("upto")),
        )
    )
    .where(_BY_KEY)
    .order_by(record.c.seq)
)
_RECORDS = (
    select(*READ_COLUMNS)
    .where(record.c.task == bindparam("of_pk"), record.c.seq > bindparam("after"), record.c.seq <= bindparam("upto"))
    .order_by(record.c.seq)
)
_PENDING = (
    select(pending.c.turn, pending.c.skill, pending.c.request, pending.c.caller)
    .select_from(pending.join(task, task.c.pk == pending.c.task))
    .where(_BY_KEY)
    .order_by(pending.c.turn)
)
_TOKEN = select(pending.c.turn).where(pending.c.task == bindparam("of_pk"), pending.c.token == bindparam("of_token"))
_SEQS_BY_PK = select(task.c.pk, task.c.seq).where(task.c.pk.in_(bindparam("pks", expanding=True)))
_BY_KEYS = tuple_(task.c.scope, task.c.id).in_(bindparam("names", expanding=True))
_SEQS_BY_KEY = select(task.c.pk, task.c.seq, task.c.scope, task.c.id).where(_BY_KEYS)
_LOST = (
    select(task.c.tenant, task.c.owner, task.c.id)
    .select_from(task.outerjoin(replica, replica.c.id == task.c.replica))
    .where(task.c.replica.is_not(None), replica.c.id.is_(None))
    .limit(bindparam("at_most"))
)
_HELD = (
    select(task.c.tenant, task.c.owner, task.c.id).where(task.c.replica == bindparam("of_replica")).order_by(task.c.pk)
)
_HEADS = ROW_TO_SHOW.where(_BY_KEYS)
_WANTED = ROW_TO_SHOW.where(
    task.c.replica == bindparam("of_replica"),
    task.c.cancel.is_not(None) | (task.c.last_turn > task.c.turn),
)
WAITING_LONGER = (
    select(task.c.tenant, task.c.owner, task.c.id)
    .where(
        task.c.waiting_us.is_not(None),
        task.c.waiting_us < now_us() - bindparam("age_us"),
        task.c.last_turn == task.c.turn,
    )
    .order_by(task.c.waiting_us)
    .limit(bindparam("at_most"))
)
COUNT_WAITING = select(func.count()).select_from(task).where(task.c.waiting_us.is_not(None))
_LOCKED = select(task.c.pk).where(_BY_KEYS).order_by(task.c.pk).with_for_update().cte("locked")
_IS_ASKED_NOW = and_(task.c.state.not_in(sorted(TERMINAL)), task.c.cancel.is_(None))
_ASK_AND_SHOW = (
    task.update()
    .where(task.c.pk == _LOCKED.c.pk)
    .values(cancel=case((_IS_ASKED_NOW, bindparam("new_cancel")), else_=task.c.cancel))
    .returning(*SHOWN_COLUMNS)
)
"""For PostgreSQL: leaves requests to cancel, all with the same metadata, and shows the rows."""
_ASK = task.update().where(task.c.pk.in_(bindparam("pks", expanding=True))).values(cancel=bindparam("new_cancel"))
_LEASE = now_us() + bindparam("lease_us")
_THIS = replica.c.id == bindparam("of_id")
_LAPSED = replica.c.lease_until_us < now_us()


class Token(NamedTuple):
    """Names one write, so that a repeated one is recognised."""

    id: bytes
    is_repeat: bool
    """Whether an earlier try may have been committed."""


# -- reading


def read(connection: Connection, key: TaskKey, after: int, limit: int) -> list[Record] | None:
    found = connection.execute(_READ, {**names_of(key), "after": after, "upto": after + limit}).all()
    if not found:
        return None
    return [record_of(row) for row in found if row[0] is not None]


def record_of(row: Any) -> Record:
    """A record from READ_COLUMNS."""
    return Record(row[0], row[1], row[2], row[3], row[4], row[5] or b"")


def records(connection: Connection, pk: int, after: int, upto: int) -> list[Record]:
    return [record_of(row) for row in connection.execute(_RECORDS, {"of_pk": pk, "after": after, "upto": upto})]


def heads(connection: Connection, keys: Sequence[TaskKey]) -> dict[TaskKey, Head | None]:
    """The rows of tasks; None for each unknown one."""
    names = padded([(digest_of(key.scope), key.id) for key in keys])
    return dict.fromkeys(keys) | {key: row.head for key, row in shown(connection, _HEADS, {"names": names})}


def waiting(connection: Connection, key: TaskKey) -> list[Pending]:
    return [
        Pending(found.turn, found.skill, found.request, found.caller or "")
        for found in connection.execute(_PENDING, names_of(key))
    ]


def seqs(connection: Connection, pks: Sequence[int], keys: Sequence[TaskKey]) -> tuple[dict[int, int], dict[Any, Any]]:
    """The last seqs by number; and by scope and id, with the number."""
    by_pk: dict[int, int] = {}
    by_name: dict[Any, Any] = {}
    if pks:
        by_pk = {found[0]: found[1] for found in connection.execute(_SEQS_BY_PK, {"pks": padded(pks)})}
    if keys:
        names = padded([(digest_of(key.scope), key.id) for key in keys])
        by_name = {
            (found.scope, found.id): (found.pk, found.seq)
            for found in connection.execute(_SEQS_BY_KEY, {"names": names})
        }
    return by_pk, by_name


def bound(connection: Connection, scope: Scope, key: str) -> Binding | None:
    return next(iter(bindings(connection, [(scope, key)]).values()), None)


# -- one task


def enqueue(
    connection: Connection,
    key: TaskKey,
    message: Pending,
    holder: str,
    limit: int,
    bind: tuple[str, Binding] | None,
    token: Token,
) -> Head | None:
    row = row_to_write(connection, key)
    if row is None:
        return None
    if token.is_repeat and connection.execute(_TOKEN, {"of_pk": row.pk, "of_token": token.id}).first():
        return row.head
    row.enqueue(holder, limit)
    if bind:
        check_unbound(connection, key.scope, bind[0])
        bind_all(connection, {(digest_of(key.scope), bind[0]): bind[1]._replace(turn=row.last_turn)})
    keep_row(connection, row)
    wait(connection, [(row.pk, message._replace(turn=row.last_turn), token.id)])
    return row.head


def wait(connection: Connection, messages: Sequence[tuple[int, Pending, bytes]]) -> None:
    """Keeps messages, each with its task's number and a token."""
    connection.execute(
        pending.insert(),
        [
            {
                "task": pk,
                "turn": message.turn,
                "skill": message.skill,
                "request": message.request,
                "scopes": "[]",
                "caller": message.caller,
                "token": token,
            }
            for pk, message, token in messages
        ],
    )


def claim(connection: Connection, key: TaskKey, holder: str, force: bool) -> Head | None:
    row = row_to_write(connection, key)
    if row is None:
        return None
    if row.claim(holder, force=force):
        row.is_lost = not is_alive(connection, holder)
        keep_row(connection, row)
    return row.head


def release(connection: Connection, key: TaskKey, epoch: int) -> None:
    row = row_to_write(connection, key)
    if row is not None and row.epoch == epoch and row.last_turn == row.turn and row.replica:
        row.replica = ""
        keep_row(connection, row)


def ask_cancels(
    connection: Connection, asked: Sequence[tuple[TaskKey, bytes]]
) -> dict[tuple[TaskKey, bytes], Head | None]:
    """Leave requests to cancel, each a task's key and its metadata. The rows after that; None for each unknown task.

    On PostgreSQL each statement may be committed by itself: one statement serves all requests with the same metadata.
    """
    if connection.dialect.name == "postgresql":
        return _ask_and_show(connection, asked)
    rows = rows_to_write_by_key(connection, [key for key, _ in asked])
    left: dict[bytes, list[int]] = {}
    for key, metadata in asked:
        row = rows.get(key)
        if row is not None and not row.has_ended and row.cancel is None:
            row.cancel = metadata
            left.setdefault(metadata, []).append(row.pk)
    for metadata, pks in left.items():
        connection.execute(_ASK, {"pks": padded(pks), "new_cancel": metadata})
    return {(key, metadata): rows[key].head if key in rows else None for key, metadata in asked}


def _ask_and_show(
    connection: Connection, asked: Sequence[tuple[TaskKey, bytes]]
) -> dict[tuple[TaskKey, bytes], Head | None]:
    heads: dict[TaskKey, Head] = {}
    for new_cancel in {metadata for _, metadata in asked}:
        names = padded(sorted((digest_of(key.scope), key.id) for key, metadata in asked if metadata == new_cancel))
        found = shown(connection, _ASK_AND_SHOW, {"names": names, "new_cancel": new_cancel})
        heads |= {key: row.head for key, row in found}
    return {(key, metadata): heads.get(key) for key, metadata in asked}


def bind(connection: Connection, scope: Scope, key: str, value: Binding, is_repeat: bool) -> None:
    known = bound(connection, scope, key)
    if known is None:
        bind_all(connection, {(digest_of(scope), key): value})
    elif not (is_repeat and known == value):
        raise AlreadyBound(known)


# -- replicas


def join(connection: Connection, holder: str, lease_s: float) -> None:
    connection.execute(replica.delete().where(_THIS), {"of_id": holder})
    connection.execute(replica.insert().values(id=holder, lease_until_us=now_us() + int(lease_s * 1e6)))


def renew(connection: Connection, holder: str, lease_s: float) -> tuple[bool, list[str]]:
    """Return whether the replica is alive, with the replicas that are to be declared dead: those whose lease has
    lapsed. There are none if the caller's lease had lapsed too: then the database was away, most likely, and the others
    renew in a moment."""
    was_late = connection.scalar(select(replica.c.id).where(_THIS, _LAPSED), {"of_id": holder}) is not None
    extend = replica.update().where(_THIS).values(lease_until_us=_LEASE)
    if not connection.execute(extend, {"of_id": holder, "lease_us": int(lease_s * 1e6)}).rowcount:
        return False, []
    if was_late:
        return True, []
    return True, list(connection.scalars(select(replica.c.id).where(_LAPSED, replica.c.id != holder)))


def bury(connection: Connection, holders: Sequence[str]) -> None:
    """Declares replicas dead that have not renewed their lease by now. In a transaction of its own: who has just
    renewed must not wait, with its own row locked, for another that does the same."""
    for holder in sorted(holders):
        connection.execute(replica.delete().where(_THIS, _LAPSED), {"of_id": holder})


def leave(connection: Connection, holder: str) -> None:
    connection.execute(replica.delete().where(_THIS), {"of_id": holder})


def lost(connection: Connection, limit: int) -> list[TaskKey]:
    return [TaskKey(*found) for found in connection.execute(_LOST, {"at_most": limit})]


def held(connection: Connection, holder: str) -> list[TaskKey]:
    return [TaskKey(*found) for found in connection.execute(_HELD, {"of_replica": holder})]


def waiting_longer(connection: Connection, than_s: float, limit: int) -> list[TaskKey]:
    ages = {"age_us": int(than_s * 1e6), "at_most": limit}
    return [TaskKey(*found) for found in connection.execute(WAITING_LONGER, ages)]


def count_waiting(connection: Connection) -> int:
    return connection.execute(COUNT_WAITING).scalar_one()


def wanted(connection: Connection, holder: str) -> list[tuple[TaskKey, Head]]:
    return [(key, row.head) for key, row in shown(connection, _WANTED, {"of_replica": holder})]


def ping(connection: Connection) -> None:
    """Writes nothing, in a transaction that could."""
    connection.execute(replica.delete().where(_THIS), {"of_id": ""})
