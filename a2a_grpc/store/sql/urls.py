"""What the URL of a database may say."""

import importlib.util
import re
from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from a2a_grpc.config import ConfigurationError
from a2a_grpc.masking import mask_url

DRIVERS = {
    "sqlite": ("sqlite", "pysqlite", "sqlite3", ""),
    "postgresql": ("postgresql", "asyncpg", "asyncpg", "postgres"),
    "postgres": ("postgresql", "asyncpg", "asyncpg", "postgres"),
    "mysql": ("mysql", "pymysql", "pymysql", "mysql"),
    "mariadb": ("mysql", "pymysql", "pymysql", "mysql"),
}
"""By scheme: the dialect, the driver that it is used with, that driver's module, the extra that installs it."""

QUERY = {
    "sqlite": {"synchronous"},
    "postgresql": {"ssl", "sslmode", "host", "port", "schema"},
    "mysql": {"ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_identity", "unix_socket"},
}
"""By dialect: what may stand behind the question mark."""

SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
SYNCHRONOUS = ("full", "normal", "extra", "off")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is."""

    dialect: str
    """sqlite, postgresql or mysql (MariaDB is the same)."""
    url: URL
    """For SQLAlchemy, driver included."""
    shown: str
    """The URL as it was given, its secrets masked, for errors and log lines."""
    schema: str = ""
    """PostgreSQL's schema that has the tables; empty for the first one of the user's search path."""
    synchronous: str = "full"
    """SQLite's; with `normal` a power failure may take the last commits, a crash of the process none."""

    @property
    def path(self) -> str:
        """SQLite's file."""
        return self.url.database or ""


def place_of(text: str) -> Place:
    """Reads the URL. Raises ConfigurationError naming what it cannot be, or the extra that has to be installed."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"store is '{mask_url(text)}'; it cannot be read as a URL") from None
    shown = mask_url(text)
    scheme, _, driver = url.drivername.partition("+")
    if scheme not in DRIVERS:
        raise ConfigurationError(f"store is '{shown}'; it must be one of {', '.join(f'{name}:' for name in DRIVERS)}")
    dialect, wanted, module, extra = DRIVERS[scheme]
    if driver not in ("", wanted):
        raise ConfigurationError(f"store is '{shown}'; the driver for {scheme} is {wanted}, not {driver}")
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(f"store is '{shown}'; it needs {module}: pip install \"a2a-grpc[{extra}]\"")
    if unknown := sorted(set(url.query) - QUERY[dialect]):
        raise ConfigurationError(
            f"store is '{shown}'; it has no option {', '.join(unknown)}, only {', '.join(sorted(QUERY[dialect]))}"
        )
    if dialect == "sqlite":
        return _sqlite_place(url, shown)
    if not url.database:
        raise ConfigurationError(f"store is '{shown}'; it names no database")
    query = dict(url.query)
    if "sslmode" in query:  # as libpq spells it
        query["ssl"] = query.pop("sslmode")
    schema = str(query.pop("schema", ""))
    if "schema" in url.query and not SCHEMA.fullmatch(schema):
        raise ConfigurationError(
            f"store is '{shown}'; a schema has up to 63 letters, digits and underscores, and begins with no digit"
        )
    return Place(dialect, url.set(drivername=f"{dialect}+{wanted}", query=query), shown, schema)


def _sqlite_place(url: URL, shown: str) -> Place:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError(f"store is '{shown}'; it names no file: sqlite:///tasks.db, or memory: without any")
    if url.host:
        raise ConfigurationError(
            f"store is '{shown}'; three slashes stand before a relative path, four before an absolute"
        )
    synchronous = str(url.query.get("synchronous", "full")).lower()
    if synchronous not in SYNCHRONOUS:
        raise ConfigurationError(f"store is '{shown}'; synchronous must be one of {', '.join(SYNCHRONOUS)}")
    return Place("sqlite", url.set(drivername="sqlite", query={}), shown, synchronous=synchronous)
