"""What the URLs of buses, and of the stores beside them, say."""

import re
from urllib.parse import quote, unquote

POSTGRES = re.compile(r"(?:postgresql|postgres)(?:\+asyncpg)?://(.*)", re.DOTALL)
SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]*)")


def is_postgres(url: str) -> bool:
    return POSTGRES.fullmatch(url) is not None


def postgres_dsn(url: str) -> str:
    """A URL of PostgreSQL as its driver reads it. Raises ValueError for another URL."""
    found = POSTGRES.fullmatch(url)
    if found is None:
        raise ValueError("no URL of PostgreSQL")
    rest = re.sub(r"([?&])ssl=", r"\1sslmode=", found[1])
    if login := re.match(r"([^:/@]*):([^@]*)@", rest):  # whatever is in a password, to the driver it is a password
        rest = f"{login[1]}:{quote(unquote(login[2]), safe='')}@{rest[login.end() :]}"
    return f"postgresql://{rest}"


def sqlite_file(url: str) -> str:
    """The path of the database file of an SQLite URL; empty for one in memory, or another URL."""
    found = SQLITE.match(url)
    return "" if found is None or found[1] == ":memory:" else found[1]
