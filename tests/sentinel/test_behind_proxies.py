"""An agent that attaches through nginx, HAProxy or Envoy stays attached while it is idle.

`make test-nightly` waits ten minutes (ATTACHED_S=600), with the defaults of the product and of the proxies. Otherwise
the proxies cut after a few seconds without data, and heartbeats are as much more frequent.
"""

import asyncio
import os

import pytest

from a2a_grpc import Message, Task, connect
from a2a_grpc.parts import Json
from a2a_grpc.wire import A2AServiceStub
from tests.balancers import CONFIGURATIONS, before_sentinel
from tests.harness import V1, Program, elements, event_state, scripted, texts
from tests.sentinel.tunnels import ADDRESS, channel_to

ATTACHED_S = int(os.environ.get("ATTACHED_S", "30"))
SCALED_S = None if ATTACHED_S >= 300 else 6
"""Seconds without data after which the proxies cut; None for their defaults."""
SENTINEL = () if SCALED_S is None else ("--heartbeat-s=2",)
AGENT = () if SCALED_S is None else ("--keepalive-time-s=2",)
"""The agent's server pings the connections that its pipes carry, by default every 30 s."""
LARGE: Json = {"script": [{"artifact": {"text": "x" * (3 << 20)}}]}


@pytest.mark.long
@pytest.mark.timeout(ATTACHED_S + 120)
@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.first
async def test_an_idle_agent_and_its_silent_stream_live_on_behind_a_proxy(kind: str) -> None:
    async with Program(
        "servers/sentinel.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off", *SENTINEL
    ) as front:
        async with before_sentinel(kind, front.address, timeout_s=SCALED_S) as proxy:
            attached = (f"--attach={proxy}", f"--address={ADDRESS}", "--log-level=info", *AGENT)
            async with Program.server("servers/scripted.py", *attached) as behind, channel_to(front.address) as channel:
                silent = A2AServiceStub(channel).SendStreamingMessage(
                    scripted({"sleep": {"seconds": ATTACHED_S}}, {"complete": "awake"}, tenant=ADDRESS), metadata=V1
                )
                async with connect(ADDRESS, sentinel=proxy) as client:
                    assert len(texts(task_of(await client.send(LARGE)))[0]) == 3 << 20
                last = (await elements(silent))[-1]
                assert event_state(last) == 3, last
                async with connect(ADDRESS, sentinel=proxy) as client:
                    assert texts(task_of(await client.send("still there"))) == ["still there"]
                assert times_attached(await log_of(behind)) == 1


def task_of(reply: Task | Message) -> Task:
    assert isinstance(reply, Task)
    return reply


async def log_of(program: Program) -> str:
    """End a program, and return what it has logged."""
    program.process.terminate()
    _, log = await asyncio.wait_for(program.process.communicate(), 30)
    return log.decode()


def times_attached(log: str) -> int:
    return log.count("INFO a2a_grpc.sentinel attached ")
