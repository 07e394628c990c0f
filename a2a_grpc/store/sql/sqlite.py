"""What only SQLite needs: many rows as one, and large values a MiB at a time.

The driver lets other threads run, and waits for its turn again, at each step of a statement. A row that is read is a
step, and so is a row that is written alone. Waiting takes longer than the steps. So many rows are read as one JSON
array, and written by one statement.

The driver copies a value that is bound or read in one call, and no other thread runs meanwhile. So the event loop stood
still for 40 ms while a thread read 60 MiB. A value that is opened as a blob is copied in pieces, and other threads run
between them. Only tables with row ids have blobs.

A blob is opened by a call of its own, after the statement that finds the row. To get values that fit each other, read
both in one transaction.
"""

import re
import sqlite3
from collections.abc import Iterator
from io import BytesIO
from typing import Any, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    bindparam,
    func,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from a2a_grpc.piecewise import COPIED_BYTES, joined

ROWS_TOGETHER_SINCE = (3, 38)
"""The first version of SQLite that can both update many rows by a statement (since 3.33) and read JSON."""


def goes_together(dialect: Dialect) -> bool:
    """Return True if many rows are better read, or written, as one."""
    return dialect.name == "sqlite" and (dialect.server_version_info or ()) >= ROWS_TOGETHER_SINCE


def json_numbers(name: str) -> Select[tuple[int]]:
    """Return a query for the numbers in a parameter that is a JSON array."""
    return select(literal_column("value")).select_from(func.json_each(bindparam(name)))


class _among(FunctionElement[Any]):
    type = NullType()  # a Boolean would be compared with 1
    inherit_cache = True


@compiles(_among, "sqlite")
def _among_rows(element: _among, compiler: SQLCompiler, **options: Any) -> str:
    columns, _, values = compiler.process(element.clauses, **options).partition(" IN ")
    return f"{columns} IN (SELECT * FROM {values})"  # for two VALUES or more, SQLite would read the whole table


def among(name: str, *columns: Column[Any]) -> ColumnElement[bool]:
    """Return a condition: the columns are one of the tuples of a parameter."""
    return _among(tuple_(*columns).in_(bindparam(name, expanding=True)))


def for_many_rows(text: str, width: int, count: int) -> str:
    """Return the text of an INSERT or UPDATE of one row, changed for `count` rows of `width` parameters.

    A row whose deciding parameter is NULL is skipped: the first one of an INSERT, and the one that an UPDATE finds the
    row by.
    """
    values = ", ".join([f"({', '.join('?' * width)})"] * count)
    if text.startswith("INSERT"):
        return f"{text.partition('VALUES')[0]} SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
    columns = iter(range(1, width + 1))
    setting, _, matching = re.sub(r"\?", lambda _: f"many.column{next(columns)}", text).partition(" WHERE ")
    return f"{setting} FROM (VALUES {values}) AS many WHERE {matching}"


Read: TypeAlias = bytes | int | None
"""A value that was read; or the size of one that is too large to be read in one go."""


class value_or_size(FunctionElement[Any]):
    """The value of a column; on SQLite the size of the value, if the value is large. See `whole`."""

    type = NullType()  # no type of SQLAlchemy makes bytes of the size
    inherit_cache = True


@compiles(_among)
@compiles(value_or_size)
def _clauses(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(value_or_size, "sqlite")
def _value_or_size(element: value_or_size, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    return f"CASE WHEN length({column}) > {COPIED_BYTES} THEN length({column}) ELSE {column} END"  # no value is loaded


def whole(connection: Connection, row: int, *read: tuple[Column[Any], Read]) -> bytes:
    """Return values of one row, one after the other, as one `bytes`. A value of which only the size was read is read
    here. NULL counts as empty."""
    if not any(isinstance(found, int) for _, found in read):
        return joined([found for _, found in read if isinstance(found, bytes)])
    size = sum(found if isinstance(found, int) else len(found or b"") for _, found in read)
    out = BytesIO(bytes(size))  # as in `joined`
    for column, found in read:
        for piece in _pieces(connection, row, column, found):
            out.write(piece)
    return out.getvalue()


def _pieces(connection: Connection, row: int, column: Column[Any], found: Read) -> Iterator[bytes]:
    if isinstance(found, int):
        with _open(connection, row, column, readonly=True) as blob:
            while piece := blob.read(COPIED_BYTES):
                yield piece
    elif found:
        yield found


def room_for(connection: Connection, value: bytes) -> "bytes | ColumnElement[Any]":
    """Return what to insert for a value; `fill` has to follow in the same transaction."""
    return func.zeroblob(len(value)) if _is_in_pieces(connection, value) else value


def fill(connection: Connection, row: int, column: Column[Any], value: bytes) -> None:
    """Write a value into the room that was inserted for it; nothing to do if the value was inserted itself."""
    if _is_in_pieces(connection, value):
        with _open(connection, row, column) as blob:
            for start in range(0, len(value), COPIED_BYTES):
                blob.write(memoryview(value)[start : start + COPIED_BYTES])


def _is_in_pieces(connection: Connection, value: bytes) -> bool:
    return connection.dialect.name == "sqlite" and len(value) > COPIED_BYTES


def _open(connection: Connection, row: int, column: Column[Any], *, readonly: bool = False) -> sqlite3.Blob:
    driver: Any = connection.connection.dbapi_connection
    opened: sqlite3.Blob = driver.blobopen(column.table.name, column.name, row, readonly=readonly)
    return opened
