"""Statements of the append path, sent with the driver's own parameters.

SQLAlchemy writes them, once for each database. Its handling of the parameters of each row took more time than the rest
of a batch.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.dml import UpdateBase

from a2a_grpc.store.sql.sqlite import for_many_rows, goes_together

MAX_ROWS = 64
"""Rows of one statement on SQLite."""


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
