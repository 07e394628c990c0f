"""Try again, within a budget of time, if a database fails in a way that may be gone soon."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from a2a_grpc.backoff import Backoff
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.transient import is_conflict, is_transient
from a2a_grpc.database.unavailable import StoreLost, StoreUnavailable
from a2a_grpc.masking import mask_url

logger = logging.getLogger("a2a_grpc.store")
T = TypeVar("T")

CONFLICTS = 5
"""The number of times that a transaction is repeated because another one wrote the same key first."""


def pauses() -> Backoff:
    """Return the waits between two tries."""
    return Backoff(0.02, 1.0)


class Outage:
    """Logs once that the database does not answer, and once that it answers again."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        """The URL of the database, with its secrets masked."""
        self._since: float | None = None

    def begin(self, error: BaseException) -> None:
        if self._since is None:
            self._since = time.monotonic()
            logger.warning("database unavailable store=%s error=%s", self.shown, reason(error))

    def end(self) -> None:
        if self._since is not None:
            logger.warning("database available again store=%s after_s=%.1f", self.shown, time.monotonic() - self._since)
            self._since = None


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
    end, waits, conflicts, is_repeat = time.monotonic() + budget_s, pauses(), 0, False
    while True:
        try:
            result = await attempt(is_repeat)
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
            outage.begin(error)
            is_repeat, wait_s = True, waits.next_s()
            if time.monotonic() + wait_s >= end:
                raise StoreUnavailable(
                    f"{outage.shown} did not answer within {budget_s:g} s: {reason(error)}"
                ) from error
            await asyncio.sleep(wait_s)
        else:
            outage.end()
            return result
