"""The file that an SQLite URL names, found without SQLAlchemy, which takes its time to import."""

import re

SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]*)")


def sqlite_file(url: str) -> str:
    """Return the path of the database file of an SQLite URL. Return "" for a database in memory, or another URL."""
    found = SQLITE.match(url)
    return "" if found is None or found[1] == ":memory:" or found[1].startswith("file:") else found[1]
