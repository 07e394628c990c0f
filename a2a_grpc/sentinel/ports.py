"""The gRPC ports of a sentinel: how they are made, and what is looked after while they are open."""

import asyncio
from collections.abc import Callable

from a2a_grpc.listening.descriptors import shares
from a2a_grpc.listening.front import Front
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.watched import LOOK_EVERY_S

FORGET_EVERY_S = 30.0
"""Seconds between two looks for connections that have gone."""


def made_ports(
    settings: SentinelSettings,
    transport: TransportSettings,
    *,
    on_failure: Callable[[str], None],
    on_bound_again: Callable[[], None],
) -> Front:
    """Return the ports, which are not bound yet.

    Args:
        settings: The settings of the sentinel.
        transport: The limits of HTTP/2 connections.
        on_failure: Called with the reason if a port is lost for good.
        on_bound_again: Called if a port was lost, and is bound again.
    """
    listeners = settings.public_listeners
    # The other half is for the sockets of tunnels.
    room = max(1, shares(len(listeners), 2 * settings.max_connections).grpc // 2)
    return Front(
        settings,
        transport,
        listeners,
        max_connections=room,
        on_failure=on_failure,
        on_bound_again=on_bound_again,
    )


async def look_after(front: Front, rules: Rules) -> None:
    """Read files again if they have changed, and forget connections that have gone, from time to time.

    Args:
        front: The ports, with their TLS files.
        rules: The rules, which may be those of a file.
    """
    loop = asyncio.get_running_loop()
    forget_at = loop.time() + FORGET_EVERY_S
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await front.look_at_files()
        await rules.look()
        if not front.is_guarded and loop.time() >= forget_at:  # a guard does so itself
            front.traffic.forget_idle()
            forget_at = loop.time() + FORGET_EVERY_S
