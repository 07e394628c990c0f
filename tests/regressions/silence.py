"""Waits through 45 seconds of silence at a server with defaults, then tells as JSON how each call ended: for Q1, Q2.

A program of its own, so that the other tests need not wait with it.
"""

import asyncio
import json
from dataclasses import asdict, dataclass

import grpc.aio

from a2a_grpc.lifecycle import COMPLETED, SUBMITTED, WORKING
from a2a_grpc.wire import A2AServiceStub, ListTasksRequest, SubscribeToTaskRequest
from tests.harness import V1, elements, event_state, scripted, scripted_agent, serving
from tests.regressions.faults import Proxy, connection

SILENCE_S = 40
LONGER_S = 45

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
class Silence:
    """What came of the calls that waited."""

    stream: Ended
    subscription: Ended
    blocking_send: int
    pinging_stream: Ended
    idle_states: list[str]
    idle_tasks: int
    bytes_without_keepalive: int


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
                await asyncio.sleep(3)  # acknowledgements of what was sent
                before = proxy.forwarded
                await asyncio.sleep(SILENCE_S - 10)
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
            streaming.result(), subscribed.result(), blocked.result(), pinged.result(), *idling.result(), quiet.result()
        )


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(wait_through()))))
