"""What the URL of a database may say."""

import importlib.util
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from a2a_grpc import libpq
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
    "postgresql": libpq.OPTIONS,
    "mysql": {"ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_identity", "unix_socket"},
}
"""By dialect: what may stand behind the question mark."""

SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
"""MySQL's own; `ssl-mode` and `sslmode` are read as `ssl_mode`."""

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

    connecting: libpq.Connecting | None = None
    """What asyncpg connects with, for PostgreSQL."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of PyMySQL, for MySQL."""

    @property
    def path(self) -> str:
        """SQLite's file."""
        return self.url.database or ""


def place_of(text: str) -> Place:
    """Reads the URL. Raises ConfigurationError naming what it cannot be, or the extra that has to be installed."""
    shown = mask_url(text)
    connecting: libpq.Connecting | None = None
    try:
        if libpq.is_postgres(text):
            connecting = libpq.connecting(text)
            text = libpq.with_one_host(text)
        url = make_url(text)
    except libpq.BadOption as error:
        raise ConfigurationError(f"store is '{shown}'; {error}") from None
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"store is '{shown}'; it cannot be read as a URL such as sqlite:///tasks.db") from None
    scheme, _, driver = url.drivername.partition("+")
    if scheme not in DRIVERS:
        raise ConfigurationError(f"store is '{shown}'; it must be one of {', '.join(f'{name}:' for name in DRIVERS)}")
    dialect, wanted, module, extra = DRIVERS[scheme]
    if driver not in ("", wanted):
        raise ConfigurationError(f"store is '{shown}'; the driver for {scheme} is {wanted}, not {driver}")
    if importlib.util.find_spec(module) is None:
        raise ConfigurationError(f"store is '{shown}'; it needs {module}: pip install \"a2a-grpc[{extra}]\"")
    if dialect == "mysql":
        names = {name: "ssl_mode" if name in ("ssl-mode", "sslmode") else name for name in url.query}
        url = url.set(query={names[name]: value for name, value in url.query.items()})
    if unknown := sorted(set(url.query) - QUERY[dialect]):
        raise ConfigurationError(
            f"store is '{shown}'; it has no option {', '.join(unknown)}, only {', '.join(sorted(QUERY[dialect]))}"
        )
    if dialect == "sqlite":
        return _sqlite_place(url, shown)
    if not url.database:
        raise ConfigurationError(f"store is '{shown}'; it names no database")
    if connecting is not None:
        if connecting.schema is not None and not SCHEMA.fullmatch(connecting.schema):
            raise ConfigurationError(
                f"store is '{shown}'; a schema has up to 63 letters, digits and underscores, and begins with no digit"
            )
        driver = f"{dialect}+{wanted}"
        return Place(dialect, url.set(drivername=driver), shown, connecting.schema or "", connecting=connecting)
    return _mysql_place(url.set(drivername=f"{dialect}+{wanted}"), shown)


def _mysql_place(url: URL, shown: str) -> Place:
    query = dict(url.query)
    mode = str(query.pop("ssl_mode", "")).lower().replace("-", "_")
    if mode and mode not in SSL_MODES:
        raise ConfigurationError(f"store is '{shown}'; ssl_mode must be one of {', '.join(SSL_MODES)}")
    if mode == "disabled":
        return Place("mysql", url.set(query=query), shown, arguments={"ssl_disabled": True})
    if mode in ("", "preferred"):
        return Place("mysql", url.set(query=query), shown)
    files = [query.pop(name, None) for name in ("ssl_ca", "ssl_cert", "ssl_key")]
    query.pop("ssl_verify_identity", None)
    try:
        tls = _tls(mode, *(None if file is None else str(file) for file in files))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"store is '{shown}'; its TLS files cannot be used: {error}") from None
    return Place("mysql", url.set(query=query), shown, arguments={"ssl": tls})


def _tls(mode: str, ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """Return what a mode of MySQL means: encrypted, the certificate checked, its name checked."""
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    return context


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
