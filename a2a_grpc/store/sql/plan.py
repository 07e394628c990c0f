"""What a transaction of many creates and appends writes, with a few statements for any number of them.

The statements of the append path are sent with the driver's own parameters. SQLAlchemy writes them, once for each
database. Its handling of the parameters of each row took more time than the rest of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Delete, Dialect
from sqlalchemy.sql.dml import UpdateBase

from a2a_grpc.store.sql import outbox
from a2a_grpc.store.sql.coordination import Bindings, bind_all, delete_messages, keep
from a2a_grpc.store.sql.keys import digest_of
from a2a_grpc.store.sql.rows import StoredRow
from a2a_grpc.store.sql.sqlite import for_many_rows, goes_together
from a2a_grpc.store.sql.statements import coordination, notes, records, tasks
from a2a_grpc.store.values import Record, Scope
from a2a_grpc.store.views import core_of, merged_core, told_by
from a2a_grpc.store.writes import AlreadyBound, Binding, Create, Pending, Push

MAX_ROWS = 64
"""The largest number of rows in one statement on SQLite."""


class Bulk:
    """An INSERT or UPDATE for many rows at once.

    Args:
        statement: The statement for one row.
        names: Its parameters, in the order in which it has them, and in which a row gives them.
    """

    def __init__(self, statement: UpdateBase, names: Sequence[str]) -> None:
        self._statement = statement
        self._names = list(names)
        self._texts: dict[tuple[str, int], str] = {}  # by dialect and number of rows

    def execute(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows of numbers, bytes and text, which need no type of SQLAlchemy."""
        if len(rows) > 1 and goes_together(connection.dialect):
            self._execute_together(connection, rows)
        elif rows:
            dialect = connection.dialect
            sent: list[Any] = list(rows)
            if not dialect.positional:
                sent = [dict(zip(self._names, row, strict=True)) for row in rows]
            connection.exec_driver_sql(self._text(dialect, 1), sent[0] if len(sent) == 1 else sent)

    def _execute_together(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Fill the rows up to a power of two with rows of NULL, which are skipped, so that few texts are prepared."""
        for start in range(0, len(rows), MAX_ROWS):
            chunk = rows[start : start + MAX_ROWS]
            count = 1 << (len(chunk) - 1).bit_length()
            nothing = (None,) * (len(self._names) * (count - len(chunk)))
            text = self._text(connection.dialect, count)
            connection.exec_driver_sql(text, (*chain.from_iterable(chunk), *nothing))

    def _text(self, dialect: Dialect, rows: int) -> str:
        text = self._texts.get((dialect.name, rows))
        if text is None:
            compiled = self._statement.compile(dialect=dialect)
            assert compiled.positiontup in (None, self._names), f"{compiled.positiontup} are not {self._names}"
            text = str(compiled) if rows == 1 else for_many_rows(str(compiled), len(self._names), rows)
            self._texts[dialect.name, rows] = text
        return text


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


@dataclass(slots=True)
class Plan:
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

    def create(self, pk: int, create: Create) -> StoredRow:
        """Plan the row of a new task."""
        row = self.rows[pk] = StoredRow.created(pk, create)
        key = create.key
        named = (pk, digest_of(key.scope), key.tenant, key.owner, key.id)
        self.created.append((*named, *_created(row), core_of(create.record.event)))
        if row.has_ended:
            self.created_ended.append(pk)
        return row

    def add(self, pk: int, epoch: int, record: Record, messages: int | None) -> None:
        seq, event, state, turn, at_us, message = record
        self.records.append((pk, seq, event, state, turn, at_us, epoch, message or None, messages))

    def write(self, connection: Connection) -> None:
        _INSERT_TASK.execute(connection, self.created)
        if self.created_ended:
            connection.execute(tasks.UPDATE_ENDED, [{"of_pk": pk} for pk in self.created_ended])
        grown = sorted(self.grown.values(), key=lambda row: row.pk)
        moved = [row for row in grown if row.has_moved]
        ended = [row for row in moved if row.has_ended]
        waiting = [row for row in moved if row.is_waiting]
        _UPDATE_SIZE.execute(connection, [_size(row) for row in grown if not row.has_moved])
        _UPDATE_STATUS.execute(connection, [_status(row) for row in moved if not (row.has_ended or row.is_waiting)])
        _UPDATE_STATUS_WAITING.execute(connection, [_status(row) for row in waiting])
        _UPDATE_STATUS_ENDED.execute(connection, [_status(row) for row in ended])
        _INSERT_RECORD.execute(connection, self.records)
        for pk, added in self.cores:
            _merge_core(connection, pk, added)
        bind_all(connection, self.bindings)
        keep(connection, self.messages)
        if self.pushes:
            outbox.insert(connection, self.pushes)
        _delete(connection, coordination.DELETE_MESSAGES, self.done)
        _delete(connection, notes.DELETE_DONE, self.noted)
        # A message to keep may be there already, from a write whose answer was lost.
        _delete(connection, coordination.DELETE_MESSAGES, [(pk, kept.turn) for pk, kept in self.kept.items()])
        keep(connection, [(pk, kept, b"") for pk, kept in self.kept.items()])
        delete_messages(connection, self.ended)


def _merge_core(connection: Connection, pk: int, added: Record) -> None:
    """Merge the metadata of a status into the core of its task. Delete the core if the record is not understood."""
    if (core := connection.scalars(tasks.CORE, {"of_pk": pk}).first()) is not None:
        merged = merged_core(core, added) if told_by(added).has_metadata else None
        connection.execute(tasks.UPDATE_CORE, {"of_pk": pk, "new_core": merged})


def _delete(connection: Connection, statement: Delete, upto: Sequence[tuple[int, int]]) -> None:
    """Delete messages or notes of tasks, each up to a turn."""
    if upto:
        connection.execute(statement, [{"of_pk": pk, "upto": turn} for pk, turn in upto])
