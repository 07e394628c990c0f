"""What the URLs of buses, and of the stores beside them, say."""

import re
from urllib.parse import quote, unquote

POSTGRES = re.compile(r"(?:postgresql|postgres)(?:\+asyncpg)?://(.*)", re.DOTALL)
SCHEMA = re.compile(r"([?&])schema=([^&]*)(&?)")
SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]*)")


def is_postgres(url: str) -> bool:
    return POSTGRES.fullmatch(url) is not None


def postgres_dsn(url: str) -> str:
    """A URL of PostgreSQL as its driver reads it. Raises ValueError for another URL."""
    found = POSTGRES.fullmatch(url)
    if found is None:
        raise ValueError("no URL of PostgreSQL")
    rest = re.sub(r"([?&])ssl=", r"\1sslmode=", without_schema(found[1]))
    if login := re.match(r"([^:/@]*):([^@]*)@", rest):  # whatever is in a password, to the driver it is a password
        rest = f"{login[1]}:{quote(unquote(login[2]), safe='')}@{rest[login.end() :]}"
    return f"postgresql://{rest}"


def schema_of(url: str) -> str:
    """Return the schema that a URL of PostgreSQL names, for the store; empty if there is none."""
    found = SCHEMA.search(url)
    return unquote(found[2]) if found else ""


def without_schema(url: str) -> str:
    """Return a URL of PostgreSQL without the schema that it names, which its driver does not know."""
    return SCHEMA.sub(lambda found: found[1] if found[3] else "", url)


def sqlite_file(url: str) -> str:
    """The path of the database file of an SQLite URL; empty for one in memory, or another URL."""
    found = SQLITE.match(url)
    return "" if found is None or found[1] == ":memory:" else found[1]
