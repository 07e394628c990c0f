"""Floods at a sentinel: a good client goes on through it, and an agent that sends much is no flood."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_grpc.listening.connections import can_look
from tests.attacks.rig import Process, Target, attack, attacked
from tests.sentinel.tunnels import attached_raw, channel_to, request_of, stream

ADDRESS = "scripted@fame.fabric"
P99_MS, MIB = 3000.0, 200.0
"""As for a server, see tests/attacks/test_floods.py."""
MESSAGES = 96


class Sentinel(Target):
    """A sentinel in a process of its own."""

    def __init__(self, *options: str) -> None:
        super().__init__(
            "-m", "a2a_grpc", "sentinel", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "off", *options
        )


class Attached(Process):
    """A program of servers/ that is attached to a sentinel, in a process of its own."""

    def __init__(self, at: str) -> None:
        command = ["servers/scripted.py", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "off"]
        super().__init__(*command, "--attach", at, "--address", ADDRESS, env={"A2A_GRPC_STORE": "memory:"})


@pytest.fixture(scope="module")
async def target() -> AsyncIterator[Target]:
    async with Sentinel() as running, Attached(running.address):
        yield running


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "name",
    [
        "rapid_reset",
        "hpack_acknowledged",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("half_open", "half_sent", "continuation_flood", "settings_flood", "ping_flood", "empty_data")
        ),
    ],
)
async def test_one_connection_that_attacks_harms_no_client_of_an_agent(target: Target, name: str) -> None:
    harm = await attacked(target, attack(name, target, connections=1, seconds=1.5), tenant=ADDRESS)
    harm.check(p99_ms=P99_MS, grown_mib=MIB)


@pytest.mark.skipif(not can_look(), reason="needs Linux: TCP_INFO and socket filters")
async def test_what_an_agent_sends_through_its_pipes_is_no_flood_even_during_one() -> None:
    async def serve(request: bytes, context: Any) -> None:
        for _ in range(MESSAGES):
            await context.write(bytes(1 << 20))

    async with Sentinel() as running, attached_raw(serve, running.address) as (ours, _):
        async with channel_to(running.address) as other:
            flooding = asyncio.create_task(attack("ping_flood", running, connections=1, seconds=3.0))
            calls = [stream(channel)(request_of(f"t-{number}")) for number, channel in enumerate((ours, other))]
            for received in await asyncio.gather(*map(_sizes, calls)):
                assert received == [1 << 20] * MESSAGES
            await flooding
            for said in ("an agent was lost", "AGENT_GONE"):
                assert said not in running.log()


async def _sizes(call: Any) -> list[int]:
    return [len(element) async for element in call]
