"""The counters of gRPC for the calls of each connection, which it keeps for channelz."""

import json
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from grpc._cython import cygrpc

PAGE = 500
"""The number of connections that gRPC lists at a time."""


class Counters(NamedTuple):
    """The calls of one connection since the connection began."""

    started: int
    """Calls that gRPC has accepted. Calls beyond the limit of streams are refused and not counted."""
    ended: int
    """The accepted calls that gRPC has freed. gRPC frees only calls that it has given to this process."""
    messages: int
    """Messages sent."""

    def pending(self, begun: int) -> int:
        """Return the number of calls that wait to be begun, for the number of calls that were begun."""
        return max(0, self.started - max(begun, self.ended))


class Channelz:
    """The counters of all connections of this process."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def of(self, peer: str) -> Counters | None:
        """Return the counters of a connection, or None if gRPC does not know the client.

        The answer takes a quarter of a millisecond. gRPC waits for the thread that reads the connection, for at most
        100 ms. So ask only if there is a reason.
        """
        if (counters := self._read(peer)) is None:
            self._list()
            counters = self._read(peer)
        return counters

    def keep(self, peers: Collection[str]) -> None:
        """Forget all other clients."""
        for gone in self._ids.keys() - set(peers):
            del self._ids[gone]

    def _read(self, peer: str) -> Counters | None:
        with suppress(KeyError, ValueError):  # gRPC raises ValueError for a connection that has ended
            counted = json.loads(cygrpc.channelz_get_socket(self._ids[peer]))["socket"]["data"]
            ended = int(counted["streamsSucceeded"]) + int(counted["streamsFailed"])
            return Counters(int(counted["streamsStarted"]), ended, int(counted["messagesSent"]))
        return None

    def _list(self) -> None:
        for server in json.loads(cygrpc.channelz_get_servers(0)).get("server", ()):
            first, is_last = 0, False
            while not is_last:
                page = json.loads(cygrpc.channelz_get_server_sockets(int(server["ref"]["serverId"]), first, PAGE))
                for found in page.get("socketRef", ()):
                    identifier = int(found["socketId"])
                    self._ids[found["name"].rpartition(" ")[2]] = identifier
                    first = identifier + 1
                is_last = page.get("end", False) or not page.get("socketRef")
