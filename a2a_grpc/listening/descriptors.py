"""File descriptors: how many this process may open, and who may take which share of them."""

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
"""Descriptors kept for what is not a connection of a client: store, bus, files, the agent's own connections."""
FEW = 1024
"""A limit below this is worth a warning."""
MANY = 1 << 20
"""As many as are shared out if there is no limit."""
MAX_HTTP_CONNECTIONS = 128
SPARE = 4
"""Descriptors held open by a reserve, to be given up for connections of probes."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How many connections each kind of port may have."""

    grpc: int
    """Of each gRPC port."""
    http: int


def raise_limit() -> None:
    """Raise this process's soft limit of open files to the hard one; warn if that is low."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems have a lower limit than the hard one
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if (limit := _limit()) < FEW:
        logger.warning("this process may open %d files, so few connections fit; raise the limit (ulimit -n)", limit)


def shares(grpc_ports: int, max_connections: int) -> Shares:
    """Return how many connections fit into the limit of open files, with what the process needs itself set aside.

    `max_connections` bounds each gRPC port's share, unless it is 0.
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
    """Descriptors that are held open while there are enough, so that some can be had when there are none left."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def fill(self) -> None:
        """Hold as many as the reserve should have, or as many as can be had."""
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
