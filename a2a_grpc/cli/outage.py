"""The line on standard error that says that an agent does not answer, and that the command waits for it."""

import asyncio
from collections.abc import Callable
from typing import Any

from a2a_grpc.client import Client, ConnectionLostError, UnreachableError
from a2a_grpc.errors import ResourceExhaustedError, UnavailableError

SILENT_S = 2.0
"""The time in seconds without contact before the command says so. A restart of a server is often shorter."""


class Outage:
    """The time during which an agent does not answer. Its begin and its end are noted once, if it is a long one.

    Args:
        note: The function that prints a line on standard error.
        timeout_s: The limit of the whole command; None if there is none.
    """

    def __init__(self, note: Callable[[str], None], timeout_s: float | None) -> None:
        self._note = note
        self._timeout_s = timeout_s
        self._timer: asyncio.TimerHandle | None = None
        self._limit_s = 0.0
        self._is_noted = False
        self.reason = ""
        """Why the agent does not answer now; "" while it does."""

    def failed(self, error: UnavailableError | ResourceExhaustedError, limit_s: float) -> None:
        """Take note of a try that failed, before the next one."""
        self.reason = f"the agent {_problem(error)} ({error.message})"
        self._limit_s = limit_s if self._timeout_s is None else min(limit_s, self._timeout_s)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SILENT_S, self._tell)

    def answered(self) -> None:
        """Take note of an answer."""
        is_noted = self._is_noted
        self.close()
        self.reason, self._is_noted = "", False
        if is_noted:
            self._note("the agent answers again")

    def close(self) -> None:
        """Say nothing more about this outage."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._is_noted = True
        self._note(f"{self.reason}; trying again for at most {self._limit_s:g} s, Ctrl-C stops")


def _problem(error: UnavailableError | ResourceExhaustedError) -> str:
    match error:
        case ResourceExhaustedError():
            return "refuses the call for now"
        case ConnectionLostError() | UnreachableError():
            return "does not answer"
    return "is not available"


class WatchedClient(Client):
    """A client whose outages are noted."""

    def __init__(self, outage: Outage, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._calls.contact.watcher = outage
