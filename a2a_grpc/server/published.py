"""The card as a caller reads it: with an address that the caller can reach.

A server that listens on every address of its machine has no address of its own to name. The caller knows one: the host
that the card was asked at.
"""

import re
import socket
from contextlib import suppress

from a2a_grpc.address import is_wildcard, join_address, split_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import AgentCard

MAX_HOST_CHARS = 253
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_PEER = re.compile(r"(ipv4|ipv6):(.*):(\d+)", re.DOTALL)


def card_at(card: AgentCard, host: str) -> AgentCard:
    """Return a card whose first interface, this server's, is at another host, with the port that it has."""
    moved = AgentCard()
    moved.CopyFrom(card)
    ours = moved.supported_interfaces[0]
    ours.url = join_address(host, split_address("listen", ours.url)[1])
    return moved


def asked_host(header: str) -> str:
    """Return the host of an HTTP request's Host header, in lower case. Return "" for one that names none: any client
    writes there what it likes."""
    try:
        host, _ = split_address("Host", header if _has_port(header) else f"{header}:0")
    except ConfigurationError:
        return ""
    host = host.lower()
    if len(host) > MAX_HOST_CHARS or is_wildcard(host):
        return ""
    if ":" in host:
        with suppress(OSError):
            socket.inet_pton(socket.AF_INET6, host)
            return host
        return ""
    return host if _NAME.fullmatch(host) else ""


def _has_port(header: str) -> bool:
    return ":" in header.rpartition("]")[2]


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
