"""The transactions about push configs: plain functions over a connection.

A transaction that locks the rows of a task and of its configs locks the row of the task first.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, tuple_

from a2a_grpc.database.columns import Exact
from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then, TooManyPushes
from a2a_grpc.store.sql.row import StoredRow
from a2a_grpc.store.sql.rows import name_of, names_of, padded, row_to_write, rows_to_write_by_key
from a2a_grpc.store.sql.statements import outbox as statements
from a2a_grpc.store.sql.statements.outbox import State
from a2a_grpc.store.values import TaskKey

_STATES = {Then.REST: State.ACTIVE, Then.END: State.ENDED, Then.DIE: State.DEAD}
"""The state of a config after a step that gives its claim up and does not make it due."""


def add(connection: Connection, key: TaskKey, added: Push, limit: int) -> bool:
    row = row_to_write(connection, key)
    if row is None:
        return False
    name = {"of_pk": row.pk, "of_push": added.id}
    seq = row.seq - 1 if row.has_ended else row.seq
    if (former := connection.execute(statements.FORMER, name).first()) is not None:
        seq = min(seq, former.seq) if former.state == State.ACTIVE else seq
        connection.execute(statements.DELETE, name)
    elif (count := connection.execute(statements.COUNT, name).scalar_one()) >= limit:
        raise TooManyPushes(count)
    insert(connection, [(row.pk, added, seq)])
    return True


def insert(connection: Connection, added: Iterable[tuple[int, Push, int]]) -> None:
    """Add configs, each with the number of its task and its cursor."""
    connection.execute(
        statements.INSERT,
        [
            {
                "task": pk,
                "id": one.id,
                "config": one.config,
                "secrets": one.secrets,
                "version": one.version,
                "seq": seq,
            }
            for pk, one, seq in added
        ],
    )


def wake(connection: Connection, pk: int) -> None:
    """Make the configs of a task due that rest, as the task was free and is claimed."""
    connection.execute(statements.WAKE, {"of_pk": pk})


def get(connection: Connection, key: TaskKey, id: str) -> Push | None:
    found = connection.execute(statements.CONFIG, {**name_of(key), "of_push": id}).first()
    return _push(found) if found is not None else None


def page(connection: Connection, key: TaskKey, after: str, limit: int) -> list[Push] | None:
    pk = connection.scalars(statements.NUMBER, name_of(key)).first()
    if pk is None:
        return None
    found = connection.execute(statements.CONFIGS, {"of_pk": pk, "after": after, "at_most": limit})
    return [_push(each) for each in found]


def delete(connection: Connection, key: TaskKey, id: str) -> bool:
    pk = connection.scalars(statements.NUMBER, name_of(key)).first()
    if pk is None:
        return False
    connection.execute(statements.DELETE, {"of_pk": pk, "of_push": id})
    return True


def is_any_to_claim(connection: Connection) -> bool:
    return any(connection.execute(query).first() for query in (statements.ANY_DUE, statements.ANY_LOST))


def claim(connection: Connection, holder: str, limit: int) -> list[PushClaim]:
    found = list(connection.execute(statements.DUE, {"at_most": limit}))
    if len(found) < limit:
        found += connection.execute(statements.LOST, {"at_most": limit - len(found)})
    if not found:
        return []
    names = padded(sorted((row.task, row.id) for row in found))
    connection.execute(statements.CLAIM, {"names": names, "of_replica": holder})
    keys = {
        pk: TaskKey(*key)
        for pk, *key in connection.execute(statements.KEYS_OF, {"pks": padded(sorted({row.task for row in found}))})
    }
    return [
        PushClaim(PushName(keys[row.task], row.id), _push(row), row.epoch + 1, row.seq, row.attempts, row.denials)
        for row in found
        if row.task in keys  # otherwise it is being purged
    ]


def claimed(connection: Connection, holder: str) -> list[PushStep]:
    return [
        PushStep(
            PushName(TaskKey(found.tenant, found.owner, found.task_id), found.id),
            *(found.epoch, found.seq, Then.WAIT, 0.0, found.attempts, found.denials, found.error),
        )
        for found in connection.execute(statements.CLAIMED, {"of_replica": holder})
    ]


def steps(connection: Connection, taken: Sequence[PushStep]) -> dict[PushStep, Then | None]:
    """Take steps of claims, and return what happened to each claim; None for each step that is void or late."""
    resting = [step.name.key for step in taken if step.then is Then.REST]
    rows = rows_to_write_by_key(connection, resting) if resting else {}
    names = names_of(sorted({step.name.key for step in taken}))
    pks = {TaskKey(*key): pk for pk, *key in connection.execute(statements.NUMBERS, names)}
    there = {(pks[step.name.key], step.name.id) for step in taken if step.name.key in pks}
    found = connection.execute(statements.HELD, {"names": padded(sorted(there))}).all() if there else ()
    held = {(pk, id): (epoch, seq) for pk, id, epoch, seq in found}
    keep: list[dict[str, Any]] = []
    wait: list[dict[str, Any]] = []
    stop: list[dict[str, Any]] = []
    outcomes: dict[PushStep, Then | None] = dict.fromkeys(taken)
    for step in taken:
        pk = pks.get(step.name.key, 0)
        epoch, seq = held.get((pk, step.name.id), (0, 0))
        if epoch != step.epoch or step.seq < seq:
            continue
        new = {
            "of_pk": pk,
            "of_push": step.name.id,
            "new_seq": step.seq,
            "new_attempts": step.attempts,
            "new_denials": step.denials,
            "new_error": step.error,
        }
        outcomes[step] = then = _after(step, rows.get(step.name.key))
        if then is Then.KEEP:
            held[pk, step.name.id] = epoch, step.seq
            keep.append(new)
            continue
        del held[pk, step.name.id]  # a later step of the same claim is void
        if then is Then.WAIT:
            wait.append({**new, "delay_us": int(step.delay_s * 1e6)})
        else:
            stop.append({**new, "new_state": _STATES[then]})
    for statement, rows_ in ((statements.KEEP, keep), (statements.WAIT, wait), (statements.STOP, stop)):
        if rows_:
            connection.execute(statement, rows_)
    return outcomes


def _after(step: PushStep, row: StoredRow | None) -> Then:
    """Return what happens to a claim, once the row of the task is read for a config that is to rest."""
    if step.then is not Then.REST:
        return step.then
    if row is None or row.seq > step.seq:
        return Then.KEEP
    if row.has_ended:
        return Then.END
    return Then.KEEP if row.replica else Then.REST


def dead(connection: Connection, after: PushName | None, limit: int) -> list[DeadPush]:
    query, names = statements.DEAD, {"at_most": limit}
    if after is not None:
        last = tuple_(*(bindparam(None, value, Exact()) for value in (*after.key, after.id)))
        query = query.where(last < statements.FULL_NAME)
    return [
        DeadPush(
            PushName(TaskKey(found.tenant, found.owner, found.task_id), found.id),
            *(_push(found), found.seq, found.attempts, found.error, found.since_us),
        )
        for found in connection.execute(query, names)
    ]


def revive(connection: Connection, name: PushName) -> bool:
    return _change(connection, statements.REVIVE, name)


def drop(connection: Connection, name: PushName) -> bool:
    return _change(connection, statements.DROP, name)


def _change(connection: Connection, statement: Any, name: PushName) -> bool:
    """Execute a statement about one config. Return True if it was there as the statement wants it."""
    pk = connection.scalars(statements.NUMBER, name_of(name.key)).first()
    return pk is not None and connection.execute(statement, {"of_pk": pk, "of_push": name.id}).rowcount == 1


def _push(found: Any) -> Push:
    return Push(found.id, found.config, found.secrets, found.version)
