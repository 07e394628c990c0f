"""Types of columns that are the same on all databases, and the time of the database."""

from typing import Any

from sqlalchemy import BIGINT, INTEGER, BigInteger, Dialect, LargeBinary, Text, TypeDecorator
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from a2a_grpc.database.clock import FUNCTION


class Exact(TypeDecorator[str]):
    """Text of up to 256 characters that fits an index. It is exact to the last space and ordered by code point.

    MySQL stores the text as UTF-8 in VARBINARY, because its collations ignore case or trailing spaces.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        match dialect.name:
            case "postgresql":
                return dialect.type_descriptor(postgresql.TEXT(collation="C"))
            case "mysql" | "mariadb":
                return dialect.type_descriptor(mysql.VARBINARY(1024))
        return dialect.type_descriptor(sqlite.TEXT())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value.encode() if value is not None and dialect.name in ("mysql", "mariadb") else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return value.decode() if isinstance(value, bytes) else value


def digest_type(size: int) -> TypeEngine[bytes]:
    """Return the type of a few bytes that fit an index."""
    return LargeBinary().with_variant(mysql.VARBINARY(size), "mysql", "mariadb")


def blob_type() -> TypeEngine[bytes]:
    """Return the type of bytes up to the size of a gRPC message. MySQL's plain BLOB ends at 64 KiB."""
    return LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


def key_type() -> TypeEngine[int]:
    """Return the type of the number of a task. On SQLite it is INTEGER, so that it is the row's own id."""
    return BIGINT().with_variant(INTEGER(), "sqlite")


def text_type() -> TypeEngine[str]:
    """Return the type of text that no index holds."""
    return Text().with_variant(mysql.LONGTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")


class now_us(FunctionElement[int]):
    """The time by the clock of the database, or of the machine on which processes share an SQLite file."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_us)
def _now_us(element: now_us, compiler: SQLCompiler, **_: Any) -> str:
    match compiler.dialect.name:
        case "postgresql":
            return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
        case "mysql" | "mariadb":
            return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
    return f"{FUNCTION}()"
