"""The transactions about replicas, claims, messages that wait, requests to cancel, and idempotency keys."""

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from a2a_grpc.store.sql import outbox
from a2a_grpc.store.sql.keys import digest_of, name_of, names_of, padded
from a2a_grpc.store.sql.rows import alive_among, row_to_write, rows_to_write_by_key, shown, write_claim
from a2a_grpc.store.sql.sqlite import goes_together
from a2a_grpc.store.sql.statements import coordination as statements
from a2a_grpc.store.sql.statements.tasks import REQUEST_CANCEL, REQUEST_CANCEL_AND_SHOW
from a2a_grpc.store.values import Head, Scope, TaskKey
from a2a_grpc.store.writes import AlreadyBound, Binding, Pending

Bindings = dict[tuple[bytes, str], Binding]
"""Bindings by the digest of their scope and their key."""
Asked = tuple[TaskKey, bytes]
"""A request to cancel: the task and the metadata."""

# -- replicas, and the agent


def join(connection: Connection, replica: str, lease_s: float) -> None:
    leave(connection, replica)
    connection.execute(statements.INSERT_REPLICA, {"of_id": replica, "lease_us": int(lease_s * 1e6)})


def renew(connection: Connection, replica: str, lease_s: float) -> tuple[bool, list[str]]:
    """Extend a lease. Return whether the replica is alive, and the replicas whose leases are over.

    None are returned if the lease of the caller was over, too: the database was probably away, and the others are
    about to renew theirs.
    """
    was_late = connection.scalar(statements.IS_LATE, {"of_id": replica}) is not None
    if not connection.execute(statements.RENEW, {"of_id": replica, "lease_us": int(lease_s * 1e6)}).rowcount:
        return False, []
    return True, [] if was_late else list(connection.scalars(statements.OTHERS_LAPSED, {"of_id": replica}))


def expire(connection: Connection, replicas: Sequence[str]) -> None:
    """Declare replicas dead that have not renewed their leases by now.

    This is a transaction of its own. Otherwise a replica that has just renewed would wait, with its own row locked, for
    another one that does the same.
    """
    for replica in sorted(replicas):
        connection.execute(statements.EXPIRE, {"of_id": replica})


def leave(connection: Connection, replica: str) -> None:
    connection.execute(statements.DELETE_REPLICA, {"of_id": replica})


def ping(connection: Connection) -> None:
    """Write nothing, in a transaction that could write."""
    leave(connection, "")


def agent_name(connection: Connection) -> str:
    """Return the name of the agent whose tasks these are; "" if none is kept."""
    return connection.scalars(statements.AGENT_NAME).first() or ""


def belong_to(connection: Connection, name: str) -> str:
    """Keep the name of the agent if none is kept. Return the name that is kept.

    Of two agents that come at the same time, one meets a conflict, and reads the name of the other at its next try.
    """
    kept = agent_name(connection)
    if not kept:
        connection.execute(statements.INSERT_AGENT, {"name": name})
    return kept or name


def rename(connection: Connection, name: str) -> str:
    """Keep another name of the agent. Return the name that was kept before; "" if there was none."""
    before: str | None = connection.scalars(statements.AGENT_NAME.with_for_update()).first()
    connection.execute(statements.INSERT_AGENT if before is None else statements.UPDATE_AGENT, {"name": name})
    return before or ""


# -- claims


def claim(connection: Connection, key: TaskKey, replica: str, force: bool) -> Head | None:
    row = row_to_write(connection, key)
    if row is None:
        return None
    was_free = not row.replica
    if row.claim(replica, force=force):
        if was_free:
            outbox.wake(connection, row.pk)
        row.is_lost = not alive_among(connection, [replica])
        write_claim(connection, row)
    return row.head(is_lost=row.is_lost)


def release(connection: Connection, key: TaskKey, epoch: int) -> None:
    row = row_to_write(connection, key)
    if row is not None and row.epoch == epoch and row.last_turn == row.turn and row.replica:
        row.replica = ""
        write_claim(connection, row)


# -- messages, and requests to cancel


def messages(connection: Connection, key: TaskKey) -> list[Pending]:
    """Return the messages of a task that wait or are kept."""
    return [
        Pending(turn, skill, request, caller or "")
        for turn, skill, request, caller in connection.execute(statements.MESSAGES, name_of(key))
    ]


