"""The observer of a client, for programs that say that an agent does not answer."""

from typing import Protocol

from a2a_grpc.client.disconnects import Passing


class Watcher(Protocol):
    """An observer of the tries of a client."""

    def failed(self, error: Passing, limit_s: float) -> None:
        """Take note of a try that failed. All tries together have `limit_s` seconds, and another one follows."""

    def answered(self) -> None:
        """Take note of an answer of the agent that let the call begin."""
