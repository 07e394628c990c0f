"""The errors of a database that does not answer, or is not the one that was opened. Needs no SQLAlchemy."""

import logging

from a2a_grpc.errors import A2AError, UnavailableError
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.store")


class StoreUnavailable(Exception):
    """The store did not answer in time, although it was asked repeatedly. A write may or may not have happened.

    Attributes:
        said: The message for callers. It names no path and no host.
    """

    said = "the task store does not answer; try again"


class StoreLost(StoreUnavailable):
    """The next process would not read what this store writes, for example because the file was replaced.

    Trying again does not help.
    """

    said = (
        "the database file of the task store was deleted, moved or replaced; the server accepts no messages until the "
        "file is back or the server is restarted; the server's log names the file"
    )


class StoreDamaged(StoreLost):
    """The database is damaged. Only a backup helps."""

    said = (
        "the database of the task store is damaged; the server accepts no messages until it is restarted with a "
        "backup; the server's log names the file"
    )


class StoreErrors:
    """The errors of calls that fail because the store does not answer."""

    def __init__(self) -> None:
        self._lines = Throttle(logger)

    def translate(self, raised: BaseException) -> A2AError | None:
        """Return UnavailableError if the store raised the exception because it does not answer, else None."""
        if not isinstance(raised, StoreUnavailable):
            return None
        if not isinstance(raised, StoreLost):  # that has its line, which says what to do
            self._lines.warning("store", "the store does not answer error=%s", raised)
        return UnavailableError(raised.said, retry_after_s=1.0)
