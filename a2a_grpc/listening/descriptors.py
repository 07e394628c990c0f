"""Count the file descriptors that this process may open, and give each part of the program a share."""

import logging
import os
from contextlib import suppress
from dataclasses import dataclass

try:
    import resource
except ImportError:  # a platform without such limits
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("a2a_grpc.listening")

OWN = 96
"""Descriptors for all except connections of clients: store, bus, files, connections of the agent itself."""
FEW = 1024
"""If the limit is lower, a warning is logged."""
MANY = 1 << 20
"""The number of descriptors that are shared out if there is no limit."""
MAX_HTTP_CONNECTIONS = 128
SPARE = 4
"""Descriptors that a reserve holds open, to use them for connections of probes."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The number of connections that each kind of port may have."""

    grpc: int
    """The number for each gRPC port."""
    http: int


def raise_limit() -> None:
    """Raise this process's soft limit of open files to the hard limit. Log a warning if the hard limit is low."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems have a lower limit than the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if (limit := _limit()) < FEW:
        logger.warning(
            "this process may open few files, so few connections fit; raise the limit (ulimit -n) files=%d", limit
        )


def shares(grpc_ports: int, max_connections: int) -> Shares:
    """Return the number of connections that fit into the limit of open files, without those that the process itself
    needs.

    `max_connections` bounds the share of each gRPC port, unless it is 0.
    """
    free = max(_limit() - OWN - SPARE, 4 * grpc_ports)
    http = max(2, min(MAX_HTTP_CONNECTIONS, free // 8))
    grpc = max(1, (free - http) // grpc_ports)
    return Shares(grpc=min(grpc, max_connections) if max_connections else grpc, http=http)


def _limit() -> int:
    if resource is None:
        return MANY
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY if soft == resource.RLIM_INFINITY else min(soft, MANY)


class Reserve:
    """Descriptors that are held open while there are enough, so that some are there when none is left."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def fill(self) -> None:
        """Open as many descriptors as the reserve should have, or as many as possible."""
        with suppress(OSError):
            while len(self._held) < SPARE:
                self._held.append(os.open(os.devnull, os.O_RDONLY))

    def give(self) -> bool:
        """Close one of them. Return False if none is left."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def close(self) -> None:
        """Close all of them."""
        while self.give():
            pass
