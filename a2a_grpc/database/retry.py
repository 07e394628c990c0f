"""Try again, within a budget of time, if a database fails in a way that may be gone soon."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from a2a_grpc.backoff import Backoff
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreLost, StoreUnavailable
from a2a_grpc.masking import mask_url

logger = logging.getLogger("a2a_grpc.store")
T = TypeVar("T")

CONFLICTS = 5
"""The number of times that a transaction is repeated because another one wrote the same key first."""

SETTLED_S = 2.0
"""Seconds without a failure after which an outage is over, if what failed is not tried any more."""


def pauses() -> Backoff:
    """Return the waits between two tries."""
    return Backoff(0.02, 1.0)


class Outage:
    """Logs once that the database does not answer, or is lost, and once that it answers again.

    If only a part fails, such as large writes to a disk that is full, this is one outage for as long as the part fails.
    It does not end while a call that has failed is still being tried.
    """

    def __init__(self, shown: str) -> None:
        self.shown = shown
        """The URL of the database, with its secrets masked."""
        self._since: float | None = None
        self._failed_at = 0.0
        self._failing: set[object] = set()  # calls that failed and are tried again
        self._is_lost = False

    def begin(self, error: BaseException, call: object = None) -> None:
        """Note that a call failed.

        Args:
            error: Why it failed.
            call: The call, if it is tried again until `end` or `give_up`; None otherwise.
        """
        if call is not None:
            self._failing.add(call)
        is_lost = isinstance(error, StoreLost)  # its error says what to do, also if a passing one came before
        self._failed_at = time.monotonic()
        if self._since is None or (is_lost and not self._is_lost):
            self._since = self._since or self._failed_at
            self._is_lost = is_lost
            logger.warning("database unavailable store=%s error=%s", self.shown, reason(error))

    def end(self, call: object, *, is_write: bool = False) -> None:
        """Note that the database has answered.

        Args:
            call: The call that the database has answered.
            is_write: True if tasks were written, so that the outage need not have settled.
        """
        is_proof = is_write or call in self._failing
        self._failing.discard(call)
        now = time.monotonic()
        if self._since is None or self._failing:
            return
        if is_proof or now - self._failed_at > SETTLED_S:
            logger.warning("database available again store=%s after_s=%.1f", self.shown, now - self._since)
            self._since = None

    def give_up(self, call: object) -> None:
        """Note that a call is not tried any more."""
        self._failing.discard(call)


def reason(error: BaseException) -> str:
    """Return the error of the driver in one line, without statement, parameters and the password of a URL."""
    cause = getattr(error, "orig", None) or error
    said = mask_url(str(cause).strip())
    return f"{type(cause).__name__}: {said.splitlines()[0] if said else 'no answer'}"


async def retry(attempt: Callable[[bool], Awaitable[T]], *, budget_s: float, outage: Outage) -> T:
    """Return the result of `attempt`. Repeat it while it raises errors that are transient.

    Args:
        attempt: A function that tries once. Its argument is True if an earlier try may have been committed.
        budget_s: Seconds for all tries.
        outage: Logs the beginning and the end of an outage.

    Raises:
        StoreUnavailable: The budget is used up.
    """
    call = object()
    try:
        result = await _try_for(attempt, budget_s, outage, call)
        outage.end(call)
        return result
    finally:
        outage.give_up(call)


async def _try_for(attempt: Callable[[bool], Awaitable[T]], budget_s: float, outage: Outage, call: object) -> T:
    end, waits, conflicts, is_repeat = time.monotonic() + budget_s, pauses(), 0, False
    while True:
        try:
            return await attempt(is_repeat)
        except ConfigurationError:  # trying again does not help, here and below
            raise
        except StoreLost as error:
            outage.begin(error)
            raise
        except Exception as error:
            if is_conflict(error) and conflicts < CONFLICTS:
                conflicts += 1
                continue
            if not is_transient(error):
                raise
            outage.begin(error, call)
            is_repeat, wait_s = True, waits.next_s()
            if time.monotonic() + wait_s >= end:
                raise StoreUnavailable(
                    f"{outage.shown} did not answer within {budget_s:g} s: {reason(error)}"
                ) from error
            await asyncio.sleep(wait_s)


# -- which errors are transient

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
