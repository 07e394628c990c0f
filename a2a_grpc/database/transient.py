"""Find out which errors of a database may be gone at the next try."""

import logging
import ssl
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

PASSING_SQLSTATES = (
    "08",  # the connection
    "40",  # serialization failure, deadlock
    "53",  # disk full, out of memory, too many connections
    "55P03",  # a lock was not to be had in time
    "57",  # shutting down, starting up, canceled by an administrator
    "58",  # the operating system's errors
    "25006",  # a standby: soon to be promoted, or soon to be left
    "25P03",  # a transaction stood idle for too long
)
PASSING_MYSQL = frozenset(
    {
        *(1021, 1030, 1036, 1037, 1040, 1041, 1053, 1077, 1079, 1080, 1114),  # resources, shutdown, read-only, full
        *(1158, 1159, 1160, 1161, 1184, 1152),  # the connection
        *(1203, 1205, 1213, 1226, 1290, 1317, 1836, 1927, 3024),  # locks, limits, killed, read-only
        *(2002, 2003, 2006, 2012, 2013, 2014, 2026, 2055),  # the client's: the server is not there, or has gone
        *(4031, 1969, 1412),  # idle for too long, interrupted, a changed table
    }
)
NO_TLS = 2026
"""The number of PyMySQL's error for a server that does not offer TLS."""

PASSING_SQLITE = ("locked", "busy", "disk is full", "disk i/o error", "unable to open", "readonly", "out of memory")


def is_database_error(error: BaseException) -> bool:
    """Return True if an error comes from a database, its driver, or the network."""
    return isinstance(error, (SQLAlchemyError, OSError, TimeoutError)) or hasattr(error, "sqlstate")


def is_transient(error: BaseException) -> bool:
    """Return True if the same transaction may succeed a moment later."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return any(_is_transient(cause) for cause in _causes(error))


def tls_problem(error: BaseException) -> str:
    """Return why no connection over TLS was made, as a sentence; "" if something else is wrong.

    A server that runs waits until the certificate is renewed. A server that starts would wait for what no time mends.
    """
    for cause in _causes(error):
        cause = getattr(cause, "original_exception", cause)  # PyMySQL's
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the database is not trusted: {cause.verify_message.rstrip('.')}"
        if "rejected SSL upgrade" in str(cause) or cause.args[:1] == (NO_TLS,):
            return "the database does not offer TLS"
    return ""


def is_conflict(error: BaseException) -> bool:
    """Return True if another transaction has written the same key first. Then read again, and decide again."""
    return isinstance(error, IntegrityError)


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, (OSError, TimeoutError, PoolTimeout)):
        return True
    if (state := getattr(error, "sqlstate", None)) is not None:
        return str(state).startswith(PASSING_SQLSTATES)
    kind = type(error)
    match kind.__module__.partition(".")[0], kind.__name__:
        case "sqlite3", "OperationalError":
            return any(word in str(error).lower() for word in PASSING_SQLITE)
        case "pymysql", _:
            return bool(error.args) and error.args[0] in PASSING_MYSQL
        case "asyncpg", "TargetServerAttributeNotMatched":  # another host is about to be promoted
            return True
        case _, "InterfaceError":  # asyncpg: the connection is closed, or closes
            return "clos" in str(error)
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, and the errors that it wraps."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.orig if isinstance(seen, DBAPIError) else seen.__cause__


class _Quiet(logging.Filter):
    """Drops log records with a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.exc_info


class _NoLostHandshakes(logging.Filter):
    """Drops log records about connections of asyncpg that were cut while they were made."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (isinstance(error, ConnectionError) and str(error) == "unexpected connection_lost() call")


POOL = "a2a_grpc"


def quiet_drivers() -> None:
    """Stop drivers from logging a traceback for each connection that an outage ends.

    The store logs once that the database does not answer.
    """
    quiet = {f"sqlalchemy.pool.impl.{kind}.{POOL}": _Quiet() for kind in ("QueuePool", "AsyncAdaptedQueuePool")}
    for name, silence in {**quiet, "asyncio": _NoLostHandshakes()}.items():
        logger = logging.getLogger(name)
        if not any(type(known) is type(silence) for known in logger.filters):
            logger.addFilter(silence)
