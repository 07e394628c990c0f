"""Give each caller a card with an address that the caller can reach, and the extended card.

A server that listens on every address of its machine has no address of its own for the card. So the card has the host
at which the caller asked for it.
"""

import inspect
import re
import socket
from contextlib import suppress

from a2a_grpc.address import join_address, split_address
from a2a_grpc.agent import Agent
from a2a_grpc.errors import ExtendedAgentCardNotConfiguredError
from a2a_grpc.principal import Principal
from a2a_grpc.wire import AgentCard

_PEER = re.compile(r"(ipv4|ipv6):(.*):(\d+)", re.DOTALL)


def card_at(card: AgentCard, host: str) -> AgentCard:
    """Return a copy of a card. If a host is given, the first interface, that of this server, has this host and the same
    port."""
    moved = AgentCard()
    moved.CopyFrom(card)
    if not host:
        return moved
    ours = moved.supported_interfaces[0]
    ours.url = join_address(host, split_address("listen", ours.url)[1])
    return moved


async def extended_card(agent: Agent, public: AgentCard, caller: Principal) -> AgentCard:
    """Return the extended card for a caller, which the agent makes from a copy of the public card.

    Raises:
        ExtendedAgentCardNotConfiguredError: The agent makes no extended card.
    """
    if agent.extended is None:
        raise ExtendedAgentCardNotConfiguredError
    made = agent.extended(public, caller)
    return await made if inspect.isawaitable(made) else made


def host_towards(peer: str) -> str:
    """Return the address of this machine on the way to a peer, or "" if there is none. Send nothing.

    Args:
        peer: The peer as gRPC names it, for example `ipv4:192.0.2.7:4711`.
    """
    found = _PEER.fullmatch(peer)
    if found is None:
        return ""
    kind, host, port = found.groups()
    with suppress(OSError, ValueError):
        with socket.socket(socket.AF_INET if kind == "ipv4" else socket.AF_INET6, socket.SOCK_DGRAM) as way:
            way.connect((host.replace("%5B", "").replace("%5D", "").strip("[]"), int(port)))
            return str(way.getsockname()[0]).removeprefix("::ffff:")
    return ""
