"""Statements of the append path, sent with the driver's own parameters.

SQLAlchemy writes them, once for each database; going through its handling of parameters for each row took more time
than the rest of a batch.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.dml import UpdateBase


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
            sent: Sequence[Any] = (
                rows if dialect.positional else [dict(zip(self._names, row, strict=True)) for row in rows]
            )
            connection.exec_driver_sql(text, sent[0] if len(sent) == 1 else list(sent))

    def _compile(self, dialect: Dialect) -> str:
        compiled = self._statement.compile(dialect=dialect)
        assert compiled.positiontup in (None, self._names), f"{compiled.positiontup} are not {self._names}"
        text = self._texts[dialect.name] = str(compiled)
        return text
