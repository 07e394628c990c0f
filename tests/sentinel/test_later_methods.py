"""Methods that a later version of A2A may have: relayed if their tenant names an agent."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc.sentinel import Attachment, AttachSettings
from a2a_grpc.wire import SERVICE_NAME, GetTaskRequest
from tests.attacks import http2
from tests.attacks.test_accept_loop import throw
from tests.harness import eventually
from tests.sentinel.tunnels import ADDRESS, channel_to, ended, sentinel

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
LATER = f"/{SERVICE_NAME}/PauseTask"


class Later(grpc.GenericRpcHandler):
    """An agent of a later version: one method with a response, one with many, one that fails."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        name = handler_call_details.method.rpartition("/")[2]

        async def one(request: bytes, context: Any) -> bytes:
            context.set_trailing_metadata((("x-last", "1"),))
            return request + name.encode()

        async def many(request: bytes, context: Any) -> None:
            await context.send_initial_metadata((("x-first", "1"),))
            for number in range(3):
                await context.write(bytes([number]))

        async def none(request: bytes, context: Any) -> bytes:
            return await context.abort(grpc.StatusCode.DATA_LOSS, "no", (("x-why-bin", b"\x01"),))  # type: ignore[no-any-return]

        match name:
            case "PauseTask":
                return grpc.unary_unary_rpc_method_handler(one)
            case "WatchTasks":
                return grpc.unary_stream_rpc_method_handler(many)
            case "LoseTask":
                return grpc.unary_unary_rpc_method_handler(none)
        return None


@asynccontextmanager
async def later(at: str) -> AsyncIterator[tuple[grpc.aio.Channel, grpc.aio.Channel]]:
    """Such an agent, attached: a channel to the sentinel, and one to the agent itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.sock")
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Later(),))
        server.add_insecure_port(f"unix:{path}")
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with Attachment(AttachSettings(attach=at, address=ADDRESS)) as attachment:
            await attachment.welcome()
            attachment.serve(path)
            async with channel_to(at) as through, channel_to(f"127.0.0.1:{port}") as direct:
                yield through, direct
        await server.stop(None)


def call(channel: grpc.aio.Channel, path: str, request: bytes = REQUEST, *, is_stream: bool = False) -> Any:
    made: Any = channel.unary_stream(path) if is_stream else channel.unary_unary(path)
    return made(request, timeout=10)


async def test_methods_that_only_the_agent_knows_are_the_same_through_the_sentinel() -> None:
    async with sentinel() as running, later(running.address) as channels:
        for name, is_stream in (("PauseTask", False), ("WatchTasks", True), ("LoseTask", False), ("NoTask", False)):
            ours, theirs = [
                await ended(call(channel, f"/{SERVICE_NAME}/{name}", is_stream=is_stream)) for channel in channels
            ]
            assert ours == theirs, name


@pytest.mark.parametrize(
    ("path", "tenant"),
    [
        (LATER, ""),
        (LATER, "no address"),
        ("/lf.a2a.v2.A2AService/PauseTask", ADDRESS),
        (f"/{SERVICE_NAME}/Pause Task", ADDRESS),
        (f"/{SERVICE_NAME}/", ADDRESS),
    ],
)
async def test_other_methods_and_tenants_that_are_no_address_are_unimplemented(path: str, tenant: str) -> None:
    async with sentinel() as running, later(running.address) as (ours, _):
        _, code, said, *_ = await ended(call(ours, path, GetTaskRequest(tenant=tenant).SerializeToString()))
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert SERVICE_NAME in str(said)


async def test_a_later_method_of_an_agent_that_is_away_has_the_answer_of_all_methods() -> None:
    async with sentinel() as running, later(running.address) as (ours, _):
        request = GetTaskRequest(tenant="nobody@fame.fabric").SerializeToString()
        assert await ended(call(ours, LATER, request)) == await ended(call(ours, f"/{SERVICE_NAME}/GetTask", request))


async def test_a_path_that_is_not_utf_8_ends_no_call_of_a_later_method() -> None:
    async with sentinel() as running, later(running.address) as (ours, _):
        for _ in range(3):
            await throw(running.address, http2.request(1, b"/\xff"))

            async def relayed() -> None:
                assert (await ended(call(ours, LATER)))[0] == [REQUEST + b"PauseTask"]

            await eventually(relayed)


async def test_many_calls_of_later_methods_at_once_each_get_their_answer() -> None:
    async with sentinel() as running, later(running.address) as (ours, _):
        answers = await asyncio.gather(*(ended(call(ours, LATER)) for _ in range(80)))
        assert {tuple(answer[0]) for answer in answers} == {(REQUEST + b"PauseTask",)}
