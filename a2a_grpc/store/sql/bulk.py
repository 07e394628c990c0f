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

UPDATE_FROM_SINCE = (3, 33)
"""The version of SQLite from which on it can update many rows by a statement."""


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
            if len(rows) > 1 and self._goes_together(dialect):
                self._execute_together(connection, text, rows)
                return
            sent: Sequence[Any] = (
                rows if dialect.positional else [dict(zip(self._names, row, strict=True)) for row in rows]
            )
            connection.exec_driver_sql(text, sent[0] if len(sent) == 1 else list(sent))

    def _goes_together(self, dialect: Dialect) -> bool:
        """Whether there is a statement for many rows; where there is not, the driver sends the one for each."""
        is_recent = (dialect.server_version_info or ()) >= UPDATE_FROM_SINCE
        return dialect.name == "sqlite" and (self._statement.is_insert or is_recent)

    def _execute_together(self, connection: Connection, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Writes many rows by a statement, in numbers that are powers of two, so that a few statements are prepared.

        SQLite's driver lets other threads run, and waits for its turn again, at each step: row by row that takes longer
        than the steps.
        """
        start = 0
        while start < len(rows):
            count = min(MAX_ROWS, 1 << (len(rows) - start).bit_length() - 1)
            chunk = rows[start : start + count]
            together = self._texts.get(f"sqlite {count}") or self._for_many(text, count)
            connection.exec_driver_sql(together, tuple(chain.from_iterable(chunk)))
            start += count

    def _for_many(self, text: str, count: int) -> str:
        """The statement for so many rows, as SQLite has it."""
        if self._statement.is_insert:
            values = text.partition("VALUES")[2]
            together = text + f",{values}" * (count - 1)
        else:
            columns = iter(range(1, len(self._names) + 1))
            setting, _, matching = re.sub(r"\?", lambda _: f"many.column{next(columns)}", text).partition(" WHERE ")
            values = ", ".join([f"({', '.join('?' * len(self._names))})"] * count)
            together = f"{setting} FROM (VALUES {values}) AS many WHERE {matching}"
        self._texts[f"sqlite {count}"] = together
        return together

    def _compile(self, dialect: Dialect) -> str:
        compiled = self._statement.compile(dialect=dialect)
        assert compiled.positiontup in (None, self._names), f"{compiled.positiontup} are not {self._names}"
        text = self._texts[dialect.name] = str(compiled)
        return text
