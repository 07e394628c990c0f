"""Rows of tables as objects of JSON, and back: bytes as Base64, all else as it is."""

import base64
import binascii
from collections.abc import Mapping, Set
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Table

from a2a_grpc.store.sql.schema import binding, note, pending, push, record, snapshot, task

PARTS: dict[str, Table] = {"pending": pending, "push": push, "note": note, "snapshot": snapshot, "record": record}
"""The tables with the parts of a task, by the kind of their lines, in the order of an export."""
TABLES: dict[str, Table] = {"task": task, **PARTS, "binding": binding}
"""The tables of a line, by its kind."""
NUMBERS = {"pk", "task"}
"""Columns with the number of a task, which each database chooses."""
MOST = (1 << 63) - 1


class RowError(ValueError):
    """An object is no row of its table. The text says why."""


def to_json(row: Mapping[str, Any], *, without: Set[str] = frozenset()) -> dict[str, Any]:
    """Return a row as an object, without the number of its task, and without columns that are NULL.

    Args:
        row: The values by column.
        without: More columns to leave out.
    """
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes | bytearray | memoryview) else value
        for name, value in row.items()
        if value is not None and name not in NUMBERS and name not in without
    }


def from_json(kind: str, said: object) -> dict[str, Any]:
    """Return the values by column of an object.

    Raises:
        RowError: A value is missing, unknown or of a wrong type.
    """
    if not isinstance(said, dict):
        raise RowError(f"'{kind}' must be an object")
    columns = {column.name: column for column in TABLES[kind].columns if column.name not in NUMBERS}
    if unknown := sorted(said.keys() - columns.keys()):
        raise RowError(f"'{kind}' has the unknown field '{unknown[0]}'")
    return {name: _value(kind, column, said.get(name)) for name, column in columns.items()}


def _value(kind: str, column: "Column[Any]", value: object) -> object:
    if value is None:
        if not column.nullable:
            raise RowError(f"'{kind}' has no field '{column.name}'")
        return None
    if isinstance(column.type, Integer):
        most = MOST if isinstance(column.type, BigInteger) else (1 << 31) - 1
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise RowError(f"'{kind}.{column.name}' must be a whole number from 0 to {most}")
        return value
    if not isinstance(value, str):
        raise RowError(f"'{kind}.{column.name}' must be a text")
    if not isinstance(column.type, LargeBinary):
        if "\0" in value or (not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value)):
            raise RowError(f"'{kind}.{column.name}' has a character that no database can store")
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise RowError(f"'{kind}.{column.name}' is not Base64") from None
