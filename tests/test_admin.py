"""Health, reflection and channelz: on the agent's port, on one of their own, or off."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from a2a_grpc.config import ConfigurationError
from a2a_grpc.server import ListenError, ServerSettings
from a2a_grpc.wire import SERVICE_NAME, A2AServiceStub, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Program, run_program, scripted_agent, serving
from tests.ports import free_address

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH, CHANNELZ = "grpc.health.v1.Health", "grpc.channelz.v1.Channelz"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


async def health(channel: grpc.aio.Channel, service: str = SERVICE_NAME) -> int:
    return int((await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))).status)


async def listed(channel: grpc.aio.Channel) -> list[str]:
    """The services that reflection names."""
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
    answer = await call.read()
    call.cancel()
    return sorted(service.name for service in answer.list_services_response.service)


async def servers(channel: grpc.aio.Channel) -> Any:
    """The servers that channelz tells of."""
    stub = channelz_pb2_grpc.ChannelzStub(channel)
    return (await stub.GetServers(channelz_pb2.GetServersRequest())).server


async def offered(channel: grpc.aio.Channel) -> set[str]:
    """Which of the three are there."""
    found = set()
    asking: dict[str, Callable[[grpc.aio.Channel], Awaitable[Any]]] = {
        "health": health,
        "reflection": listed,
        "channelz": servers,
    }
    for name, ask in asking.items():
        try:
            await ask(channel)
            found.add(name)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
    return found


@asynccontextmanager
async def channel_to(address: str | None) -> AsyncIterator[grpc.aio.Channel]:
    assert address is not None
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


@pytest.mark.parametrize(
    ("settings", "there"),
    [
        ({}, {"health", "reflection"}),
        ({"channelz": True}, {"health", "reflection", "channelz"}),
        ({"reflection": False}, {"health"}),
        ({"health": False}, {"reflection"}),
        ({"health": False, "reflection": False}, set()),
    ],
    ids=lambda given: "-".join(sorted(given)) if isinstance(given, set) else str(given),
)
async def test_the_agents_port_has_what_the_settings_name(settings: dict[str, bool], there: set[str]) -> None:
    async with serving(scripted_agent(), **settings) as served:
        assert await offered(served.channel) == there
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


@covers("SEC-11")
async def test_on_a_port_of_their_own_they_are_there_and_not_on_the_agents() -> None:
    async with serving(scripted_agent(), channelz=True, admin_listen="127.0.0.1:0") as served:
        assert await offered(served.channel) == set()
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0
        async with channel_to(served.server.admin_address) as admin:
            assert await offered(admin) == {"health", "reflection", "channelz"}
            assert await listed(admin) == sorted([CHANNELZ, HEALTH, REFLECTION, REFLECTION_V1, SERVICE_NAME])
            assert await health(admin) == await health(admin, "") == SERVING
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await A2AServiceStub(admin).ListTasks(ListTasksRequest(), metadata=V1)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_channelz_tells_the_connections_and_calls_of_the_agents_port() -> None:
    async with serving(scripted_agent(), channelz=True, admin_listen="127.0.0.1:0") as served:
        for _ in range(3):
            await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
        async with channel_to(served.server.admin_address) as admin:
            figures = [found.data for found in await servers(admin)]
    assert max(one.calls_succeeded for one in figures) >= 3
    assert len(figures) >= 2, "the agent's server and the admin's"


async def test_health_on_a_port_of_its_own_says_that_the_server_drains() -> None:
    async with serving(scripted_agent(), admin_listen="127.0.0.1:0") as served:
        async with channel_to(served.server.admin_address) as admin:
            watching = health_pb2_grpc.HealthStub(admin).Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
            assert (await watching.read()).status == SERVING
            told = asyncio.ensure_future(watching.read())
            await served.server.stop(1.0)
            assert (await told).status == NOT_SERVING


@covers("Q3")
async def test_an_admin_port_that_is_taken_is_an_error_and_leaves_no_port_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = free_address()
        said = f"cannot listen on {address} for gRPC: address already in use; .* another port with admin_listen "
        with pytest.raises(ListenError, match=said):
            async with serving(scripted_agent(), listen=free, admin_listen=address):
                pass
        async with serving(scripted_agent(), listen=free) as served:
            assert served.server.grpc_address == free


def test_an_admin_port_beyond_this_machine_wants_encryption() -> None:
    with pytest.raises(ConfigurationError, match=r"admin_listen is '0\.0\.0\.0:1': plaintext beyond this machine"):
        ServerSettings(admin_listen="0.0.0.0:1")
    ServerSettings(admin_listen="0.0.0.0:1", insecure=True)


@pytest.mark.long
async def test_channelz_that_is_not_installed_is_named_with_its_extra() -> None:
    code = "import sys; sys.modules['grpc_channelz'] = None\nfrom a2a_grpc.cli import main\nmain()"
    exit_code, out, err = await run_program(
        "-c", code, "serve", "servers/scripted.py", "--channelz", "--listen=127.0.0.1:0", "--http-listen=off",
        "--store=memory:",
    )  # fmt: skip
    assert (exit_code, out) == (2, "")
    assert err == 'Error: channelz needs grpcio-channelz: pip install "a2a-grpc[channelz]"\n'


@pytest.mark.long
async def test_a_program_tells_where_its_admin_port_is(tmp_path: Path) -> None:
    async with Program.server("servers/scripted.py", "--admin-listen=127.0.0.1:0", "--store=memory:") as program:
        told = [event for event in program.events if event["event"] == "listening" and event["protocol"] == "admin"]
        assert [event["address"] for event in told] == [program.events[-1]["admin"]]
        async with channel_to(told[0]["address"]) as admin:
            assert await health(admin) == SERVING


@pytest.mark.long
async def test_workers_share_the_admin_port(tmp_path: Path) -> None:
    store = f"--store=sqlite:///{tmp_path}/tasks.db"
    async with Program.server("servers/scripted.py", "--workers=2", store, "--admin-listen=127.0.0.1:0") as program:
        for _ in range(4):  # a connection each: whichever worker takes it
            async with channel_to(program.events[-1]["admin"]) as admin:
                assert await offered(admin) == {"health", "reflection"}
