"""What the URLs of stores say to the buses beside them."""

import re

SQLITE = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]*)")


def sqlite_file(url: str) -> str:
    """The path of the database file of an SQLite URL; empty for one in memory, or another URL."""
    found = SQLITE.match(url)
    return "" if found is None or found[1] == ":memory:" else found[1]
