"""Trying again, within a budget of time, what a database could not do for a while."""

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
"""How often a transaction is decided anew because another wrote the same key first."""


def pauses() -> Backoff:
    """The waits between two tries."""
    return Backoff(0.02, 1.0)


class Outage:
    """Says once that the database is gone, and once that it is back."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        """The database's URL, its secrets masked."""
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
    """Return the driver's words in one line: no statement, no parameters, no password of a URL."""
    cause = getattr(error, "orig", None) or error
    said = mask_url(str(cause).strip())
    return f"{type(cause).__name__}: {said.splitlines()[0] if said else 'no answer'}"


async def retry(attempt: Callable[[bool], Awaitable[T]], *, budget_s: float, outage: Outage) -> T:
    """Awaits `attempt(is_repeat)` until it succeeds, or raises something that does not pass.

    `is_repeat` tells that an earlier try may have been committed. Raises StoreUnavailable once the budget is spent.
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
