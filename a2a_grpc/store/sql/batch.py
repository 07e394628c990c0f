"""Many creates and appends in one transaction, with a few statements for any number of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Delete

from a2a_grpc.store.sql import outbox
from a2a_grpc.store.sql.bulk import Bulk
from a2a_grpc.store.sql.coordination import Bindings, bind_all, bindings, keep
from a2a_grpc.store.sql.keys import digest_of, name_of, padded
from a2a_grpc.store.sql.rows import StoredRow, number_of, rows_to_write
from a2a_grpc.store.sql.sqlite import goes_together
from a2a_grpc.store.sql.statements import coordination, notes, records, tasks
from a2a_grpc.store.values import AlreadyBound, Append, Binding, Create, Pending, Push, Record, Scope, StaleAppend
from a2a_grpc.store.views import Told, core_of, merged_core, tells_status, told_by

NO_STATUS = Told(None, False)
"""What is known of a record that brings no status."""


@dataclass(slots=True, eq=False)
class Item:
    """A create or an append with its outcome.

    Attributes:
        write: The create or append.
        pk: The number of the task, if it is known.
        token: The mark of a message that is kept.
        has_notes: True if there may be notes of the turns that the append is done with.
        is_repeat: True if an earlier try may have been committed, or met a conflict.
        tried: The numbers under which the task may have been created.
        outcome: The result of the write, or its error; None until it is decided.
        wants_snapshot: True if a new snapshot of the task should be stored.
    """

    write: Create | Append
    pk: int | None = None
    token: bytes = b""
    has_notes: bool = False
    is_repeat: bool = False
    tried: tuple[int, ...] = ()
    outcome: int | Exception | None = None
    wants_snapshot: bool = False


@dataclass(slots=True)
class _Plan:
    """What a transaction will write.

    Attributes:
        rows: The rows of all tasks that are written, by number.
        bound: The idempotency keys that were bound before.
        bindings: The keys to bind.
        created: The rows of new tasks, as `INSERT_TASK` takes them.
        created_ended: The numbers of new tasks that have ended.
        grown: The rows of tasks to which records are appended.
        records: The records, as `INSERT_RECORD` takes them.
        cores: Records whose metadata is merged into the cores of their tasks.
        messages: Messages to store, each with the number of its task and a token.
        pushes: Push configs to store, each with the number of its task and its cursor.
        kept: The message to keep for each task, in the place of one that may be there.
        done: Turns up to which messages are deleted, by task.
        noted: Turns up to which notes are deleted, by task.
        ended: The numbers of tasks that end.
    """

    rows: dict[int, StoredRow]
    bound: Bindings
    bindings: Bindings = field(default_factory=dict)
    created: list[tuple[Any, ...]] = field(default_factory=list)
    created_ended: list[int] = field(default_factory=list)
    grown: dict[int, StoredRow] = field(default_factory=dict)
    records: list[tuple[Any, ...]] = field(default_factory=list)
    cores: list[tuple[int, Record]] = field(default_factory=list)
    messages: list[tuple[int, Pending, bytes]] = field(default_factory=list)
    pushes: list[tuple[int, Push, int]] = field(default_factory=list)
    kept: dict[int, Pending] = field(default_factory=dict)
    done: list[tuple[int, int]] = field(default_factory=list)
    noted: list[tuple[int, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)

    def bind(self, scope: Scope, bind: tuple[str, Binding] | None) -> None:
        """Plan to bind a key, if there is one. Raise AlreadyBound if it is bound."""
        if bind is not None:
            name = (digest_of(scope), bind[0])
            if (known := self.bindings.get(name) or self.bound.get(name)) is not None:
                raise AlreadyBound(known)
            self.bindings[name] = bind[1]

    def add(self, pk: int, epoch: int, record: Record, messages: int | None) -> None:
        seq, event, state, turn, at_us, message = record
        self.records.append((pk, seq, event, state, turn, at_us, epoch, message or None, messages))


def commit(connection: Connection, items: Sequence[Item], number: Callable[[], int]) -> None:
    """Decide each item, in order, and write those that are accepted. A refused item fails alone.

    Args:
        connection: A transaction.
        items: The items. Their outcomes are set.
        number: A function that returns a number for a new task, another one at each call.
    """
    for item in items:
        if isinstance(item.write, Create):
            item.pk = number()
            item.tried += (item.pk,)
    asked = [(digest_of(item.write.key.scope), item.write.bind[0]) for item in items if item.write.bind]
    plan = _Plan(_lock(connection, items), bindings(connection, asked))
    for item in items:
        item.outcome = None
        try:
            if item.is_repeat and _was_written(connection, item):
                continue
            if isinstance(item.write, Create):
                _plan_create(plan, item, item.write)
            else:
                _plan_append(plan, item, item.write)
        except (StaleAppend, AlreadyBound) as refused:
            item.outcome = refused
    _write(connection, plan)


def _lock(connection: Connection, items: Sequence[Item]) -> dict[int, StoredRow]:
    """Find the numbers of all tasks that are appended to, and lock the rows of those that exist. Return the rows."""
    created = {item.write.key: item.pk for item in items if isinstance(item.write, Create)}
    for item in items:
        if item.pk is None:
            item.pk = created.get(item.write.key)
        if item.pk is None:
            item.pk = number_of(connection, item.write.key)
    return rows_to_write(connection, {item.pk for item in items if item.pk is not None} - set(created.values()))


def _was_written(connection: Connection, item: Item) -> bool:
    """Return True if an earlier try was committed. Then the outcome of the item is set.

    A task was created by an earlier try if it has one of the numbers of the item. A record was appended by one if the
    same bytes are there, under the same claim. Raise StaleAppend for a task that another process has created.
    """
    found = connection.execute(tasks.NUMBER_OF_TASK, name_of(item.write.key)).first()
    if found is None:
        return False
    if isinstance(item.write, Create):
        if found.pk not in item.tried:
            raise StaleAppend
        item.pk, item.outcome = found.pk, 1
        return True
    sought = item.write.record
    written = connection.execute(records.RECORD_WRITTEN, {"of_pk": found.pk, "of_seq": sought.seq}).first()
    if written is None:
        return False
    if (written[0], written[1] or b"", written[2]) != (sought.event, sought.message, item.write.epoch):
        return False
    item.pk, item.outcome = found.pk, found.last_turn
    return True


def _plan_create(plan: _Plan, item: Item, create: Create) -> None:
    key, record = create.key, create.record
    plan.bind(key.scope, create.bind)
    assert item.pk is not None
    row = plan.rows[item.pk] = StoredRow.created(item.pk, create)
    named = (row.pk, digest_of(key.scope), key.tenant, key.owner, key.id)
    plan.created.append((*named, *_created(row), core_of(record.event)))
    if row.has_ended:
        plan.created_ended.append(row.pk)
    elif create.pending:
        plan.messages.append((row.pk, create.pending, item.token))
    plan.add(row.pk, row.epoch, record, told_by(record).messages)
    plan.pushes += [(row.pk, push, 0) for push in create.pushes]
    item.outcome = row.epoch


def _plan_append(plan: _Plan, item: Item, append: Append) -> None:
    row = plan.rows.get(item.pk) if item.pk is not None else None
    if row is None:
        raise StaleAppend
    row.check_append(append)
    plan.bind(append.key.scope, append.bind)
    row.append(append)
    plan.grown[row.pk] = row
    has_status = tells_status(append.record)
    told = told_by(append.record) if has_status else NO_STATUS
    plan.add(row.pk, append.epoch, append.record, told.messages)
    if told.has_metadata or (told.messages is None and has_status):
        plan.cores.append((row.pk, append.record))
    if row.has_ended:
        plan.ended.append(row.pk)
    elif append.done:
        plan.done.append((row.pk, append.done))
        if item.has_notes:
            plan.noted.append((row.pk, append.done))
    if row.has_ended or append.done:
        plan.kept.pop(row.pk, None)
    elif append.keep:
        plan.kept[row.pk] = append.keep
    item.outcome = row.last_turn
    item.wants_snapshot = row.wants_snapshot


_created = attrgetter(*("holder" if name == "replica" else name for name in tasks.TASK_COLUMNS[5:-1]))
_size = attrgetter(*tasks.SIZE_COLUMNS, "pk")
_status = attrgetter(*("holder" if name == "replica" else name for name in tasks.STATUS_COLUMNS), "pk")
_STATUS_PARAMETERS = [*(f"new_{name}" for name in tasks.STATUS_COLUMNS), "of_pk"]
_INSERT_TASK = Bulk(tasks.INSERT_TASK, tasks.TASK_COLUMNS)
_UPDATE_SIZE = Bulk(tasks.UPDATE_SIZE, [*(f"new_{name}" for name in tasks.SIZE_COLUMNS), "of_pk"])
_UPDATE_STATUS = Bulk(tasks.UPDATE_STATUS, _STATUS_PARAMETERS)
_UPDATE_STATUS_WAITING = Bulk(tasks.UPDATE_STATUS_WAITING, _STATUS_PARAMETERS)
_UPDATE_STATUS_ENDED = Bulk(tasks.UPDATE_STATUS_ENDED, _STATUS_PARAMETERS)
_INSERT_RECORD = Bulk(records.INSERT_RECORD, records.INSERTED_COLUMNS)


def _write(connection: Connection, plan: _Plan) -> None:
    _INSERT_TASK.execute(connection, plan.created)
    if plan.created_ended:
        connection.execute(tasks.UPDATE_ENDED, [{"of_pk": pk} for pk in plan.created_ended])
    grown = sorted(plan.grown.values(), key=lambda row: row.pk)
    moved = [row for row in grown if row.has_moved]
    ended = [row for row in moved if row.has_ended]
    waiting = [row for row in moved if row.is_waiting]
    _UPDATE_SIZE.execute(connection, [_size(row) for row in grown if not row.has_moved])
    _UPDATE_STATUS.execute(connection, [_status(row) for row in moved if not (row.has_ended or row.is_waiting)])
    _UPDATE_STATUS_WAITING.execute(connection, [_status(row) for row in waiting])
    _UPDATE_STATUS_ENDED.execute(connection, [_status(row) for row in ended])
    _INSERT_RECORD.execute(connection, plan.records)
    for pk, added in plan.cores:
        _merge_core(connection, pk, added)
    bind_all(connection, plan.bindings)
    keep(connection, plan.messages)
    if plan.pushes:
        outbox.insert(connection, plan.pushes)
    _delete(connection, coordination.DELETE_MESSAGES, plan.done)
    _delete(connection, notes.DELETE_DONE, plan.noted)
    # A message to keep may be there already, from a write whose answer was lost.
    _delete(connection, coordination.DELETE_MESSAGES, [(pk, kept.turn) for pk, kept in plan.kept.items()])
    keep(connection, [(pk, kept, b"") for pk, kept in plan.kept.items()])
    if plan.ended and goes_together(connection.dialect):
        connection.execute(coordination.DELETE_MESSAGES_OF_JSON, {"pks": json.dumps(plan.ended)})
    elif plan.ended:
        connection.execute(coordination.DELETE_MESSAGES_OF, {"pks": padded(plan.ended)})


def _merge_core(connection: Connection, pk: int, added: Record) -> None:
    """Merge the metadata of a status into the core of its task. Delete the core if the record is not understood."""
    if (core := connection.scalars(tasks.CORE, {"of_pk": pk}).first()) is not None:
        merged = merged_core(core, added) if told_by(added).has_metadata else None
        connection.execute(tasks.UPDATE_CORE, {"of_pk": pk, "new_core": merged})


def _delete(connection: Connection, statement: Delete, upto: Sequence[tuple[int, int]]) -> None:
    """Delete messages or notes of tasks, each up to a turn."""
    if upto:
        connection.execute(statement, [{"of_pk": pk, "upto": turn} for pk, turn in upto])
