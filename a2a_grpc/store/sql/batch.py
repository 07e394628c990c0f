"""Many creates and appends in one transaction, with a few statements for any number of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from a2a_grpc.store.sql.coordination import bindings
from a2a_grpc.store.sql.keys import digest_of, name_of
from a2a_grpc.store.sql.plan import Plan
from a2a_grpc.store.sql.rows import StoredRow, numbers_of, rows_to_write
from a2a_grpc.store.sql.statements import records, tasks
from a2a_grpc.store.values import StoreUnavailable
from a2a_grpc.store.views import Told, tells_status, told_by
from a2a_grpc.store.writes import AlreadyBound, Append, Create, StaleAppend
from a2a_grpc.store.written import Writing

NO_STATUS = Told(None, False)
"""What is known of a record that brings no status."""


@dataclass(slots=True, eq=False)
class Item:
    """A create or an append with its outcome.

    Attributes:
        write: The create or append.
        until: The time until which it is tried, by the clock of `time.monotonic`.
        written: The future of its callers.
        pk: The number of the task, if it is known.
        token: The mark of a message that is kept.
        has_notes: True if there may be notes of the turns that the append is done with.
        is_repeat: True if an earlier try may have been committed, or met a conflict.
        tried: The numbers under which the task may have been created.
        outcome: The result of the write, or its error; None until it is decided.
        wants_snapshot: True if a new snapshot of the task should be stored.
    """

    write: Create | Append
    until: float
    written: Writing
    pk: int | None = None
    token: bytes = b""
    has_notes: bool = False
    is_repeat: bool = False
    tried: tuple[int, ...] = ()
    outcome: int | Exception | None = None
    wants_snapshot: bool = False

    def settle(self) -> None:
        """Give the callers the outcome."""
        if isinstance(self.outcome, int):
            self.written.set_result(self.outcome)
        else:
            self.written.set_exception(self.outcome or StoreUnavailable("the write was not decided"))


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
    plan = Plan(_lock(connection, items), bindings(connection, asked))
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
    plan.write(connection)


def _lock(connection: Connection, items: Sequence[Item]) -> dict[int, StoredRow]:
    """Find the numbers of all tasks that are appended to, and lock the rows of those that exist. Return the rows."""
    created = {item.write.key: item.pk for item in items if isinstance(item.write, Create) and item.pk is not None}
    unknown = {item.write.key for item in items if item.pk is None}
    pks = created | numbers_of(connection, unknown - set(created))
    for item in items:
        if item.pk is None:
            item.pk = pks.get(item.write.key)
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


def _plan_create(plan: Plan, item: Item, create: Create) -> None:
    key, record = create.key, create.record
    plan.bind(key.scope, create.bind)
    assert item.pk is not None
    row = plan.create(item.pk, create)
    if create.pending and not row.has_ended:
        plan.messages.append((row.pk, create.pending, item.token))
    plan.add(row.pk, row.epoch, record, told_by(record).messages)
    plan.pushes += [(row.pk, push, 0) for push in create.pushes]
    item.outcome = row.epoch


def _plan_append(plan: Plan, item: Item, append: Append) -> None:
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
