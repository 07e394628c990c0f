"""Has tests of clients and servers run through a sentinel, as they are: what `serving` gives stands behind one.

Fields and variables that the tests do not give name the sentinel: `grpc_address` is its address, and each request
without a tenant names the agent.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc.aio

from a2a_grpc import Agent, Server
from a2a_grpc.wire import A2AServiceStub
from tests.harness import Served
from tests.sentinel.tunnels import ADDRESS, attached, sentinel


class Behind:
    """A server with the address of its sentinel."""

    def __init__(self, server: Server, address: str) -> None:
        self._server = server
        self.grpc_address = address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


class Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives requests without a tenant the address of the agent."""

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, addressed(request))


class Streaming(grpc.aio.UnaryStreamClientInterceptor):
    """Gives requests without a tenant the address of the agent."""

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, addressed(request))


def addressed(request: Any) -> Any:
    if request.tenant:
        return request
    sent = type(request)()
    sent.CopyFrom(request)
    sent.tenant = ADDRESS
    return sent


@asynccontextmanager
async def serving_at_sentinel(agent: Agent, **settings: Any) -> AsyncIterator[Served]:
    """The agent, attached to a sentinel of its own."""
    sizes = {name: settings[name] for name in ("max_receive_bytes", "max_send_bytes") if name in settings}
    async with sentinel(**sizes) as front, attached(agent, front.address, **settings) as served:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(
            front.address, options=options, interceptors=[Unary(), Streaming()]
        ) as channel:
            server = cast(Server, Behind(served.server, front.address))
            yield Served(server, channel, A2AServiceStub(channel))
