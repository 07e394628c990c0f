"""Many creates and appends in one transaction: a few statements, whatever their number."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Update, bindparam, null, select

from a2a_grpc.database.columns import now_us
from a2a_grpc.store.sql.bulk import Bulk, goes_together
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.mailbox import wait
from a2a_grpc.store.sql.row import Row
from a2a_grpc.store.sql.rows import bind_all, bindings, listed, names_of, padded, rows_to_write
from a2a_grpc.store.sql.schema import pending, record, task
from a2a_grpc.store.values import AlreadyBound, Append, Binding, Create, Pending, Record, Scope, StaleAppend, TaskKey
from a2a_grpc.store.views import Told, core_of, merged_core, tells_status, told_by

NOTHING = Told(None, False)
"""For records that bring no status."""


@dataclass(slots=True, eq=False)
class Item:
    """A create or an append with what came of it."""

    write: Create | Append
    pk: int | None = None
    """The number of the task where it is known."""
    token: bytes = b""
    """By which a message that is kept is known again."""
    is_repeat: bool = False
    """Whether an earlier try may have been committed, or met something that was there already."""
    tried: tuple[int, ...] = ()
    """The numbers under which a task may have been created."""
    outcome: int | Exception | None = None
    """What the write gives, or its error; None while nothing is decided."""
    wants_snapshot: bool = False


@dataclass(slots=True)
class _Plan:
    """What a transaction will write."""

    rows: dict[int, Row] = field(default_factory=dict)
    known: dict[tuple[bytes, str], Binding] = field(default_factory=dict)
    bindings: dict[tuple[bytes, str], Binding] = field(default_factory=dict)
    tasks: list[tuple[Any, ...]] = field(default_factory=list)
    born_ended: list[dict[str, int]] = field(default_factory=list)
    grown: dict[int, Row] = field(default_factory=dict)
    records: list[tuple[int, int, Record, int | None]] = field(default_factory=list)
    cores: list[tuple[int, Record]] = field(default_factory=list)
    waiting: list[tuple[int, Pending, bytes]] = field(default_factory=list)
    kept: dict[int, Pending] = field(default_factory=dict)
    done: list[dict[str, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def bind(self, scope: Scope, bind: tuple[str, Binding]) -> None:
        """Raises AlreadyBound."""
        name = (digest_of(scope), bind[0])
        if (known := self.bindings.get(name) or self.known.get(name)) is not None:
            raise AlreadyBound(known)
        self.bindings[name] = bind[1]


def commit(connection: Connection, items: Sequence[Item], number: Callable[[], int]) -> None:
    """Decides each item, in order, and writes those that may be; one that may not fails alone. `number` gives numbers
    for new tasks, another one each time."""
    for item in items:
        if isinstance(item.write, Create):
            item.pk = number()
            item.tried += (item.pk,)
    plan = _Plan(rows=_lock(connection, items))
    plan.known = bindings(connection, ((item.write.key.scope, item.write.bind[0]) for item in items if item.write.bind))
    for item in items:
        item.outcome = None
        try:
            if not (item.is_repeat and _was_written(connection, item)):
                if isinstance(item.write, Create):
                    _plan_create(plan, item, item.write)
                else:
                    _plan_append(plan, item, item.write)
        except (StaleAppend, AlreadyBound) as refused:
            item.outcome = refused
    _write(connection, plan)


_EXISTS = select(task.c.pk, task.c.last_turn).where(
    task.c.scope == bindparam("of_scope"), task.c.id == bindparam("of_id")
)
_WRITTEN = select(record.c.event, record.c.message, record.c.epoch).where(
    record.c.task == bindparam("of_pk"), record.c.seq == bindparam("of_seq")
)


def _lock(connection: Connection, items: Sequence[Item]) -> dict[int, Row]:
    """The rows of all tasks that are appended to."""
    appends = [item for item in items if isinstance(item.write, Append)]
    fresh = {item.write.key: item.pk for item in items if isinstance(item.write, Create)}
    for item in appends:
        if item.pk is None:
            item.pk = fresh.get(item.write.key)
        if item.pk is None and (found := connection.execute(_EXISTS, names_of(item.write.key)).first()):
            item.pk = found.pk
    pks = {item.pk for item in appends if item.pk is not None} - set(fresh.values())
    return rows_to_write(connection, (pk for pk in pks if pk is not None)) if pks else {}


def _was_written(connection: Connection, item: Item) -> bool:
    """Whether an earlier try was committed: then the task has one of its numbers; the record is there, byte for byte,
    under the claim it came with. Raises StaleAppend for a task that somebody else has created."""
    found = connection.execute(_EXISTS, names_of(item.write.key)).first()
    if found is None:
        return False
    if isinstance(item.write, Create):
        if found.pk not in item.tried:
            raise StaleAppend
        item.pk, item.outcome = found.pk, 1
        return True
    wanted = item.write.record
    written = connection.execute(_WRITTEN, {"of_pk": found.pk, "of_seq": wanted.seq}).first()
    if written is None:
        return False
    if (written[0], written[1] or b"", written[2]) != (wanted.event, wanted.message, item.write.epoch):
        return False
    item.pk, item.outcome = found.pk, found.last_turn
    return True


def _plan_create(plan: _Plan, item: Item, create: Create) -> None:
    if create.bind:
        plan.bind(create.key.scope, create.bind)
    assert item.pk is not None
    row = plan.rows[item.pk] = Row.born(item.pk, create.record, create.context_id, create.replica)
    plan.tasks.append(_born(row, create.key, core_of(create.record.event)))
    if row.has_ended:
        plan.born_ended.append({"of_pk": row.pk})
    plan.records.append((row.pk, row.epoch, create.record, told_by(create.record).messages))
    if create.pending and not row.has_ended:
        plan.waiting.append((row.pk, create.pending, item.token))
    item.outcome = row.epoch


def _plan_append(plan: _Plan, item: Item, append: Append) -> None:
    row = plan.rows.get(item.pk) if item.pk is not None else None
    if row is None:
        raise StaleAppend
    row.check_append(append)
    if append.bind:
        plan.bind(append.key.scope, append.bind)
    row.append(append)
    plan.grown[row.pk] = row
    told = told_by(append.record) if tells_status(append.record) else NOTHING
    plan.records.append((row.pk, append.epoch, append.record, told.messages))
    if told.has_metadata or (told.messages is None and tells_status(append.record)):
        plan.cores.append((row.pk, append.record))
    if row.has_ended:
        plan.ended.append(row.pk)
    elif append.done:
        plan.done.append({"of_pk": row.pk, "upto": append.done})
    if row.has_ended or append.done:
        plan.kept.pop(row.pk, None)
    elif append.keep:
        plan.kept[row.pk] = append.keep
    item.outcome = row.last_turn
    item.wants_snapshot = row.wants_snapshot


_BORN = (
    *("pk", "scope", "tenant", "owner", "id", "context_id", "seq", "state", "turn", "last_turn", "attempt", "epoch"),
    *("size", "at_us", "replica", "snapshot_seq", "snapshot_size", "core"),
)
_GROWN = ("seq", "size")
_MOVED = ("seq", "state", "turn", "last_turn", "attempt", "size", "at_us", "replica")


def _set(*columns: str) -> Update:
    return (
        task.update()
        .where(task.c.pk == bindparam("of_pk"))
        .values({name: bindparam(f"new_{name}") for name in columns})
    )


_BEAR = Bulk(task.insert().values({name: bindparam(name) for name in _BORN}), _BORN)
_GROW = Bulk(_set(*_GROWN), [*(f"new_{name}" for name in _GROWN), "of_pk"])
_MOVE = Bulk(_set(*_MOVED).values(waiting_us=null()), [*(f"new_{name}" for name in _MOVED), "of_pk"])
_WAIT = Bulk(_set(*_MOVED).values(waiting_us=now_us()), [*(f"new_{name}" for name in _MOVED), "of_pk"])
_END = Bulk(
    _set(*_MOVED).values(waiting_us=null(), cancel=null(), ended_us=now_us()),
    [*(f"new_{name}" for name in _MOVED), "of_pk"],
)
_STAMP = task.update().where(task.c.pk == bindparam("of_pk")).values(ended_us=now_us())
_ADD = Bulk(record.insert(), [column.name for column in record.c])
_CORE = select(task.c.core).where(task.c.pk == bindparam("of_pk"))
_KEEP_CORE = _set("core")
_FORGET = pending.delete().where(pending.c.task == bindparam("of_pk"), pending.c.turn <= bindparam("upto"))
_FORGET_ALL = pending.delete().where(pending.c.task.in_(bindparam("pks", expanding=True)))
_FORGET_TOGETHER = pending.delete().where(pending.c.task.in_(listed("pks")))


def _write(connection: Connection, plan: _Plan) -> None:
    _BEAR.execute(connection, plan.tasks)
    if plan.born_ended:
        connection.execute(_STAMP, plan.born_ended)
    rows = sorted(plan.grown.values(), key=lambda row: row.pk)
    _GROW.execute(connection, [(row.seq, row.size, row.pk) for row in rows if not row.is_moved])
    _MOVE.execute(connection, [_moved(row) for row in rows if row.is_moved and not (row.has_ended or row.is_waiting)])
    _WAIT.execute(connection, [_moved(row) for row in rows if row.is_moved and row.is_waiting])
    _END.execute(connection, [_moved(row) for row in rows if row.has_ended])
    _ADD.execute(connection, [_added(*added) for added in plan.records])
    for pk, added in plan.cores:
        _merge_core(connection, pk, added)
    bind_all(connection, plan.bindings)
    if plan.waiting:
        wait(connection, plan.waiting)
    if plan.done:
        connection.execute(_FORGET, plan.done)
    if plan.kept:  # it may have been kept by a write whose answer was lost
        connection.execute(_FORGET, [{"of_pk": pk, "upto": kept.turn} for pk, kept in plan.kept.items()])
        wait(connection, [(pk, kept, b"") for pk, kept in plan.kept.items()])
    if plan.ended and goes_together(connection.dialect):
        connection.execute(_FORGET_TOGETHER, {"pks": json.dumps(plan.ended)})
    elif plan.ended:
        connection.execute(_FORGET_ALL, {"pks": padded(plan.ended)})


def _merge_core(connection: Connection, pk: int, added: Record) -> None:
    """Bring the metadata of a status into the core of its task; forget the core if the record is not understood."""
    if (core := connection.scalars(_CORE, {"of_pk": pk}).first()) is not None:
        merged = merged_core(core, added) if told_by(added).has_metadata else None
        connection.execute(_KEEP_CORE, {"of_pk": pk, "new_core": merged})


def _born(row: Row, key: TaskKey, core: bytes | None) -> tuple[Any, ...]:
    return (
        *(row.pk, digest_of(key.scope), key.tenant, key.owner, key.id, row.context_id),
        *(row.seq, row.state, row.turn, row.last_turn, row.attempt, row.epoch, row.size, row.at_us),
        *(row.replica or None, 0, 0, core),
    )


def _moved(row: Row) -> tuple[Any, ...]:
    return (
        *(row.seq, row.state, row.turn, row.last_turn, row.attempt, row.size, row.at_us),
        *(row.replica or None, row.pk),
    )


def _added(pk: int, epoch: int, added: Record, messages: int | None) -> tuple[Any, ...]:
    seq, event, state, turn, at_us, message = added
    return pk, seq, event, state, turn, at_us, epoch, message or None, messages
