"""What the tests of the sentinel are made of: agents behind one, and servers of any bytes as agents."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio

from a2a_grpc import Agent
from a2a_grpc.agent.card import card_json
from a2a_grpc.auth import Authenticator, AuthSettings
from a2a_grpc.sentinel import Attachment, AttachSettings, Sentinel, SentinelSettings
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.server.loaded import make_server
from a2a_grpc.wire import SERVICE, SERVICE_NAME, A2AServiceStub, SubscribeToTaskRequest
from tests.harness import Served

ADDRESS = "scripted@fame.fabric"


@asynccontextmanager
async def sentinel(
    auth: Sequence[Authenticator] = (), rules: Rules | None = None, callers: AuthSettings | None = None, **settings: Any
) -> AsyncIterator[Sentinel]:
    """A sentinel on a free port."""
    settings = {"listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0, **settings}
    async with Sentinel(SentinelSettings(**settings), auth=auth, rules=rules, callers=callers) as running:
        yield running


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[grpc.aio.Channel]:
    options = [
        ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0),
    ]  # fmt: skip
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


@asynccontextmanager
async def attached(
    agent: Agent,
    at: str,
    address: str = ADDRESS,
    auth: Sequence[Authenticator] = (),
    token: str = "",
    attach: Mapping[str, Any] = MappingProxyType({}),
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    **settings: Any,
) -> AsyncIterator[Served]:
    """A server of the agent, attached to a sentinel. The channel and the stub are those of the sentinel.

    `attach` has further settings of the attachment.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.sock")
        async with Attachment(attaching(at, address, Path(folder), token, **attach)) as attachment:
            public, tenant = await attachment.welcome()
            settings = {
                "listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0,
                "advertise": public, "tenant": tenant, **settings,
            }  # fmt: skip
            async with make_server(
                agent,
                settings,
                authenticators=auth,
                interceptors=interceptors,
                private_socket=path,
                private_callers=attachment.callers,
            ) as server:
                attachment.serve(path)
                attachment.describe(card_json(server.card))
                async with channel_to(at) as channel:
                    yield Served(server, channel, A2AServiceStub(channel))


def attaching(at: str, address: str, folder: Path, token: str, **settings: Any) -> AttachSettings:
    """The settings of an agent that shows a token, if there is one."""
    if token:
        (folder / "token").write_text(token)
        settings["attach_token_file"] = str(folder / "token")
    return AttachSettings(attach=at, address=address, **settings)


class Raw(grpc.GenericRpcHandler):
    """An agent that answers each method of the service with one function, in bytes."""

    def __init__(self, serve: Callable[[bytes, Any], Awaitable[bytes | None]]) -> None:
        self._serve = serve

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        name = handler_call_details.method.rpartition("/")[2]
        if SERVICE.methods_by_name[name].server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._serve)
        return grpc.unary_unary_rpc_method_handler(self._serve)


@asynccontextmanager
async def raw_server(serve: Callable[[bytes, Any], Awaitable[bytes | None]], path: Path) -> AsyncIterator[str]:
    """A bare server of grpc.aio on a free port, and on a Unix socket: its HOST:PORT."""
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 100)])
    server.add_generic_rpc_handlers((Raw(serve),))
    server.add_insecure_port(f"unix:{path}")
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def attached_raw(
    serve: Callable[[bytes, Any], Awaitable[bytes | None]],
    at: str,
    address: str = ADDRESS,
    token: str = "",
    **settings: Any,
) -> AsyncIterator[tuple[grpc.aio.Channel, grpc.aio.Channel]]:
    """A bare server of grpc.aio, attached to a sentinel: a channel to the sentinel, and one to the server itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "agent.sock")
        async with raw_server(serve, path) as direct_address:
            async with Attachment(attaching(at, address, Path(folder), token, **settings)) as attachment:
                await attachment.welcome()
                attachment.serve(path)
                async with channel_to(at) as through, channel_to(direct_address) as direct:
                    yield through, direct


def unary(channel: grpc.aio.Channel, method: str = "GetTask") -> Any:
    return channel.unary_unary(f"/{SERVICE_NAME}/{method}")


def stream(channel: grpc.aio.Channel, method: str = "SubscribeToTask") -> Any:
    return channel.unary_stream(f"/{SERVICE_NAME}/{method}")


async def ended(call: Any) -> tuple[Any, ...]:
    """Everything that a call gave: responses, status, initial and trailing metadata."""
    responses: list[bytes] = []
    try:
        responses = [element async for element in call] if hasattr(call, "__aiter__") else [await call]
    except grpc.aio.AioRpcError:
        pass
    except asyncio.CancelledError:
        if not call.cancelled():
            raise
    trailing = sorted((key, value) for key, value in await call.trailing_metadata())
    return responses, await call.code(), await call.details(), tuple(await call.initial_metadata()), trailing


def request_of(task_id: str, tenant: str = ADDRESS) -> bytes:
    """The bytes of a SubscribeToTask."""
    return SubscribeToTaskRequest(tenant=tenant, id=task_id).SerializeToString()
