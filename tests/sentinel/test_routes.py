"""Plain routes: agents that the sentinel itself calls."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import connect
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import PermissionDeniedError
from a2a_grpc.sentinel import Attachment, AttachSettings, Sentinel, SentinelSettings
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, Task
from tests.auth.pki import Authority, write
from tests.harness import V1, Program, refusal, run_program, scripted
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, ended, raw_server, sentinel, stream, unary

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
PAIRS = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\xff"))


async def answer(request: bytes, context: Any) -> bytes:
    await context.send_initial_metadata((("x-first", "1"),))
    context.set_trailing_metadata(PAIRS)
    if b"fail" in request:
        await context.abort(grpc.StatusCode.ABORTED, "aborted €")
    return request


async def three(request: bytes, context: Any) -> None:
    for _ in range(3):
        await context.write(request)


@asynccontextmanager
async def routed(serve: Any, folder: Path) -> AsyncIterator[tuple[grpc.aio.Channel, grpc.aio.Channel]]:
    """A bare server behind a sentinel: a channel to the sentinel, and one to the server itself."""
    async with raw_server(serve, folder / "agent.sock") as target, sentinel(route=f"{ADDRESS}={target}") as running:
        async with channel_to(running.address) as through, channel_to(target) as direct:
            yield through, direct


async def test_a_call_of_a_plain_route_is_byte_for_byte_a_direct_call(tmp_path: Path) -> None:
    async with routed(answer, tmp_path) as (through, direct):
        for request in (REQUEST, GetTaskRequest(tenant=ADDRESS, id="fail").SerializeToString()):
            seen = await ended(unary(through)(request))
            assert seen == await ended(unary(direct)(request))
        assert seen[1:3] == (grpc.StatusCode.ABORTED, "aborted €")
    async with routed(three, tmp_path) as (through, direct):
        assert await ended(stream(through)(REQUEST)) == await ended(stream(direct)(REQUEST))


async def test_a_compressed_response_of_a_plain_route_arrives_as_it_was(tmp_path: Path) -> None:
    async def compressed(request: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return b"x" * 10_000

    async with routed(compressed, tmp_path) as (through, _):
        assert await unary(through)(REQUEST) == b"x" * 10_000


async def test_an_agent_of_a_plain_route_that_does_not_listen_is_unreachable() -> None:
    async with sentinel(route=f"{ADDRESS}=127.0.0.1:9") as running, channel_to(running.address) as channel:
        refused = await refusal(unary(channel)(REQUEST))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_UNREACHABLE")
        assert "127.0.0.1" not in refused.text


async def test_a_plain_route_whose_agent_does_not_answer_fails_within_the_connect_timeout() -> None:
    """The port accepts connections, and says nothing. The call has no deadline."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        route = f"{ADDRESS}=127.0.0.1:{silent.getsockname()[1]}"
        async with sentinel(route=route, route_connect_timeout_s=0.3) as running:
            async with channel_to(running.address) as channel:
                refused = await asyncio.wait_for(refusal(unary(channel)(REQUEST)), 10)
                assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_UNREACHABLE")


async def test_kill_9_of_the_agent_of_a_plain_route_ends_its_streams_as_gone() -> None:
    async with Program.server("servers/scripted.py") as agent, sentinel(route=f"{ADDRESS}={agent.address}") as running:
        async with channel_to(running.address) as channel:
            script = scripted({"sleep": {"seconds": 60}}, tenant=ADDRESS)
            events = A2AServiceStub(channel).SendStreamingMessage(script, metadata=V1)
            await events.read()
            agent.process.kill()

            async def rest() -> None:
                while await events.read() is not grpc.aio.EOF:
                    pass

            gone = await refusal(rest())
            assert (gone.code, gone.reason) == (grpc.StatusCode.UNAVAILABLE, "AGENT_GONE")


async def test_a_plain_route_beyond_loopback_uses_tls_and_one_with_its_own_roots_is_reached(
    tmp_path: Path,
) -> None:
    authority = Authority()
    ca = write(tmp_path / "ca.crt", authority.pem)
    certificate, key = authority.issue("localhost", dns=("localhost",)).write(tmp_path)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    async with Program.server("servers/scripted.py", *options) as agent:
        target = agent.address.replace("127.0.0.1", "localhost")
        async with sentinel(route=f"{ADDRESS}={target}", route_ca_cert=str(ca)) as running:
            async with connect(ADDRESS, sentinel=running.address) as client:
                assert isinstance(await client.send("hello"), Task)
        async with sentinel(route=f"{ADDRESS}={target}") as running, channel_to(running.address) as channel:
            assert (await refusal(unary(channel)(REQUEST))).code is grpc.StatusCode.UNAVAILABLE


async def test_no_agent_attaches_at_the_address_of_a_plain_route(tmp_path: Path) -> None:
    route = f"other@fame.fabric=127.0.0.1:9,{ADDRESS}=127.0.0.1:9"
    async with sentinel(route=route) as running:
        async with Attachment(AttachSettings(attach=running.address, address=ADDRESS, replace=True)) as refused:
            with pytest.raises(PermissionDeniedError, match="plain route"):
                await refused.welcome()
        async with attached_raw(answer, running.address, "third@fame.fabric") as (channel, _):
            third = GetTaskRequest(tenant="third@fame.fabric").SerializeToString()
            assert await unary(channel)(third) == third


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ("10.0.0.5:50051", "it must be ADDRESS=HOST:PORT"),
        ("Translator=10.0.0.5:50051", "route is 'Translator'"),
        ("a@b=", "route is 'a@b='"),
        ("a@b=host:0", "port 0 cannot be called"),
        ("a@b=x:1,a@b=y:1", "route names the address 'a@b' twice"),
    ],
)
async def test_a_wrong_route_is_named(route: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Sentinel(SentinelSettings(route=route, http_listen="off"))


@pytest.mark.long
async def test_the_command_line_takes_several_routes_and_names_a_wrong_one() -> None:
    code, _, err = await run_program("-m", "a2a_grpc", "sentinel", "--listen", "127.0.0.1:0", "--route", "x=y")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "route is 'x'" in err
    async with Program.server("servers/scripted.py") as agent:
        routes = ("--route", f"one@a={agent.address}", "--route", f"two@a={agent.address}")
        command = ("-m", "a2a_grpc", "sentinel", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen=off", *routes)
        async with Program(*command) as running:
            for address in ("one@a", "two@a"):
                async with connect(address, sentinel=running.address) as client:
                    assert isinstance(await client.send("hello"), Task)
