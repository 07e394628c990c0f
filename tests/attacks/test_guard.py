"""Connections that flood are ended; honest ones are not, whatever they do."""

import asyncio
import contextlib
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from a2a_grpc.listening.connections import can_look
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, ListTasksRequest, SubscribeToTaskRequest
from tests.attacks import http2
from tests.attacks.floods import GET_TASK, acknowledge
from tests.attacks.rig import Target, attack
from tests.harness import V1, eventually, message, request, scripted

pytestmark = pytest.mark.skipif(not can_look(), reason="needs Linux: TCP_INFO and socket filters")

ENDED = "ended a connection that floods the server host="
LEAVING = "many connections begin a call and leave"
FLOOD_S = 20.0


def flood(address: str) -> str:
    """Send pings until the connection ends. Return how it ended."""
    with http2.Peer.connect(address) as peer:
        acknowledge(peer)
        peer.socket.settimeout(FLOOD_S)
        try:
            while True:
                peer.send(http2.ping(b"flooding") * 2000)
                peer.drain()
        except OSError as error:
            return type(error).__name__


def channel(target: Target) -> grpc.aio.Channel:
    """Return a channel with connections of its own."""
    return grpc.aio.insecure_channel(target.address, options=[("grpc.use_local_subchannel_pool", 1)])


async def made(stub: Any, **more: Any) -> str:
    """Make a task. Return its id."""
    return str((await stub.SendMessage(request("hello"), metadata=V1, timeout=30, **more)).task.id)


async def test_a_connection_that_floods_is_reset_and_another_goes_on() -> None:
    async with Target.ours() as target, channel(target) as good:
        stub = A2AServiceStub(good)
        await made(stub)
        flooding = asyncio.create_task(asyncio.to_thread(flood, target.address))
        while not flooding.done():
            await made(stub)
        assert flooding.result() in ("ConnectionResetError", "BrokenPipeError")
        await made(stub)
        assert f"{ENDED}127.0.0.1" in target.log()


def begin_and_leave(address: str) -> None:
    """Begin a call on a new connection, and close the connection when gRPC has read that."""
    with http2.Peer.connect(address) as peer:
        peer.send(http2.headers(1, http2.request_block(GET_TASK)) + http2.ping())
        assert peer.until([http2.PING]) is not None


async def test_connections_that_begin_a_call_and_leave_again_and_again_make_new_ones_wait() -> None:
    async with Target.ours() as target, channel(target) as good:
        stub = A2AServiceStub(good)
        await made(stub)

        async def leave_until_it_is_noticed() -> None:
            await asyncio.gather(*(asyncio.to_thread(begin_and_leave, target.address) for _ in range(30)))
            assert LEAVING in target.log()

        await eventually(leave_until_it_is_noticed, within_s=30.0)
        await made(stub)
        async with channel(target) as new:
            await made(A2AServiceStub(new), wait_for_ready=True)


@pytest.mark.long
async def test_new_clients_are_served_during_a_flood() -> None:
    async with Target.ours() as target:
        flooding = asyncio.create_task(attack("ping_flood", target, connections=10, seconds=3.0))
        served = 0
        while not flooding.done():
            async with channel(target) as new:
                await made(A2AServiceStub(new), wait_for_ready=True)
            served += 1
        assert served > 0
        assert (await flooding)["closed"] > 0


async def test_the_end_of_floods_can_be_switched_off() -> None:
    async with Target.ours("--no-end-floods") as target:
        await attack("ping_flood", target, connections=2, seconds=1.0)
        assert ENDED not in target.log()


