"""Who is attached where, and peers that break the protocol."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from concurrent import futures
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc.auth import CallCredentials
from a2a_grpc.client.status import ending_of, failure_of
from a2a_grpc.errors import InvalidRequestError, PermissionDeniedError, UnavailableError
from a2a_grpc.principal import Principal
from a2a_grpc.sentinel import Attachment, AttachSettings, Sentinel, SentinelSettings
from a2a_grpc.sentinel.pipe import BROKEN
from a2a_grpc.sentinel.tunnel import DIAL_S, Tunnel
from a2a_grpc.sentinel.wire import (
    ATTACH,
    PIPE,
    AgentFrame,
    Described,
    Dial,
    Heartbeat,
    Hello,
    PipeFrame,
    SentinelFrame,
    Welcome,
)
from a2a_grpc.wire import GetTaskRequest
from tests.harness import eventually, refusal
from tests.proxy import Proxy
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, sentinel, unary

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
HEARTBEAT_S = 1.0
"""Long enough that a busy machine does not miss two of them."""


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def by_token(credentials: CallCredentials) -> Principal | None:
    """An authenticator: each bearer token is the name of its caller."""
    shown = credentials.metadata.get("authorization")
    return Principal(subject=str(shown[0]).removeprefix("Bearer ")) if shown else None


def attach(channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
    return channel.stream_stream(ATTACH)(metadata=metadata)


def hello(address: str = ADDRESS, instance: str = "i", replace: bool = False) -> bytes:
    said = Hello(address=address, instance=instance, replace=replace, max_calls=100)
    return AgentFrame(hello=said).SerializeToString()


async def kind_of(call: Any) -> str | None:
    kind: str | None = SentinelFrame.FromString(await call.read()).WhichOneof("frame")
    return kind


@asynccontextmanager
async def attachment(at: str, address: str = ADDRESS, **settings: Any) -> AsyncIterator[Attachment]:
    async with Attachment(AttachSettings(attach=at, address=address, **settings)) as attached:
        yield attached


@asynccontextmanager
async def raw_sentinel(serve: Any) -> AsyncIterator[str]:
    """A sentinel whose Attach is a function of the test. Its address."""
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Attach": grpc.stream_stream_rpc_method_handler(serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a2a_grpc.sentinel.v1.Sentinel", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def status_of(call: Any) -> tuple[grpc.StatusCode, str]:
    """The status with which a stream ended."""
    while True:
        try:
            if await call.read() is grpc.aio.EOF:
                break
        except grpc.aio.AioRpcError:
            break
    return await call.code(), await call.details()


async def test_an_address_belongs_to_the_first_principal_and_its_agent_is_not_disturbed(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        (tmp_path / name).write_text(f"{name}\n")
    settings = SentinelSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0)
    async with Sentinel(settings, auth=[by_token]) as running:
        async with attachment(running.address, attach_token_file=str(tmp_path / "ada")) as first:
            await first.welcome()
            async with attachment(running.address, attach_token_file=str(tmp_path / "bob"), replace=True) as second:
                with pytest.raises(PermissionDeniedError):
                    await second.welcome()
            async with attachment(running.address) as nameless:
                with pytest.raises(Exception) as unknown:  # noqa: PT011
                    await nameless.welcome()
                assert getattr(unknown.value, "reason", "") == "UNAUTHENTICATED"
            async with channel_to(running.address) as channel:
                assert (await refusal(unary(channel)(REQUEST))).code is grpc.StatusCode.UNAUTHENTICATED
        async with attachment(running.address, attach_token_file=str(tmp_path / "bob")) as late:  # ada is away
            with pytest.raises(PermissionDeniedError):
                await late.welcome()


async def test_the_status_of_a_refusal_is_known_also_if_a_write_fails_before_it_is_read() -> None:
    """gRPC sets the status INTERNAL in most of these streams, since the refusal has come but was not read."""
    refused = threading.Event()

    def serve(requests: Any, context: grpc.ServicerContext) -> None:
        context.add_callback(refused.set)
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "credentials are missing")

    server = grpc.server(futures.ThreadPoolExecutor(1))
    handlers: dict[str, Any] = {"Attach": grpc.stream_stream_rpc_method_handler(serve)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a2a_grpc.sentinel.v1.Sentinel", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    async with channel_to(f"127.0.0.1:{port}") as channel:
        for _ in range(30):
            refused.clear()
            call = attach(channel)
            ending = ending_of(call)
            with pytest.raises(BROKEN):  # noqa: PT012
                await call.wait_for_connection()
                refused.wait(10)  # the event loop stands still, so that it does not read the status
                await call.write(hello())
                await call.read()
            failure = await failure_of(ending)
            assert (failure.code(), failure.details()) == (grpc.StatusCode.UNAUTHENTICATED, "credentials are missing")
    await asyncio.to_thread(server.stop(None).wait)


async def test_of_two_principals_that_attach_at_the_same_time_one_gets_the_address() -> None:
    settings = SentinelSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0)
    async with Sentinel(settings, auth=[by_token]) as running, channel_to(running.address) as channel:
        for place in range(20):
            calls = [attach(channel, (("authorization", f"Bearer {name}"),)) for name in ("ada", "bob")]
            for number, call in enumerate(calls):
                await call.write(hello(f"a-{place}@fame.fabric", instance=f"i-{number}"))

            async def answer(call: Any) -> str | None:
                try:
                    return await kind_of(call)
                except grpc.aio.AioRpcError as error:
                    return error.code().name

            assert sorted([str(await answer(call)) for call in calls]) == ["PERMISSION_DENIED", "welcome"]
            for call in calls:
                call.cancel()


async def test_credentials_for_one_address_neither_attach_nor_reach_another(tmp_path: Path) -> None:
    async def narrow(credentials: CallCredentials) -> Principal | None:
        return Principal(subject="ada", tenants=frozenset(["other@fame.fabric"]))

    settings = SentinelSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0)
    async with Sentinel(settings, auth=[narrow]) as running:
        async with attachment(running.address) as refused:
            with pytest.raises(PermissionDeniedError, match="do not cover"):
                await refused.welcome()
        async with attached_raw(echo, running.address, "other@fame.fabric") as (channel, _):
            other = GetTaskRequest(tenant="other@fame.fabric").SerializeToString()
            assert await unary(channel)(other) == other
            assert (await refusal(unary(channel)(REQUEST))).reason == "AGENT_NOT_ATTACHED"


async def test_a_second_agent_is_refused_unless_it_replaces_the_first() -> None:
    async def named(name: str) -> Any:
        async def serve(request: bytes, context: Any) -> bytes:
            return name.encode()

        return serve

    async with sentinel() as running, attached_raw(await named("first"), running.address) as (channel, _):
        async with attachment(running.address, fail_fast=True) as second:
            with pytest.raises(UnavailableError, match="another agent is attached"):
                await second.welcome()
        assert await unary(channel)(REQUEST) == b"first"
        async with attachment(running.address, replace=True) as third:
            await third.welcome()
            third.serve(Path("/nonexistent/socket"))
            refused = await refusal(unary(channel)(REQUEST, timeout=20))
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_GONE")


async def test_an_agent_that_was_replaced_does_not_come_back() -> None:
    async with sentinel() as running, attachment(running.address) as first:
        await first.welcome()
        async with attachment(running.address, replace=True) as second:
            await second.welcome()
            reason = await asyncio.wait_for(first.wait_failed(), 10)
            assert "another agent has taken the address" in str(reason)
            [tunnel] = running._routes.all()
            assert tunnel.takes_calls


@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_that_comes_while_its_tunnel_is_closed_is_closed_too(rounds: int, tmp_path: Path) -> None:
    said = Hello(address=ADDRESS, instance="i", max_calls=100)
    tunnel = Tunnel(said, Principal(), tmp_path / "s", {}, max_calls=100, max_response_bytes=1 << 20)
    await tunnel.open()
    with socket.socket(socket.AF_UNIX) as late:
        late.setblocking(False)
        late.connect(str(tmp_path / "s"))
        for _ in range(rounds):
            await asyncio.sleep(0)
        await tunnel.close()
        try:
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(late, 1), DIAL_S / 2) == b""
        except ConnectionResetError:
            pass


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([b"\xff\xff\xff"], "the bytes are no AgentFrame"),
        ([AgentFrame(heartbeat=Heartbeat()).SerializeToString()], "the first frame of Attach must be Hello"),
        ([b""], "the first frame of Attach must be Hello"),
        ([hello("no address")], "hello.address"),
        ([hello(instance="")], "hello.instance"),
        ([hello(instance="i" * 65)], "hello.instance"),
        ([hello(), hello()], "Hello may be said once only"),
        ([hello(), b"\x32\x00"], "the frame is of no known kind"),
        ([hello(), b"\xff"], "the bytes are no AgentFrame"),
    ],
)
async def test_garbage_on_attach_ends_that_stream_with_its_name_and_no_other(frames: list[bytes], said: str) -> None:
    async with sentinel() as running, attached_raw(echo, running.address, "other@fame.fabric") as (channel, _):
        call = attach(channel)
        for frame in frames:
            await call.write(frame)
        code, text = await status_of(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert said in text
        other = GetTaskRequest(tenant="other@fame.fabric").SerializeToString()
        assert await unary(channel)(other) == other
        gone = await refusal(unary(channel)(REQUEST))
        assert gone.reason == "AGENT_NOT_ATTACHED"


async def test_a_compressed_frame_explains_the_bytes_that_were_sent_and_is_inflated_up_to_a_limit() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        for size, code in ((200_000, grpc.StatusCode.INVALID_ARGUMENT), (300_000, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            call: Any = channel.stream_stream(ATTACH)(compression=grpc.Compression.Gzip)
            await call.write(hello())
            assert await kind_of(call) == "welcome"
            await call.write(AgentFrame(described=Described(card=b" " * size)).SerializeToString())
            assert (await status_of(call))[0] is code
        assert running._front is not None
        [account] = running._front.traffic._accounts.values()
        assert 0 < account.explained < 20_000


async def test_a_pipe_that_nobody_asked_for_is_refused() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        for raw in (PipeFrame(dial="x").SerializeToString(), PipeFrame(data=b"x").SerializeToString(), b"\xff"):
            call: Any = channel.stream_stream(PIPE)()
            await call.write(raw)
            assert (await status_of(call))[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("garbage", [PipeFrame(data=b"GET / HTTP/1.1\r\n\r\n").SerializeToString(), b"\xff\xff"])
async def test_garbage_on_a_pipe_ends_the_tunnel_with_its_name_and_no_other(garbage: bytes) -> None:
    async with sentinel() as running, attached_raw(echo, running.address, "other@fame.fabric") as (channel, _):
        call = attach(channel)
        await call.write(hello())
        assert await kind_of(call) == "welcome"
        asked = asyncio.create_task(refusal(unary(channel)(REQUEST, timeout=20)))
        frame = SentinelFrame.FromString(await call.read())
        pipe: Any = channel.stream_stream(PIPE)()
        await pipe.write(PipeFrame(dial=frame.dial.id).SerializeToString())
        await pipe.write(garbage)
        refused = await asked
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_GONE")
        code, said = await status_of(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "HTTP/2" in said or "PipeFrame" in said
        other = GetTaskRequest(tenant="other@fame.fabric").SerializeToString()
        assert await unary(channel)(other) == other
        call.cancel()
        pipe.cancel()


async def test_a_silent_agent_is_detached_after_two_heartbeats_and_one_that_says_heartbeats_is_not() -> None:
    async with sentinel(heartbeat_s=HEARTBEAT_S) as running, channel_to(running.address) as channel:
        async with attached_raw(echo, running.address, "alive@fame.fabric"):
            tunnels = running._routes.all()
            call = attach(channel)
            await call.write(hello())
            assert await kind_of(call) == "welcome"
            code, text = await status_of(call)
            assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "the agent was silent for two heartbeats")
            await asyncio.sleep(HEARTBEAT_S)
            alive = GetTaskRequest(tenant="alive@fame.fabric").SerializeToString()
            assert await unary(channel)(alive) == alive
            assert running._routes.all() == tunnels


async def test_a_process_that_was_held_up_for_longer_than_two_heartbeats_loses_no_tunnel() -> None:
    async with sentinel(heartbeat_s=0.5) as running:
        async with attached_raw(echo, running.address) as (channel, _):
            tunnels = running._routes.all()
            time.sleep(1.6)  # the event loop of both ends stands still
            assert await unary(channel)(REQUEST) == REQUEST
            assert running._routes.all() == tunnels


async def test_when_attach_ends_the_calls_of_the_agent_end_as_gone() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        call = attach(channel)
        await call.write(hello())
        assert await kind_of(call) == "welcome"
        asked = asyncio.create_task(refusal(unary(channel)(REQUEST)))  # it waits for a pipe that never comes
        assert await kind_of(call) == "dial"
        call.cancel()
        refused = await asyncio.wait_for(asked, 30)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_GONE")


async def test_nothing_is_left_of_agents_that_came_and_went() -> None:
    async with sentinel() as running, channel_to(running.address) as channel:

        def descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))

        async def once() -> None:
            call = attach(channel)
            await call.write(hello())
            assert await kind_of(call) == "welcome"
            await call.done_writing()
            await status_of(call)

        await once()
        before = descriptors()
        for _ in range(100):
            await once()

        def released() -> None:
            assert descriptors() <= before + 2
            assert running._routes.all() == []
            assert running._attaching._dials == {}

        await eventually(released)


async def test_a_sentinel_that_dials_without_end_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(requests: Any, context: Any) -> None:
        await context.read()
        await context.write(SentinelFrame(welcome=Welcome(tenant=ADDRESS, heartbeat_s=20)).SerializeToString())
        for number in range(2000):
            await context.write(SentinelFrame(dial=Dial(id=str(number))).SerializeToString())
        await asyncio.sleep(60)

    async with raw_sentinel(serve) as address, attachment(address) as lost:
        await lost.welcome()

        def left() -> None:
            assert "more than 1000 pipes" in caplog.text

        await eventually(left)


async def test_an_agent_leaves_a_sentinel_that_is_silent_for_two_heartbeats(caplog: pytest.LogCaptureFixture) -> None:
    attached = 0

    async def serve(requests: Any, context: Any) -> None:
        nonlocal attached
        await context.read()
        await context.write(SentinelFrame(welcome=Welcome(tenant=ADDRESS, heartbeat_s=0.2)).SerializeToString())
        attached += 1
        await asyncio.sleep(60)

    async with raw_sentinel(serve) as address, attachment(address) as left:
        await left.welcome()

        def again() -> None:
            assert attached > 1
            assert "the sentinel was silent for two heartbeats" in caplog.text

        await eventually(again)


async def test_an_agent_that_stops_is_not_called_lost_though_its_words_come_late(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with sentinel() as running, Proxy(running.address) as way:
        async with attachment(way.address) as leaving:
            await leaving.welcome()
            await asyncio.sleep(0.1)
            way.stall()  # so that Bye and whatever follows it come together
            asyncio.get_running_loop().call_later(0.5, way.resume)

        async def is_free() -> None:
            async with channel_to(running.address) as channel:
                assert (await refusal(unary(channel)(REQUEST))).reason == "AGENT_NOT_ATTACHED"

        await eventually(is_free)
    assert "an agent was lost" not in caplog.text


async def test_an_agent_attaches_again_when_its_stream_is_canceled_on_the_way(caplog: pytest.LogCaptureFixture) -> None:
    attached = 0

    async def serve(requests: Any, context: Any) -> None:
        nonlocal attached
        await context.read()
        await context.write(SentinelFrame(welcome=Welcome(tenant=ADDRESS, heartbeat_s=5)).SerializeToString())
        attached += 1
        await context.abort(grpc.StatusCode.CANCELLED, "reset by a proxy")

    async with raw_sentinel(serve) as address, attachment(address) as left:
        await left.welcome()

        def again() -> None:
            assert attached > 2
            assert "the connection to the sentinel is broken" in caplog.text

        await eventually(again)


async def test_an_attachment_to_a_sentinel_that_breaks_the_protocol_is_lost_and_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve(requests: Any, context: Any) -> None:
        await context.read()
        await context.write(b"\xff\xff")

    async with raw_sentinel(serve) as address, attachment(address, fail_fast=True) as lost:
        with pytest.raises(InvalidRequestError, match="no SentinelFrame"):
            await lost.welcome()
