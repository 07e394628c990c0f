"""The heartbeats of a registered agent, on the side of the agent."""

import asyncio
import math
from collections.abc import Callable
from typing import Any, NoReturn

import grpc.aio

from a2a_grpc.client.registry import Registry
from a2a_grpc.errors import UnavailableError
from a2a_grpc.registry.wire import HeartbeatRequest, HeartbeatResponse
from a2a_grpc.sentinel.pipe import BROKEN

BEATS = 3
"""Heartbeats in the time of a lease: a registry that does not get one of them does not lose the agent."""
SHORTEST_LEASE_S = 1.0
"""The shortest lease of a sentinel. A shorter one that another program names would take all time of the agent."""
FIRST_ANSWER_S = 5.0
"""Seconds in which a registry answers the first heartbeat of a stream."""
PATIENCE = 2
"""The leases in whose time a further answer comes: a registry sends at least one in the time of a lease."""
LEAVE_S = 1.0
"""Seconds in which a registry takes note that a stream ends."""


def period_of(lease_s: float) -> float:
    """Return the seconds between two heartbeats.

    Args:
        lease_s: The time of the lease, as the registry says.
    """
    return max(lease_s, SHORTEST_LEASE_S) / BEATS


async def beat(registry: Registry, name: str, instance: str, answered: Callable[[], None]) -> NoReturn:
    """Send heartbeats on a stream. Raise the error that ends the stream.

    If the caller is canceled, tell the registry that the stream ends, so that the registry does not count the agent as
    lost.

    Args:
        registry: The registry.
        name: The name of the agent.
        instance: The random name of the agent's process.
        answered: Called whenever the registry has answered.

    Raises:
        NoAgentFound: The registry has no lease for the agent.
        A2AError: The stream could not be opened, has ended, or the registry was silent for too long.
    """
    clock = asyncio.get_running_loop().time
    async with registry.stream("Heartbeats") as call:
        await call.write(HeartbeatRequest(name=name, instance=instance))
        reading = _reading(call)
        beat_at, silent_at = math.inf, clock() + FIRST_ANSWER_S
        try:
            while True:
                await asyncio.wait([reading], timeout=max(0.0, min(beat_at, silent_at) - clock()))
                now = clock()
                if reading.done():
                    lease_s, next_s = _answer_of(reading.result())
                    answered()
                    beat_at, silent_at = now + next_s, now + PATIENCE * lease_s
                    reading = _reading(call)
                elif now >= silent_at:
                    raise UnavailableError("the registry did not answer heartbeats in time")
                if now >= beat_at:
                    await call.write(HeartbeatRequest())
                    beat_at += period_of(lease_s)
        except asyncio.CancelledError:
            await _leave(call, reading)
            raise
        finally:
            reading.cancel()


def _reading(call: Any) -> "asyncio.Task[Any]":
    return asyncio.create_task(call.read(), name="a2a-grpc:heartbeats")


def _answer_of(response: Any) -> tuple[float, float]:
    """Return the time of the lease, and the seconds until the next heartbeat. Raise UnavailableError for the end."""
    if not isinstance(response, HeartbeatResponse):
        raise UnavailableError("the registry has ended the stream of heartbeats")
    period_s = period_of(response.lease_s)
    next_s = response.next_s if 0 < response.next_s < period_s else period_s
    return max(response.lease_s, SHORTEST_LEASE_S), next_s


async def _leave(call: Any, reading: "asyncio.Task[Any]") -> None:
    """Say that no more heartbeats come, and wait until the registry ends the stream."""
    try:
        async with asyncio.timeout(LEAVE_S):
            await call.done_writing()
            while await reading is not grpc.aio.EOF:
                reading = _reading(call)
    except (TimeoutError, *BROKEN):
        reading.cancel()
