"""A silent task comes to its end through each proxy, with the files of deploy/.

`make test-nightly` is silent for ten minutes (SILENT_S=600), and the proxies that cut do so after their own defaults.
"""

import asyncio
import os
from pathlib import Path

import grpc
import pytest

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, SubscribeToTaskRequest, Task
from tests.balancers import CONFIGURATIONS
from tests.deploy.proxies import Front, deployed
from tests.harness import V1, request
from tests.replicas.rig import SharedStore
from tests.rolling import InThisProcess, numbers_of
from tests.tools import need

SILENT_S = int(os.environ.get("SILENT_S", "7"))
CUT_AFTER_S = {"nginx": 60, "haproxy": 50, "envoy": 300} if SILENT_S >= 600 else dict.fromkeys(CONFIGURATIONS, 3)
"""Defaults of nginx, of Debian's package of HAProxy and of Envoy; shorter ones for a shorter silence."""
COUNT = {"to": 2, "step_seconds": SILENT_S / 2}
"""Two numbers, after half of the silence each."""


class Plain:
    """A client of generated code, which comes back when its stream is cut."""

    def __init__(self) -> None:
        self.cuts = 0

    async def follows(self, front: Front) -> None:
        async with front.channel() as channel:
            stub = A2AServiceStub(channel)
            sent = request()
            del sent.message.parts[:]
            sent.message.parts.add().data.struct_value.update(COUNT)
            call = stub.SendStreamingMessage(sent, metadata=V1)
            task = Task()
            while task.status.state != COMPLETED:
                try:
                    async for element in call:
                        if element.HasField("task"):
                            task = element.task
                except grpc.aio.AioRpcError:
                    self.cuts += 1
                task = await stub.GetTask(GetTaskRequest(id=task.id), metadata=V1)
                call = stub.SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1)


async def through(front: Front) -> int:
    """Follow two silent counts at the same time, with generated code and with our client. Return the cuts."""
    plain = Plain()
    async with front.connect() as client, asyncio.TaskGroup() as group:
        group.create_task(plain.follows(front))
        assert await numbers_of(client.stream(COUNT)) == [1, 2]
    return plain.cuts


@pytest.mark.long
@pytest.mark.timeout(SILENT_S + 120)
@pytest.mark.parametrize("kind", CONFIGURATIONS)
async def test_a_silent_task_is_not_cut_and_where_it_is_cut_no_event_is_lost(kind: str, tmp_path: Path) -> None:
    need(kind)
    replica = InThisProcess(SharedStore())
    await replica.start()
    try:
        behind = {replica.listen: replica.http_listen}
        async with deployed(kind, behind, tmp_path / "as-is") as uncut:
            async with deployed(kind, behind, tmp_path / "cutting", cut_after_s=CUT_AFTER_S[kind]) as cutting:
                cuts = await asyncio.gather(through(uncut), through(cutting))
    finally:
        await replica.stop()
    print(f"{kind}: {SILENT_S} s of silence, cuts {cuts[0]}; cut after {CUT_AFTER_S[kind]} s: cuts {cuts[1]}")
    assert cuts[0] == 0
    # nginx counts the pings of a replica, every 30 s, as traffic of each of its streams.
    assert cuts[1] > 0 or (kind == "nginx" and CUT_AFTER_S[kind] > 30)
