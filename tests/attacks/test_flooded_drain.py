"""A server gets SIGTERM during a flood. It ends in time, and every honest call ends with a result or a status."""

import asyncio
import signal
import time

import grpc
import grpc.aio
import pytest

from a2a_grpc.lifecycle import TERMINAL, state_name
from a2a_grpc.wire import A2AServiceStub
from tests.attacks.rig import Target, attack
from tests.harness import V1, event_state, scripted

GRACE_S = 2.0
ENDS_WITHIN_S = GRACE_S + 10.0
"""The grace; then seconds for streams, calls and connections; then Python's end, on a busy machine."""


async def sent(address: str, sleep_s: float, begun: asyncio.Event) -> str:
    """Send a message over a connection of its own and follow the task.

    Return the task's terminal state, or the status that ends the call.
    """
    state = 0
    async with grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            call = A2AServiceStub(channel).SendStreamingMessage(scripted({"sleep": sleep_s}), metadata=V1, timeout=60)
            async for event in call:
                begun.set()
                state = event_state(event) or state
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
    assert state in TERMINAL, "the stream ended OK before its task had ended"
    return state_name(state)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "connections"),
    [
        ("rapid_reset", 4),
        *((name, 40) for name in ("half_open", "rapid_reset", "ping_flood", "continuation_flood")),
    ],
)
async def test_a_flooded_server_drains_within_its_bounds(name: str, connections: int) -> None:
    async with Target.ours("--drain-grace-s", str(GRACE_S)) as target:
        flood = asyncio.create_task(attack(name, target, connections=connections, seconds=GRACE_S + 3.0))
        events = [asyncio.Event() for _ in range(8)]
        calls = [
            asyncio.create_task(sent(target.address, 1.0 if number < 4 else 60.0, begun))
            for number, begun in enumerate(events)
        ]
        async with asyncio.timeout(30):
            for begun in events:
                await begun.wait()
        target.process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        out, _ = await asyncio.wait_for(target.process.communicate(), 2 * ENDS_WITHIN_S)
        assert time.monotonic() - told < ENDS_WITHIN_S, out
        assert target.process.returncode == 0
        ends = await asyncio.gather(*calls)
        assert ends[:4] == ["COMPLETED"] * 4, "what ends within the grace is served"
        assert set(ends[4:]) <= {"FAILED", "UNAVAILABLE"}, "its task has failed, or may be followed at another server"
        assert "Traceback" not in target.log()
        await flood
