"""A thousand streams at a time through one server: every event arrives, in order, and nothing is left behind."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.engine import EngineSettings
from a2a_grpc.engine.sweep import sweep
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import text_of
from a2a_grpc.wire import A2AServiceStub
from tests.covers import covers
from tests.guarantees.rig import engine_of, total_tasks
from tests.harness import V1, Served, event_state, eventually, message, request, serving

STREAMS = 1000
EVENTS = 20
CONNECTIONS = 12
"""So many that no connection has more than the 100 streams that a server allows by default."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Choir:
    """An agent whose turns all begin, then all speak."""

    def __init__(self) -> None:
        self.agent = Agent("Choir", "Sings in many voices.")
        self.present = 0
        self.sing = asyncio.Event()
        self.agent.skill("sing")(self._sing)

    async def _sing(self, turn: Turn) -> AsyncIterator[str]:
        """Sings."""
        self.present += 1
        await self.sing.wait()
        for verse in range(EVENTS - 4):  # beside the task, WORKING, the seal of the artifact, COMPLETED
            yield f"{turn.text}/{verse} "
            await asyncio.sleep(0)


def rss_bytes() -> int:
    """Memory of this process, after what can be collected was."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def one_stream(stub: A2AServiceStub, number: int) -> None:
    """Sends, reads all, checks every event in its place."""
    name = f"stream {number}"
    call = stub.SendStreamingMessage(request(message(name)), metadata=V1)
    read = [element async for element in call]
    assert await call.code() is grpc.StatusCode.OK
    assert len(read) == EVENTS
    assert dict(await call.initial_metadata())["a2a-grpc-seq"] == "1"
    assert text_of(read[0].task.history[0]) == name
    assert [element.WhichOneof("payload") for element in read[1:]] == [
        "status_update", *["artifact_update"] * (EVENTS - 3), "status_update",
    ]  # fmt: skip
    verses = [text_of(element.artifact_update.artifact) for element in read[2:-1]]
    assert verses == [*(f"{name}/{verse} " for verse in range(EVENTS - 4)), ""]
    assert {element.artifact_update.task_id for element in read[2:-1]} == {read[0].task.id}
    assert event_state(read[-1]) == COMPLETED


async def load(served: Served, choir: Choir) -> None:
    """All streams at once; they are all open before the first one is told more than that it works."""
    choir.present, choir.sing = 0, asyncio.Event()
    channels = [
        grpc.aio.insecure_channel(served.server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
        for _ in range(CONNECTIONS)
    ]
    stubs = [A2AServiceStub(channel) for channel in channels]
    async with asyncio.TaskGroup() as group:
        for number in range(STREAMS):
            group.create_task(one_stream(stubs[number % CONNECTIONS], number))
        await eventually(lambda: _assert_open(served, choir), within_s=20.0)
        choir.sing.set()
    for channel in channels:
        await channel.close()
    engine = engine_of(served)
    await eventually(lambda: _assert_streams(served, 0))
    assert await total_tasks(served) == STREAMS
    removed = await sweep(engine.log.store, EngineSettings(max_ended_tasks=0, idempotency_retention_s=0.0))
    assert removed == STREAMS


def _assert_open(served: Served, choir: Choir) -> None:
    assert choir.present == STREAMS
    _assert_streams(served, STREAMS)
    assert len(engine_of(served).log.bus) == STREAMS


def _assert_streams(served: Served, count: int) -> None:
    assert served.server._running.calls.streams == count


def tasks() -> int:
    """Return how many tasks there are, except those that accept calls: after a burst a server has more of them."""
    return sum(not task.get_name().startswith("accept ") for task in asyncio.all_tasks())


@covers("G2")
@pytest.mark.long
async def test_a_thousand_streams_get_every_event_in_order_and_leave_nothing_behind() -> None:
    choir = Choir()
    async with serving(choir.agent, max_runs=STREAMS) as served:
        await total_tasks(served)
        tasks_before = tasks()
        descriptors_before = descriptors()
        await load(served, choir)  # what the process keeps for such a load, it has now
        warm = rss_bytes()
        await load(served, choir)

        def assert_nothing_left() -> None:
            engine = engine_of(served)
            assert engine.stats().followed == 0
            assert [len(running) for running in served.server._running.calls._running.values()] == [0, 0]
            assert served.server._running.calls._bytes == 0
            assert engine.stats().tasks == ()
            assert engine.stats().runs == 0
            assert engine.stats().background == 0
            assert tasks() <= tasks_before
            assert descriptors() <= descriptors_before

        await eventually(assert_nothing_left)
        assert rss_bytes() <= warm * 1.10
        assert await total_tasks(served) == 0