def enqueue(
    connection: Connection,
    is_repeat: bool,
    key: TaskKey,
    message: Pending,
    replica: str,
    limit: int,
    binding: tuple[str, Binding] | None,
    token: bytes,
) -> Head | None:
    """Add a message. `token` marks it, so that a repeat finds out whether an earlier try was committed."""
    row = row_to_write(connection, key)
    if row is None:
        return None
    marked = {"of_pk": row.pk, "of_token": token}
    if not (is_repeat and connection.execute(statements.MESSAGE_BY_TOKEN, marked).first()):
        was_free = not row.replica
        row.enqueue(replica, limit)
        if was_free:
            outbox.wake(connection, row.pk)
        if binding:
            bind(connection, False, key.scope, binding[0], binding[1]._replace(turn=row.last_turn))
        write_claim(connection, row)
        keep(connection, [(row.pk, message._replace(turn=row.last_turn), token)])
    return row.head(is_lost=row.is_lost)


def keep(connection: Connection, messages: Sequence[tuple[int, Pending, bytes]]) -> None:
    """Store messages, each with the number of its task and a token."""
    columns = [{"task": pk, "scopes": "[]", "token": token, **message._asdict()} for pk, message, token in messages]
    if columns:
        connection.execute(statements.INSERT_MESSAGE, columns)


def delete_messages(connection: Connection, pks: Sequence[int]) -> None:
    """Delete all messages of tasks."""
    if pks and goes_together(connection.dialect):
        connection.execute(statements.DELETE_MESSAGES_OF_JSON, {"pks": json.dumps(pks)})
    elif pks:
        connection.execute(statements.DELETE_MESSAGES_OF, {"pks": padded(pks)})


def request_cancels(connection: Connection, asked: Sequence[Asked]) -> dict[Asked, Head | None]:
    """Leave requests to cancel. Return the rows after that; None for each unknown task.

    On PostgreSQL each statement may be committed by itself, so one statement serves all requests with the same
    metadata.
    """
    if connection.dialect.name == "postgresql":
        return _request_and_show(connection, asked)
    rows = rows_to_write_by_key(connection, [key for key, _ in asked])
    left: dict[bytes, list[int]] = {}
    for key, metadata in asked:
        row = rows.get(key)
        if row is not None and not row.has_ended and row.cancel is None:
            row.cancel = metadata
            left.setdefault(metadata, []).append(row.pk)
    for metadata, pks in left.items():
        connection.execute(REQUEST_CANCEL, {"pks": padded(pks), "new_cancel": metadata})
    heads = {key: row.head(is_lost=row.is_lost) for key, row in rows.items()}
    return {(key, metadata): heads.get(key) for key, metadata in asked}


def _request_and_show(connection: Connection, asked: Sequence[Asked]) -> dict[Asked, Head | None]:
    heads: dict[TaskKey, Head] = {}
    for new_cancel in {metadata for _, metadata in asked}:
        names = names_of(sorted(key for key, metadata in asked if metadata == new_cancel))
        heads |= shown(connection, REQUEST_CANCEL_AND_SHOW, {**names, "new_cancel": new_cancel})
    return {(key, metadata): heads.get(key) for key, metadata in asked}


# -- idempotency keys


def bindings(connection: Connection, names: Iterable[tuple[bytes, str]]) -> Bindings:
    """Return the bindings of those of some idempotency keys that are bound. Each is named as in `Bindings`."""
    asked = sorted(set(names))
    if not asked:
        return {}
    found = connection.execute(statements.BINDINGS, {"names": padded(asked)})
    return {(scope, key): Binding(*bound) for scope, key, *bound in found}


def bound(connection: Connection, scope: Scope, key: str) -> Binding | None:
    return next(iter(bindings(connection, [(digest_of(scope), key)]).values()), None)


def bind(connection: Connection, is_repeat: bool, scope: Scope, key: str, value: Binding) -> None:
    """Bind a key. Raise AlreadyBound if it is bound, unless an earlier try may have bound it."""
    known = bound(connection, scope, key)
    if known is None:
        bind_all(connection, {(digest_of(scope), key): value})
    elif not (is_repeat and known == value):
        raise AlreadyBound(known)


def bind_all(connection: Connection, fresh: Mapping[tuple[bytes, str], Binding]) -> None:
    """Bind keys, in the order in which all transactions do."""
    rows = [{"scope": scope, "key": key, **bound._asdict()} for (scope, key), bound in sorted(fresh.items())]
    if rows:
        connection.execute(statements.BIND, rows)
