"""The transactions about messages that wait, requests to cancel, and idempotency keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from a2a_grpc.store.sql import outbox
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.rows import name_of, names_of, padded, row_to_write, rows_to_write_by_key, shown, write_claim
from a2a_grpc.store.sql.statements import coordination as statements
from a2a_grpc.store.sql.statements.tasks import NEEDING_ATTENTION, REQUEST_CANCEL, REQUEST_CANCEL_AND_SHOW
from a2a_grpc.store.values import AlreadyBound, Binding, Head, Pending, Scope, TaskKey

Bindings = dict[tuple[bytes, str], Binding]
"""Bindings by the digest of their scope and their key."""
Asked = tuple[TaskKey, bytes]
"""A request to cancel: the task and the metadata."""


class Token(NamedTuple):
    """The mark of one write, by which it finds out whether an earlier try was committed.

    Attributes:
        id: Random bytes.
        is_repeat: True if an earlier try may have been committed.
    """

    id: bytes
    is_repeat: bool


def messages(connection: Connection, key: TaskKey) -> list[Pending]:
    """Return the messages of a task that wait or are kept."""
    return [
        Pending(turn, skill, request, caller or "")
        for turn, skill, request, caller in connection.execute(statements.MESSAGES, name_of(key))
    ]


def enqueue(
    connection: Connection,
    key: TaskKey,
    message: Pending,
    replica: str,
    limit: int,
    bind: tuple[str, Binding] | None,
    token: Token,
) -> Head | None:
    row = row_to_write(connection, key)
    if row is None:
        return None
    marked = {"of_pk": row.pk, "of_token": token.id}
    if not (token.is_repeat and connection.execute(statements.MESSAGE_BY_TOKEN, marked).first()):
        was_free = not row.replica
        row.enqueue(replica, limit)
        if was_free:
            outbox.wake(connection, row.pk)
        if bind:
            _check_unbound(connection, key.scope, bind[0])
            bind_all(connection, {(digest_of(key.scope), bind[0]): bind[1]._replace(turn=row.last_turn)})
        write_claim(connection, row)
        keep(connection, [(row.pk, message._replace(turn=row.last_turn), token.id)])
    return row.head(is_lost=row.is_lost)


def keep(connection: Connection, messages: Sequence[tuple[int, Pending, bytes]]) -> None:
    """Store messages, each with the number of its task and a token."""
    columns = [{"task": pk, "scopes": "[]", "token": token, **message._asdict()} for pk, message, token in messages]
    if columns:
        connection.execute(statements.INSERT_MESSAGE, columns)


def needing_attention(connection: Connection, replica: str) -> list[tuple[TaskKey, Head]]:
    return list(shown(connection, NEEDING_ATTENTION, {"of_replica": replica}).items())


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


def bind(connection: Connection, scope: Scope, key: str, value: Binding, is_repeat: bool) -> None:
    """Bind a key. Raise AlreadyBound if it is bound, unless an earlier try may have bound it."""
    known = bound(connection, scope, key)
    if known is None:
        bind_all(connection, {(digest_of(scope), key): value})
    elif not (is_repeat and known == value):
        raise AlreadyBound(known)


def _check_unbound(connection: Connection, scope: Scope, key: str) -> None:
    """Raise AlreadyBound if a key is bound."""
    if (known := bound(connection, scope, key)) is not None:
        raise AlreadyBound(known)


def bind_all(connection: Connection, fresh: Mapping[tuple[bytes, str], Binding]) -> None:
    """Bind keys, in the order in which all transactions do."""
    rows = [{"scope": scope, "key": key, **bound._asdict()} for (scope, key), bound in sorted(fresh.items())]
    if rows:
        connection.execute(statements.BIND, rows)
