"""Read URLs of PostgreSQL as its own tools do, for the driver asyncpg. The store and the bus share this reader."""

import os
import re
import ssl
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

_URL = re.compile(r"(?:postgresql|postgres)(?:\+asyncpg)?://(.*)", re.DOTALL)
_SCHEMA = re.compile(r"[?&]schema=([^&]*)")
_LOGIN = re.compile(r"(?:([^:/@]*)(?::([^@]*))?@)?")

FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
}
UNUSED = frozenset(
    {
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("client_encoding", "sslcompression", "sslsni", "fallback_application_name", "gssencmode"),
    }
)
"""Options that are accepted and have no effect, because asyncpg has none like them and no result depends on them."""
OPTIONS = frozenset(
    {
        *UNUSED,
        *("host", "port", "user", "password", "application_name", "connect_timeout", "options", "schema", "ssl"),
        "sslpassword",
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
        *FILES,
        *CHOICES,
    }
)
"""The options that a URL may have: names of libpq, and `ssl`, which means sslmode."""


class BadOption(ValueError):
    """An option is not possible. The text names the option and what it must be."""


class Connecting(NamedTuple):
    """The arguments of `asyncpg.connect` for a URL.

    Attributes:
        dsn: The URL as asyncpg reads it.
        arguments: More arguments.
        application_name: The name of the connection in `pg_stat_activity`.
        schema: The schema for the tables of a store, which is no option of libpq. None if the URL names none.
    """

    dsn: str
    arguments: dict[str, Any]
    application_name: str
    schema: str | None


def is_postgres(url: str) -> bool:
    """Return True if a URL names PostgreSQL."""
    return _URL.fullmatch(url) is not None


def connecting(url: str) -> Connecting:
    """Return the arguments of asyncpg for a URL. Raise ValueError for a URL of another database, BadOption for a
    wrong option."""
    login, place, options = _split(url)
    arguments: dict[str, Any] = {}
    if (timeout := options.pop("connect_timeout", None)) is not None:
        arguments["timeout"] = _seconds(timeout)
    fallback = options.get("fallback_application_name", "a2a-grpc")
    for unused in (*UNUSED, "channel_binding"):  # asyncpg has none of them
        options.pop(unused, None)
    if options.get("sslrootcert") == "system":
        if options.pop("sslmode", "verify-full") != "verify-full":
            raise BadOption("sslrootcert=system goes with sslmode=verify-full alone")
        del options["sslrootcert"]
        arguments["ssl"] = ssl.create_default_context()
    name, schema = options.pop("application_name", fallback), options.pop("schema", None)
    query = f"?{urlencode(options, quote_via=quote, safe='/:,')}" if options else ""
    return Connecting(f"postgresql://{login}{place}{query}", arguments, name, schema)


def schema_of(url: str) -> str:
    """Return the schema that a URL names, or "". Other options of the URL may be wrong."""
    found = _SCHEMA.search(url)
    return unquote(found[1]) if found else ""


def location_of(url: str) -> str:
    """Return a URL without its login and its options."""
    return f"postgresql://{_split(url)[1]}"


def hosts_of(url: str) -> list[str]:
    """Return the hosts of a URL, each with its port if one is named. A URL may name several, also in its options.

    As in libpq, the variables PGHOST and PGPORT stand for what the URL does not name.
    """
    _, place, options = _split(url)
    hosts = (options.get("host") or place.partition("/")[0]).split(",")
    hosts = [host or os.environ.get("PGHOST", "") for host in hosts]
    ports = (options.get("port") or os.environ.get("PGPORT", "")).split(",")
    ports *= len(hosts) if len(ports) == 1 else 1
    return [host if ":" in host or not port else f"{host}:{port}" for host, port in zip(hosts, ports, strict=False)]


def with_one_host(url: str) -> str:
    """Return a URL with the first of its hosts, and without options."""
    login, place, _ = _split(url)
    hosts, slash, database = place.partition("/")
    return f"postgresql://{login}{hosts.partition(',')[0]}{slash}{database}"


def _split(url: str) -> tuple[str, str, dict[str, str]]:
    """Return the login with its `@`, the hosts with the database, and the options with the names of libpq."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("no URL of PostgreSQL")
    given = _LOGIN.match(found[1])
    assert given is not None  # it may be empty
    place, _, query = found[1][given.end() :].partition("?")
    login = given[1] or ""
    if given[2] is not None:  # a driver must read each character of a password as part of it
        login += f":{quote(unquote(given[2]), safe='')}"
    return f"{login}@" if given[0] else "", place, _options(query)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        name = "sslmode" if name == "ssl" else name
        if name not in OPTIONS:
            raise BadOption(f"it has no option {name}, only {', '.join(sorted(OPTIONS))}")
        if name == "channel_binding" and value == "require":
            raise BadOption("channel_binding=require is not possible with asyncpg; use sslmode=verify-full instead")
        if name in CHOICES and value not in CHOICES[name]:
            raise BadOption(f"{name} must be one of {', '.join(CHOICES[name])}")
        if name in FILES and not (name == "sslrootcert" and value == "system") and not Path(value).is_file():
            raise BadOption(f"{name} names no file")
        is_repeated = name in ("host", "port") and name in options  # as SQLAlchemy writes several
        options[name] = f"{options[name]},{value}" if is_repeated else value
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise BadOption("connect_timeout must be a number of seconds") from None
    return max(seconds, 1.0) if seconds > 0 else 60.0  # libpq waits without limit at 0, but a lease does not wait
