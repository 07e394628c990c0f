"""Read the URLs of databases."""

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
from a2a_grpc.database.sqlite_file import sqlite_file
from a2a_grpc.masking import mask_url
from a2a_grpc.regular import MAX_PEM_BYTES, check_regular

DRIVERS = {
    "sqlite": ("sqlite", "pysqlite", "sqlite3", ""),
    "postgresql": ("postgresql", "asyncpg", "asyncpg", "postgres"),
    "postgres": ("postgresql", "asyncpg", "asyncpg", "postgres"),
    "mysql": ("mysql", "pymysql", "pymysql", "mysql"),
    "mariadb": ("mysql", "pymysql", "pymysql", "mysql"),
}
"""For each scheme: the dialect, the driver, the module of the driver, and the extra that installs the module."""

QUERY = {
    "sqlite": {"synchronous"},
    "postgresql": libpq.OPTIONS,
    "mysql": {"ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_identity", "unix_socket"},
}
"""The options that a URL of each dialect may have."""

SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
"""The modes of MySQL. `ssl-mode` and `sslmode` are read as `ssl_mode`."""

SCHEMA = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
SYNCHRONOUS = ("full", "normal", "extra", "off")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """The URL of a database, after it was checked.

    Attributes:
        dialect: `sqlite`, `postgresql` or `mysql`, which stands for MariaDB, too.
        engine_url: The URL for SQLAlchemy, with the driver.
        shown: The URL as it was given, with its secrets masked, for errors and log lines.
        location: The file of SQLite. For others the URL without login and options, and the schema if one is named.
        hosts: The hosts of the database server, each with its port if the URL names one. SQLite has none.
        schema: The schema of PostgreSQL that has the tables; "" for the first schema of the user's search path.
        synchronous: The setting of SQLite. With `normal` a power failure may undo the last commits.
        connecting: The arguments of asyncpg, for PostgreSQL.
        arguments: More arguments of PyMySQL, for MySQL.
    """

    dialect: str
    engine_url: URL
    shown: str
    location: str
    hosts: tuple[str, ...] = ()
    schema: str = ""
    synchronous: str = "full"
    connecting: libpq.Connecting | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "DatabaseUrl":
        """Read a URL.

        Raises:
            ConfigurationError: The URL names no database, or the driver of its database is not installed.
        """
        try:
            return _parse(text)
        except _WrongUrlError as error:
            raise ConfigurationError(f"store is '{mask_url(text)}'; {error}") from None

    @property
    def path(self) -> str:
        """The file of SQLite."""
        return self.location if self.dialect == "sqlite" else ""


class _WrongUrlError(ValueError):
    """A URL names no database. The text says why, without the URL."""


def _parse(text: str) -> DatabaseUrl:
    try:
        url = make_url(libpq.with_one_host(text) if libpq.is_postgres(text) else text)
    except libpq.BadOption as error:
        raise _WrongUrlError(error) from None
    except (ArgumentError, ValueError):
        raise _WrongUrlError("it cannot be read as a URL such as sqlite:///tasks.db") from None
    scheme, _, driver = url.drivername.partition("+")
    if scheme not in DRIVERS:
        raise _WrongUrlError(f"it must be one of {', '.join(f'{name}:' for name in DRIVERS)}")
    dialect, wanted, module, extra = DRIVERS[scheme]
    if driver not in ("", wanted):
        raise _WrongUrlError(f"the driver for {scheme} is {wanted}, not {driver}")
    if importlib.util.find_spec(module) is None:
        raise _WrongUrlError(f'it needs {module}: pip install "a2a-grpc[{extra}]"')
    match dialect:
        case "sqlite":
            return _sqlite(url, text)
        case "postgresql":
            return _postgresql(url.set(drivername=f"{dialect}+{wanted}"), text)
    return _mysql(url.set(drivername=f"{dialect}+{wanted}"), text)


def _check_options(url: URL, dialect: str) -> None:
    if unknown := sorted(set(url.query) - QUERY[dialect]):
        raise _WrongUrlError(f"it has no option {', '.join(unknown)}, only {', '.join(sorted(QUERY[dialect]))}")


def _check_database(url: URL) -> None:
    if not url.database:
        raise _WrongUrlError("it names no database")


def _sqlite(url: URL, text: str) -> DatabaseUrl:
    _check_options(url, "sqlite")
    if url.host and url.database:
        raise _WrongUrlError("three slashes stand before a relative path, four before an absolute")
    if not (file := sqlite_file(text)):
        raise _WrongUrlError("it names no file: sqlite:///tasks.db, or memory: without any")
    synchronous = str(url.query.get("synchronous", "full")).lower()
    if synchronous not in SYNCHRONOUS:
        raise _WrongUrlError(f"synchronous must be one of {', '.join(SYNCHRONOUS)}")
    engine_url = url.set(drivername="sqlite", query={})
    return DatabaseUrl("sqlite", engine_url, mask_url(text), file, synchronous=synchronous)


def _postgresql(url: URL, text: str) -> DatabaseUrl:
    try:
        connecting = libpq.connecting(text)
    except libpq.BadOption as error:
        raise _WrongUrlError(error) from None
    _check_database(url)
    schema = connecting.schema
    if schema is not None and not SCHEMA.fullmatch(schema):
        raise _WrongUrlError("a schema has up to 63 letters, digits and underscores, and begins with no digit")
    location = libpq.location_of(text) + (f", schema {schema}" if schema else "")
    hosts = tuple(libpq.hosts_of(connecting.dsn))
    return DatabaseUrl("postgresql", url, mask_url(text), location, hosts, schema or "", connecting=connecting)


def _mysql(url: URL, text: str) -> DatabaseUrl:
    query = {"ssl_mode" if name in ("ssl-mode", "sslmode") else name: value for name, value in url.query.items()}
    url = url.set(query=query)
    _check_options(url, "mysql")
    _check_database(url)
    mode = str(query.pop("ssl_mode", "")).lower().replace("-", "_")
    if mode and mode not in SSL_MODES:
        raise _WrongUrlError(f"ssl_mode must be one of {', '.join(SSL_MODES)}")
    arguments: dict[str, Any] = {}
    if mode == "disabled":
        arguments = {"ssl_disabled": True}
    elif mode not in ("", "preferred"):
        files = [query.pop(name, None) for name in ("ssl_ca", "ssl_cert", "ssl_key")]
        query.pop("ssl_verify_identity", None)
        try:
            arguments = {"ssl": _tls(mode, *(None if file is None else str(file) for file in files))}
        except OSError as error:  # ssl.SSLError is one
            raise _WrongUrlError(f"its TLS files cannot be used: {error}") from None
    scheme = text.partition(":")[0]
    location = URL.create(scheme, host=url.host, port=url.port, database=url.database).render_as_string()
    hosts = (f"{url.host or ''}:{url.port}" if url.port else url.host or "",)
    return DatabaseUrl("mysql", url.set(query=query), mask_url(text), location, hosts, arguments=arguments)


def _tls(mode: str, ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """Return the TLS settings for a mode of MySQL: `required`, `verify_ca` or `verify_identity`."""
    for file in filter(None, (ca, cert, key)):
        check_regular(file, MAX_PEM_BYTES)
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(cert, key)
    return context