@pytest.mark.long
async def test_honest_work_ends_no_connection() -> None:
    async with Target.ours() as target, channel(target) as busy:
        stub = A2AServiceStub(busy)
        large = request(message("x" * 1_900_000))
        await asyncio.gather(*(stub.SendMessage(large, metadata=V1) for _ in range(16)))

        task_id = await made(stub)
        for _ in range(20):
            await asyncio.gather(*(stub.GetTask(GetTaskRequest(id=task_id), metadata=V1) for _ in range(100)))

        health = HealthStub(busy)
        for _ in range(30):
            await asyncio.gather(*(health.Check(HealthCheckRequest()) for _ in range(100)))

        slow = stub.SendStreamingMessage(scripted({"sleep": 600}), metadata=V1)
        slow_id = (await slow.read()).task.id
        for _ in range(5):
            following = [stub.SubscribeToTask(SubscribeToTaskRequest(id=slow_id), metadata=V1) for _ in range(90)]
            await asyncio.gather(*(call.read() for call in following))
            for call in following:
                call.cancel()
        for _ in range(5):
            late = [stub.SendMessage(request("x" * 1000), metadata=V1, timeout=0.001) for _ in range(90)]
            for call in late:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    await call

        many = stub.SendStreamingMessage(scripted({"chunks": {"count": 5000, "text": "x" * 100}}), metadata=V1)
        async for _ in many:
            pass
        slow.cancel()
        await made(stub)
        assert ENDED not in target.log()


@pytest.mark.long
async def test_bursts_on_fresh_connections_end_none() -> None:
    """Their bytes come before any of their calls is known: a hundred calls at once on each of ten connections."""
    async with Target.ours() as target, contextlib.AsyncExitStack() as opened:
        stubs = [A2AServiceStub(await opened.enter_async_context(channel(target))) for _ in range(10)]
        large = (*V1, ("x-large", "l" * 1000))
        for _ in range(2):
            calls = [stub.ListTasks(ListTasksRequest(), metadata=large) for stub in stubs for _ in range(100)]
            await asyncio.gather(*calls)
        fresh = [A2AServiceStub(await opened.enter_async_context(channel(target))) for _ in range(10)]
        sent = request(message("x" * 2000))
        await asyncio.gather(*(stub.SendMessage(sent, metadata=V1) for stub in fresh for _ in range(100)))
        assert ENDED not in target.log()


async def test_streams_that_are_left_end_no_other_stream_of_their_connection() -> None:
    async with Target.ours() as target, channel(target) as shared:
        stub = A2AServiceStub(shared)
        bystander = stub.SendStreamingMessage(scripted({"sleep": 600}), metadata=V1)
        task_id = (await bystander.read()).task.id

        async def leave() -> None:
            call = stub.SubscribeToTask(SubscribeToTaskRequest(id=task_id), metadata=V1)
            await call.read()
            call.cancel()

        for _ in range(30):
            await asyncio.gather(*(leave() for _ in range(50)))
        await made(stub)
        assert not bystander.done()
        bystander.cancel()
        assert ENDED not in target.log()


@pytest.mark.long
async def test_a_client_that_cancels_all_its_streams_can_open_as_many_at_once() -> None:
    """gRPC frees the canceled ones later, and refuses new ones if too many are to be freed."""

    async def cancel_and_open(target: Target, task_id: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(target.address, options=options) as own:
            stub = A2AServiceStub(own)
            for _ in range(5):
                following = [stub.SubscribeToTask(SubscribeToTaskRequest(id=task_id), metadata=V1) for _ in range(95)]
                await asyncio.gather(*(call.read() for call in following))
                for call in following:
                    call.cancel()

    async with Target.ours() as target, channel(target) as shared:
        slow = A2AServiceStub(shared).SendStreamingMessage(scripted({"sleep": 600}), metadata=V1)
        task_id = (await slow.read()).task.id
        await asyncio.gather(*(cancel_and_open(target, task_id) for _ in range(5)))
        slow.cancel()
        assert ENDED not in target.log()


async def test_too_much_metadata_is_refused_without_its_request_and_before_settings_are_acknowledged() -> None:
    async with Target.ours() as target:
        with http2.Peer.connect(target.address) as peer:
            peer.send(http2.headers(1, http2.request_block(GET_TASK), end_headers=False))
            for name in ("x-first", "x-second"):
                block = http2.literal(name, "l" * 9000)
                peer.send(http2.continuation(1, block, end_headers=name == "x-second"))
            answered = await asyncio.to_thread(_first_answer, peer)
            assert answered is not None
            assert b"larger than the limit of 16384 bytes" in answered.payload


def _first_answer(peer: http2.Peer) -> http2.Frame | None:
    """Return the first HEADERS frame, without acknowledging anything."""
    peer.socket.settimeout(10.0)
    while True:
        frame = peer.read_frame()
        if frame.kind == http2.HEADERS:
            return frame
