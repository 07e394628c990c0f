"""Waits through silence at a server with defaults, then tells as JSON how each call ended: for Q1, Q2.

Raw calls wait 45 seconds, the client library 65 or as many as SILENCE_S says; with less than 45, raw calls wait as
long. A program of its own, so that the other tests need not wait with it.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import grpc.aio

from a2a_grpc import Client, Task, TaskStatusUpdateEvent, connect
from a2a_grpc.lifecycle import COMPLETED, SUBMITTED, WORKING
from a2a_grpc.parts import Json
from a2a_grpc.wire import A2AServiceStub, ListTasksRequest, SubscribeToTaskRequest
from tests.harness import V1, elements, event_state, scripted, scripted_agent, serving
from tests.proxy import Proxy
from tests.regressions.faults import connection

CLIENT_SILENCE_S = float(os.environ.get("SILENCE_S", "65"))
SILENCE_S = min(40, CLIENT_SILENCE_S)
LONGER_S = min(45, CLIENT_SILENCE_S)
KEEPALIVE_S = 20
ACKNOWLEDGED_S = min(3, CLIENT_SILENCE_S / 3)
"""After so long everything that was sent has been acknowledged."""

PINGING = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(slots=True)
class Ended:
    """How a silent stream ended."""

    states: list[int]
    code: str


@dataclass(slots=True)
class Waited:
    """What came of an operation of the client library."""

    states: list[int]
    """Those that a stream told, or that of the task in the end."""
    connections: int
    bytes_while_silent: int


@dataclass(slots=True)
class Silence:
    """What came of the calls that waited."""

    stream: Ended
    subscription: Ended
    blocking_send: int
    pinging_stream: Ended
    idle_states: list[str]
    idle_tasks: int
    bytes_without_keepalive: int
    client: dict[str, Waited]


async def wait_through() -> Silence:
    """Four silent calls and a connection without calls, at one server with defaults."""
    async with (
        serving(scripted_agent()) as served,
        grpc.aio.insecure_channel(served.server.grpc_address, options=PINGING) as pinging,
        grpc.aio.insecure_channel(served.server.grpc_address, options=PINGING) as idle,
    ):

        async def stream() -> Ended:
            call = served.stream(scripted({"sleep": SILENCE_S}))
            states = [event_state(event) for event in await elements(call)]
            return Ended(states, (await call.code()).name)

        async def subscription(stub: A2AServiceStub, seconds: float) -> Ended:
            task = await served.start({"sleep": seconds})
            call = stub.SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1)
            states = [event_state(event) for event in await elements(call)]
            return Ended(states, (await call.code()).name)

        async def blocking_send() -> int:
            return int((await served.send(scripted({"sleep": SILENCE_S}))).task.status.state)

        async def without_calls() -> tuple[list[str], int]:
            """The states of a connection that is only pinged; then a call on it."""
            stub = A2AServiceStub(idle)
            await stub.ListTasks(ListTasksRequest(), metadata=V1)
            states = [idle.get_state()]
            try:
                async with asyncio.timeout(LONGER_S):
                    while True:
                        await idle.wait_for_state_change(states[-1])
                        states.append(idle.get_state())
            except TimeoutError:
                pass
            return [state.name for state in states], (await stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size

        async def bytes_without_keepalive() -> int:
            """What goes over the wire, both ways, while a stream is silent and nobody pings."""
            async with (
                serving(scripted_agent(), keepalive_time_s=0) as quiet,
                Proxy(quiet.server.grpc_address) as proxy,
                connection(proxy.address) as stub,
            ):
                call = stub.SendStreamingMessage(scripted({"sleep": SILENCE_S}), metadata=V1)
                assert [event_state(event) for event in await elements(call, 2)] == [SUBMITTED, WORKING]
                await asyncio.sleep(ACKNOWLEDGED_S)
                before = proxy.forwarded
                await asyncio.sleep(SILENCE_S - 2 * ACKNOWLEDGED_S)
                during = proxy.forwarded - before
                assert [event_state(event) for event in await elements(call)] == [COMPLETED]
                return during

        async with asyncio.TaskGroup() as group:
            streaming = group.create_task(stream())
            subscribed = group.create_task(subscription(served.stub, SILENCE_S))
            blocked = group.create_task(blocking_send())
            pinged = group.create_task(subscription(A2AServiceStub(pinging), LONGER_S))
            idling = group.create_task(without_calls())
            quiet = group.create_task(bytes_without_keepalive())
        return Silence(
            streaming.result(),
            subscribed.result(),
            blocked.result(),
            pinged.result(),
            *idling.result(),
            quiet.result(),
            {},
        )


JOB: Json = {"script": [{"sleep": CLIENT_SILENCE_S}]}


class Waiting:
    """A client with what its proxy sees of it while the agent is silent."""

    def __init__(self, client: Client, proxy: Proxy) -> None:
        self.client = client
        self._proxy = proxy
        self.bytes = 0

    async def measure(self) -> None:
        """Counts the bytes of the silence, but for its beginning and its end."""
        await asyncio.sleep(ACKNOWLEDGED_S)
        before = self._proxy.forwarded
        await asyncio.sleep(CLIENT_SILENCE_S - 2 * ACKNOWLEDGED_S)
        self.bytes = self._proxy.forwarded - before

    def waited(self, *states: int) -> Waited:
        return Waited(list(states), self._proxy.connections, self.bytes)


@asynccontextmanager
async def waiting(server: dict[str, float], **settings: Any) -> AsyncIterator[tuple[Waiting, Proxy]]:
    async with (
        serving(scripted_agent(), **server) as served,
        Proxy(served.server.grpc_address) as proxy,
        connect(proxy.address, **settings) as client,
    ):
        yield Waiting(client, proxy), proxy


async def streamed(server: dict[str, float], *, stalls: bool = False, **settings: float) -> Waited:
    """The states that a stream tells, and what went over the wire between its second event and its last."""
    async with waiting(server, **settings) as (wait, proxy), wait.client.stream(JOB) as events:
        states = []
        async with asyncio.TaskGroup() as group:
            async for event in events:
                assert isinstance(event, Task | TaskStatusUpdateEvent)
                states.append(int(event.status.state))
                if states[-1] == WORKING:
                    group.create_task(wait.measure())
                    if stalls:
                        proxy.stall_open()
        return wait.waited(*states)


async def sent() -> Waited:
    async with waiting({}) as (wait, _):
        task = await wait.client.send(JOB)
        assert isinstance(task, Task)
        return wait.waited(int(task.status.state))


async def waited_for() -> Waited:
    async with waiting({}) as (wait, _):
        task = await wait.client.start(JOB)
        assert isinstance(task, Task)
        return wait.waited(int((await wait.client.wait(task.id)).status.state))


async def with_the_client() -> dict[str, Waited]:
    """The operations of the client library that wait, each at a server of its own."""
    quiet = {"keepalive_time_s": 0.0}
    async with asyncio.TaskGroup() as group:
        operations = {
            "stream": group.create_task(streamed({})),
            "send": group.create_task(sent()),
            "wait": group.create_task(waited_for()),
            "stream without keepalive": group.create_task(streamed(quiet)),
        }
        if CLIENT_SILENCE_S > 2 * KEEPALIVE_S:
            for name, stalls in (("stream with keepalive", False), ("stream with keepalive that stalls", True)):
                keeping = streamed(quiet, stalls=stalls, keepalive_s=KEEPALIVE_S)
                operations[name] = group.create_task(keeping)
    return {name: operation.result() for name, operation in operations.items()}


async def wait_all() -> Silence:
    async with asyncio.TaskGroup() as group:
        raw = group.create_task(wait_through())
        client = group.create_task(with_the_client())
    raw.result().client = client.result()
    return raw.result()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(wait_all()))))
