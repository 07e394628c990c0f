"""The tools of the attacks do what they say: else an attack that harms nothing would prove nothing."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc.wire import A2AServiceStub, GetTaskRequest
from tests.attacks import http2
from tests.attacks.floods import ATTACKS, GET_TASK, GET_X
from tests.attacks.http2 import Peer, ScriptedServer
from tests.attacks.rig import Target, attack, attacked
from tests.harness import Served


async def test_a_request_of_raw_frames_is_served(served: Served) -> None:
    def ask() -> list[http2.Frame]:
        with Peer.connect(served.server.grpc_address) as peer:
            peer.send(http2.request(1, GET_TASK, GET_X[5:]))
            return list(peer.frames(timeout_s=0.5))

    answer = b"".join(frame.payload for frame in await asyncio.to_thread(ask) if frame.kind == http2.HEADERS)
    assert b"grpc-status" in answer
    assert b"task 't-1' was not found" in answer


async def test_a_field_of_the_dynamic_table_is_referred_to_by_one_byte(served: Served) -> None:
    def ask() -> http2.Frame | None:
        with Peer.connect(served.server.grpc_address) as peer:
            block = http2.request_block(GET_TASK)
            peer.send(http2.headers(1, block + http2.literal("a2a-extensions", "urn:x", index=True), end_headers=True))
            peer.send(http2.data(1, GET_X, end_stream=True))
            peer.send(http2.headers(3, block + http2.indexed(http2.FIRST_DYNAMIC)))
            peer.send(http2.data(3, GET_X, end_stream=True))
            return next((found for found in peer.frames() if found.kind == http2.HEADERS and found.stream == 3), None)

    assert await asyncio.to_thread(ask) is not None


async def test_a_scripted_server_sends_a_client_away() -> None:
    def script(peer: Peer) -> None:
        peer.until([http2.HEADERS])
        peer.send(http2.goaway(0, http2.NO_ERROR) + http2.rst_stream(1, http2.CANCEL))

    with ScriptedServer(script) as server:
        async with grpc.aio.insecure_channel(server.address, options=[("grpc.enable_retries", 0)]) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await A2AServiceStub(channel).GetTask(GetTaskRequest(id="t-1"), timeout=5)
    assert failed.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert server.connections >= 1


async def test_the_harm_to_a_server_is_seen() -> None:
    """A server that takes memory and does not answer is not said to be well."""
    async with Target.bare() as target:

        async def stop_the_server() -> None:
            target.process.send_signal(19)
            await asyncio.sleep(0.5)
            target.process.send_signal(18)

        harm = await attacked(target, stop_the_server())
    assert harm.worst_ms > 400
    with pytest.raises(AssertionError, match="waited"):
        harm.check(p99_ms=1, grown_mib=1000)
    with pytest.raises(AssertionError, match="took memory"):
        harm.check(p99_ms=100_000, grown_mib=-1)


async def test_an_attack_runs_from_so_many_connections_and_ends_in_time() -> None:
    async with Target.bare() as target:
        told: dict[str, Any] = await attack("half_sent", target, connections=3, seconds=0.5)
    assert told == {"connections": 3, "closed": 0}
    assert len(ATTACKS) > 15
