"""A real server for an agent, with a connected client: `running`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import grpc.aio
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from a2a_grpc.agent import Agent, check_agent
from a2a_grpc.arguments import checking
from a2a_grpc.auth import Authenticator
from a2a_grpc.client import Client, ClientSettings
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.security import Given
from a2a_grpc.config import ConfigurationError
from a2a_grpc.server.loaded import make_server
from a2a_grpc.server.policy import Authorize
from a2a_grpc.store import MemoryStore
from a2a_grpc.testing.clock import Clock

DEFAULTS = {"listen": "127.0.0.1:0", "http_listen": "off", "store": "memory:", "drain_grace_s": 0.0}
"""The settings of a server in a test, unless the test gives others."""

FAR_S = 1e9
"""Thirty years."""
WITH_CLOCK = {
    "lease_s": FAR_S,  # this and the next one are for several servers on one store, and are due every second
    "poll_interval_s": FAR_S,
    "request_timeout_s": FAR_S,  # this and the next one are for the network, which takes real time
    "unread_response_s": FAR_S,
    "end_floods": False,  # the connections would be looked at forty times a second
}
"""Further settings of a server whose time is moved, unless the test gives others."""


@asynccontextmanager
@checking
async def running(
    agent: Agent,
    *,
    clock: Clock | None = None,
    client: ClientSettings | None = None,
    credentials: Given | None = None,
    headers: Metadata = (),
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    authenticators: Sequence[Authenticator] = (),
    authorize: Authorize | None = None,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Serve an agent on a free port of this machine while a block runs. Yield a client that is connected to it.

    The server is a real one, in the event loop of the test. It keeps tasks in memory, has no HTTP port, and ends at
    once when the block ends. `client.target` is its address, for further clients. Environment variables are not read.

    Example:
        async def test_it_greets() -> None:
            async with running(agent) as client:
                assert_state(await client.send("Ada"), "COMPLETED", "Hello, Ada!")

    Args:
        agent: The agent to serve.
        clock: A clock that moves the time of the server. It needs the memory store.
        client: The settings of the client; by default the defaults of the class.
        credentials: Credentials of the client, as `connect` takes them.
        headers: gRPC metadata of every call of the client.
        interceptors: Interceptors of the server, as in `serve`.
        authenticators: Authenticators of the server, as in `serve`.
        authorize: A function for policies of your own, as in `serve`.
        **settings: Settings of the server, as in `serve`.

    Yields:
        The client.

    Raises:
        TypeError: `agent` is not an `Agent`, or no setting has a name that was given.
        ConfigurationError: A setting has a value that is not possible.
    """
    check_agent(agent, Agent)
    async with AsyncExitStack() as stack:
        store = None
        if clock is not None:
            if settings.get("store", "memory:") != "memory:":
                raise ConfigurationError("a clock needs the store 'memory:'; a database has a clock of its own")
            stack.enter_context(clock)
            store = MemoryStore(clock=clock.time)
            settings = {**WITH_CLOCK, **settings}
        server = make_server(
            agent,
            {**DEFAULTS, **settings},
            store=store,
            interceptors=interceptors,
            authenticators=authenticators,
            authorize=authorize,
            environ={},
        )
        await stack.enter_async_context(server)
        target = f"grpcs://{server.grpc_address}" if server.settings.tls_cert else server.grpc_address
        caller = Client(target, client, credentials=credentials, headers=headers)
        await stack.enter_async_context(caller)
        if clock is not None:
            stack.callback(clock.settles_with(lambda: _round_trip(caller)))
        yield caller


async def _round_trip(client: Client) -> None:
    """Make a call. Calls of one connection arrive in order, so those before it have arrived when it returns."""
    with suppress(grpc.aio.AioRpcError):  # an error is an answer, too: the server may have no health service
        await HealthStub(client.channel).Check(HealthCheckRequest())
