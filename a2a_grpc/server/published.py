"""The card as a caller reads it: with an address that the caller can reach.

A server that listens on every address of its machine has no address of its own to name. The caller knows one: the host
that the card was asked at.
"""

import re
import socket
from contextlib import suppress

from a2a_grpc.address import join_address, split_address
from a2a_grpc.wire import AgentCard

_PEER = re.compile(r"(ipv4|ipv6):(.*):(\d+)", re.DOTALL)


def card_at(card: AgentCard, host: str) -> AgentCard:
    """Return a card whose first interface, this server's, is at another host, with the port that it has."""
    moved = AgentCard()
    moved.CopyFrom(card)
    ours = moved.supported_interfaces[0]
    ours.url = join_address(host, split_address("listen", ours.url)[1])
    return moved


def host_towards(peer: str) -> str:
    """Return this machine's address on the way to a peer, which gRPC names as `ipv4:192.0.2.7:4711`; "" if there is
    none. Nothing is sent."""
    found = _PEER.fullmatch(peer)
    if found is None:
        return ""
    kind, host, port = found.groups()
    with suppress(OSError, ValueError):
        with socket.socket(socket.AF_INET if kind == "ipv4" else socket.AF_INET6, socket.SOCK_DGRAM) as way:
            way.connect((host.replace("%5B", "").replace("%5D", "").strip("[]"), int(port)))
            return str(way.getsockname()[0]).removeprefix("::ffff:")
    return ""
