"""The outbox of a SQL store: push configs and their deliveries.

A transaction that locks the rows of a task and of its configs locks the row of the task first.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Update, bindparam, tuple_
from sqlalchemy.sql.dml import UpdateBase

from a2a_grpc.database.access import Access
from a2a_grpc.database.columns import Exact
from a2a_grpc.database.together import Together
from a2a_grpc.database.transactions import Use
from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then, TooManyPushes
from a2a_grpc.store.sql.keys import name_of, padded
from a2a_grpc.store.sql.rows import StoredRow, key_of, numbers_of, row_to_write, rows_to_write_by_key
from a2a_grpc.store.sql.statements import outbox as statements
from a2a_grpc.store.sql.statements.outbox import State
from a2a_grpc.store.values import TaskKey

_STATES = {Then.REST: State.ACTIVE, Then.END: State.ENDED, Then.DIE: State.DEAD}
"""The state of a config after a step that gives its claim up and does not make it due."""


class PushConfigs(Access):
    """Adds an outbox to a SQL store. `Outbox` documents the methods."""

    def __init__(self, url: str, budget_s: float) -> None:
        super().__init__(url, budget_s)
        self._steps: Together[PushStep, Then | None] = Together(
            lambda taken: self._run(Use.WRITE_UNSYNCED, steps, taken)
        )

    async def add_push(self, key: TaskKey, push: Push, *, limit: int) -> bool:
        return await self._write(_add, key, push, limit)

    async def get_push(self, key: TaskKey, id: str) -> Push | None:
        return await self._read(_get, key, id)

    async def list_pushes(self, key: TaskKey, after: str, limit: int) -> list[Push] | None:
        return await self._read(_page, key, after, limit)

    async def delete_push(self, key: TaskKey, id: str) -> bool:
        return await self._write(_change, statements.DELETE, PushName(key, id)) is not None

    async def claim_pushes(self, replica: str, limit: int) -> list[PushClaim]:
        # Looked for first, as a transaction that writes makes others wait.
        if not await self._read(_is_any_to_claim):
            return []
        return await self._write(_claim, replica, limit)

    async def claimed_pushes(self, replica: str) -> list[PushStep]:
        return await self._read(_claimed, replica)

    async def step_push(self, step: PushStep) -> Then | None:
        return await self._steps.answer_uncancelled(step)

    async def dead_pushes(self, after: PushName | None, limit: int) -> list[DeadPush]:
        return await self._read(_dead, after, limit)

    async def revive_push(self, name: PushName) -> bool:
        return bool(await self._write(_change, statements.REVIVE, name))

    async def drop_push(self, name: PushName) -> bool:
        return bool(await self._write(_change, statements.DROP, name))


# -- the transactions


def _add(connection: Connection, key: TaskKey, added: Push, limit: int) -> bool:
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
    connection.execute(statements.INSERT, [{"task": pk, "seq": seq, **one._asdict()} for pk, one, seq in added])


def wake(connection: Connection, pk: int) -> None:
    """Make the configs of a task due that rest, as the task was free and is claimed."""
    connection.execute(statements.WAKE, {"of_pk": pk})


def _get(connection: Connection, key: TaskKey, id: str) -> Push | None:
    found = connection.execute(statements.CONFIG, {**name_of(key), "of_push": id}).first()
    return _push(found) if found is not None else None


def _page(connection: Connection, key: TaskKey, after: str, limit: int) -> list[Push] | None:
    if (pk := numbers_of(connection, [key]).get(key)) is None:
        return None
    found = connection.execute(statements.CONFIGS, {"of_pk": pk, "after": after, "at_most": limit})
    return [_push(each) for each in found]


def _is_any_to_claim(connection: Connection) -> bool:
    return any(connection.execute(query).first() for query in (statements.ANY_DUE, statements.ANY_LOST))


def _claim(connection: Connection, holder: str, limit: int) -> list[PushClaim]:
    found = list(connection.execute(statements.DUE, {"at_most": limit}))
    if len(found) < limit:
        found += connection.execute(statements.LOST, {"at_most": limit - len(found)})
    if not found:
        return []
    names = padded(sorted((row.task, row.id) for row in found))
    connection.execute(statements.CLAIM, {"names": names, "of_replica": holder})
    pks = padded(sorted({row.task for row in found}))
    keys = {pk: TaskKey(*key) for pk, *key in connection.execute(statements.KEYS_OF, {"pks": pks})}
    return [
        PushClaim(PushName(keys[row.task], row.id), _push(row), row.epoch + 1, row.seq, row.attempts, row.denials)
        for row in found
        if row.task in keys  # otherwise it is being purged
    ]


def _claimed(connection: Connection, holder: str) -> list[PushStep]:
    return [
        PushStep(
            PushName(key_of(found), found.id),
            *(found.epoch, found.seq, Then.WAIT, 0.0, found.attempts, found.denials, found.error),
        )
        for found in connection.execute(statements.CLAIMED, {"of_replica": holder})
    ]


def steps(connection: Connection, taken: Sequence[PushStep]) -> dict[PushStep, Then | None]:
    """Take steps of claims, and return what happened to each claim; None for each step that is void or late."""
    resting = [step.name.key for step in taken if step.then is Then.REST]
    rows = rows_to_write_by_key(connection, resting) if resting else {}
    pks = numbers_of(connection, sorted({step.name.key for step in taken}))
    there = {(pks[step.name.key], step.name.id) for step in taken if step.name.key in pks}
    found = connection.execute(statements.HELD, {"names": padded(sorted(there))}).all() if there else ()
    held = {(pk, id): (epoch, seq) for pk, id, epoch, seq in found}
    # In this order: of two steps of one claim, the one that keeps it is the earlier one.
    changes: dict[Update, list[dict[str, Any]]] = {statements.KEEP: [], statements.WAIT: [], statements.STOP: []}
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
            changes[statements.KEEP].append(new)
            continue
        del held[pk, step.name.id]  # a later step of the same claim is void
        if then is Then.WAIT:
            changes[statements.WAIT].append({**new, "delay_us": int(step.delay_s * 1e6)})
        else:
            changes[statements.STOP].append({**new, "new_state": _STATES[then]})
    for statement, names in changes.items():
        if names:
            connection.execute(statement, names)
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


def _dead(connection: Connection, after: PushName | None, limit: int) -> list[DeadPush]:
    query, names = statements.DEAD, {"at_most": limit}
    if after is not None:
        last = tuple_(*(bindparam(None, value, Exact()) for value in (*after.key, after.id)))
        query = query.where(last < statements.FULL_NAME)
    return [
        DeadPush(
            PushName(key_of(found), found.id),
            *(_push(found), found.seq, found.attempts, found.error, found.since_us),
        )
        for found in connection.execute(query, names)
    ]


def _change(connection: Connection, statement: UpdateBase, name: PushName) -> int | None:
    """Execute a statement about one config. Return how many it found, 0 or 1; None for an unknown task."""
    if (pk := numbers_of(connection, [name.key]).get(name.key)) is None:
        return None
    return connection.execute(statement, {"of_pk": pk, "of_push": name.id}).rowcount


def _push(found: Any) -> Push:
    return Push(found.id, found.config, found.secrets, found.version)
