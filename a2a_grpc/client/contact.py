"""Keep whether a client has reached its agent, and the reason if it has not."""

from typing import Protocol

from a2a_grpc.client.connection import Connection
from a2a_grpc.client.disconnects import Passing
from a2a_grpc.client.errors import ConnectionLostError, UnreachableError
from a2a_grpc.client.origin import Origin
from a2a_grpc.client.probe import ProbeFailure, explain
from a2a_grpc.errors import UnavailableError

SECOND_LOOK_S = 1.0
"""Seconds to find out why an agent was not reached, if no time is left for it."""


class Watcher(Protocol):
    """An observer of the tries of a client, for programs that say that an agent does not answer."""

    def failed(self, error: Passing, limit_s: float) -> None:
        """Take note of a try that failed. All tries together have `limit_s` seconds, and another one follows."""

    def answered(self) -> None:
        """Take note of an answer of the agent that let the call begin."""


class Contact:
    """Notes answers and failures of the calls of one client, and reports them to its watcher."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.settings = connection.settings
        self.watcher: Watcher | None = None
        self.was_reached = False
        """True once the agent, or a proxy before the agent, has answered."""

    def answered(self) -> None:
        """Take note of an answer of the agent."""
        self.was_reached = True
        if self.watcher is not None:
            self.watcher.answered()

    def failed(self, error: Passing, limit_s: float) -> None:
        """Take note of a try that failed. All tries together have `limit_s` seconds, and another one follows."""
        if self.watcher is not None:
            self.watcher.failed(error, limit_s)

    def lost(self, error: ConnectionLostError) -> ConnectionLostError:
        """Take note of a lost connection. Return the error, which then names the agent if the agent was reached."""
        if error.origin is not Origin.UNREACHED:
            self.was_reached = True
            error.say(f"lost contact with '{self.connection.target}': {error.message}")
        return error

    async def unreachable(self, error: UnavailableError, timeout_s: float) -> UnreachableError:
        """Return an error with the reason why the agent was not reached. Raise the error if waiting would not help.

        Each step of a connection is tried to find the reason.
        """
        link = await self.connection.open()
        if "http1.x server" in error.message:
            raise UnreachableError(
                f"{link.address} speaks HTTP/1, not gRPC; if it serves the agent's card, call http://{link.address}"
            ) from error
        try:
            await explain(link.address, self.settings, tls=link.tls, timeout_s=max(timeout_s, SECOND_LOOK_S))
        except ProbeFailure as failure:
            found = UnreachableError(str(failure))
            if failure.is_final:
                raise found from error
            return found
        return UnreachableError(f"{link.address} cannot be reached: {error.message}")
