"""Read the URLs of stores, for the buses that fit them."""

import re

SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]*)")


def sqlite_file(url: str) -> str:
    """Return the path of the database file of an SQLite URL. Return "" for a database in memory, or another URL."""
    found = SQLITE.match(url)
    return "" if found is None or found[1] == ":memory:" else found[1]
