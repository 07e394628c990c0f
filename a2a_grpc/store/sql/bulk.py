"""Statements of the append path, sent with the driver's own parameters.

SQLAlchemy writes them, once for each database; going through its handling of parameters for each row took more time
than the rest of a batch.
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.dml import UpdateBase

MAX_ROWS = 64
"""Of one statement."""

ROW_BY_ROW_BEFORE = (3, 38)
"""The version of SQLite that has both what it takes to update many rows by a statement (since 3.33) and JSON."""


def goes_together(dialect: Dialect) -> bool:
    """Whether many rows are better read, or written, as one.

    SQLite's driver lets other threads run, and waits for its turn again, at each step of a statement. A row that is
    read is a step, as is one that is written alone; waiting takes longer than the steps.
    """
    return dialect.name == "sqlite" and (dialect.server_version_info or ()) >= ROW_BY_ROW_BEFORE


class Bulk:
    """An INSERT or UPDATE for many rows at once."""

    def __init__(self, statement: UpdateBase, names: Sequence[str]) -> None:
        """`names` are those of the parameters in the order in which a row gives them, and the statement has them."""
        self._statement = statement
        self._names = list(names)
        self._texts: dict[str, str] = {}

    def execute(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Numbers, bytes and text only: no type of SQLAlchemy's changes them on the way."""
        if rows:
            dialect = connection.dialect
            text = self._texts.get(dialect.name) or self._compile(dialect)
            if len(rows) > 1 and goes_together(dialect):
                self._execute_together(connection, text, rows)
                return
            sent: Sequence[Any] = (
                rows if dialect.positional else [dict(zip(self._names, row, strict=True)) for row in rows]
            )
            connection.exec_driver_sql(text, sent[0] if len(sent) == 1 else list(sent))

    def _execute_together(self, connection: Connection, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Writes many rows by a statement. They are filled up to a power of two, with rows of NULL that count for
        nothing: so a few statements are prepared, whatever the number of rows."""
        for start in range(0, len(rows), MAX_ROWS):
            chunk = rows[start : start + MAX_ROWS]
            count = 1 << (len(chunk) - 1).bit_length()
            together = self._texts.get(f"sqlite {count}") or self._for_many(text, count)
            nothing = (None,) * (len(self._names) * (count - len(chunk)))
            connection.exec_driver_sql(together, (*chain.from_iterable(chunk), *nothing))

    def _for_many(self, text: str, count: int) -> str:
        """The statement for so many rows, as SQLite has it. A row is there if its first value is, for an INSERT, or the
        one that it is found by."""
        values = ", ".join([f"({', '.join('?' * len(self._names))})"] * count)
        if self._statement.is_insert:
            inserting = text.partition("VALUES")[0]
            together = f"{inserting} SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"
        else:
            columns = iter(range(1, len(self._names) + 1))
            setting, _, matching = re.sub(r"\?", lambda _: f"many.column{next(columns)}", text).partition(" WHERE ")
            together = f"{setting} FROM (VALUES {values}) AS many WHERE {matching}"
        self._texts[f"sqlite {count}"] = together
        return together

    def _compile(self, dialect: Dialect) -> str:
        compiled = self._statement.compile(dialect=dialect)
        assert compiled.positiontup in (None, self._names), f"{compiled.positiontup} are not {self._names}"
        text = self._texts[dialect.name] = str(compiled)
        return text
