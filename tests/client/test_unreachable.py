"""An agent that is not reached: one line that names the target and says what to do, soon enough."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.client import ConnectionLostError, UnreachableError
from a2a_grpc.errors import UnavailableError
from tests.client.peers import (
    DONE,
    OPERATIONS,
    Page,
    Peer,
    Site,
    black_hole,
    collected,
    http_1_server,
    peering,
    silent_port,
)
from tests.covers import covers
from tests.harness import eventually
from tests.ports import free_address, free_port
from tests.proxy import Proxy

CONNECT_S = 0.3
GENEROUS_S = 30.0
"""Far more than it takes, and far less than the time for calls below."""


async def why_not(target: str, **settings: Any) -> str:
    """Why the agent cannot be reached, in one line, told long before calls time out: by a unary call, by a stream."""
    settings = {"connect_timeout_s": CONNECT_S, "timeout_s": 600.0, "give_up_after_s": 600.0, **settings}
    begun = time.monotonic()
    async with connect(target, **settings) as client:
        with pytest.raises(UnreachableError) as failed:
            await client.get("t-1")
        with pytest.raises(UnreachableError) as also_failed:
            await collected(client.stream("hello"))
    assert time.monotonic() - begun < 2 * GENEROUS_S
    assert str(failed.value) == str(also_failed.value)
    assert "\n" not in str(failed.value)
    assert failed.value.retryable
    return str(failed.value)


@covers("S0-38")
async def test_a_wrong_port() -> None:
    address = free_address()
    said = await why_not(address)
    assert f"nothing listens at {address}" in said
    assert "check the port, and that the agent is running" in said


@covers("S0-38")
async def test_a_wrong_port_called_with_tls() -> None:
    address = free_address()
    assert f"nothing listens at {address}" in await why_not(f"grpcs://{address}")


@covers("S0-38")
async def test_a_wrong_host() -> None:
    said = await why_not("agents.invalid:50051")
    assert "there is no host 'agents.invalid'" in said
    assert "check the name" in said
    assert "Compose" in said


@covers("S0-38")
async def test_a_wrong_host_of_a_dns_target() -> None:
    assert "there is no host 'agents.invalid'" in await why_not("dns:///agents.invalid:50051")


@covers("S0-38")
async def test_a_port_that_speaks_http_1() -> None:
    async with http_1_server() as web_server:
        said = await why_not(web_server)
    assert f"{web_server} speaks HTTP/1, not gRPC" in said
    assert f"http://{web_server}" in said


@covers("S0-38")
async def test_a_port_that_accepts_and_says_nothing() -> None:
    async with silent_port() as address:
        said = await why_not(address)
    assert address in said
    assert "accepts connections" in said
    assert "gRPC port" in said or "check" in said


@covers("S0-38")
async def test_a_port_that_accepts_and_says_nothing_called_with_tls() -> None:
    async with silent_port() as address:
        said = await why_not(f"grpcs://{address}")
    assert f"{address} accepts connections, but does not answer TLS" in said


@covers("S0-38")
async def test_a_black_hole() -> None:
    async with black_hole() as address:
        said = await why_not(address)
    assert f"{address} does not answer within" in said
    assert "check host, port and firewalls" in said


@covers("S0-38")
async def test_a_unix_socket_that_is_missing(tmp_path: Path) -> None:
    said = await why_not(f"unix:{tmp_path}/agent.sock")
    assert f"there is no socket unix:{tmp_path}/agent.sock" in said
    assert "check the path" in said


@covers("S0-38")
async def test_a_unix_socket_that_nobody_listens_at(tmp_path: Path) -> None:
    path = f"{tmp_path}/agent.sock"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(path)
    said = await why_not(f"unix:{path}")
    assert f"unix:{path}" in said
    assert "refused" in said


async def test_a_unix_socket_that_somebody_listens_at_is_reached(tmp_path: Path) -> None:
    async with peering(listen=f"unix:{tmp_path}/agent.sock") as peer, connect(peer.address) as client:
        assert (await client.get("t-1")).id == "t-1"


@covers("S0-38")
@pytest.mark.parametrize("rpc", OPERATIONS)
async def test_every_operation_tells_the_same(rpc: str) -> None:
    address = free_address()
    async with connect(address, connect_timeout_s=0.1) as client:
        with pytest.raises(UnreachableError, match=f"nothing listens at {address}"):
            await OPERATIONS[rpc](client)


@covers("S0-38")
@pytest.mark.parametrize("operation", ["send", "wait"])
async def test_waiting_for_a_task_tells_the_same(operation: str) -> None:
    address = free_address()
    async with connect(address, connect_timeout_s=0.1) as client:
        with pytest.raises(UnreachableError, match=f"nothing listens at {address}"):
            await getattr(client, operation)("t-1")


async def test_the_time_to_connect_is_not_what_a_job_may_take_nor_cut_short_by_giving_up_at_once() -> None:
    address = free_address()
    async with connect(address, connect_timeout_s=CONNECT_S, give_up_after_s=0.0) as client:
        with pytest.raises(UnreachableError, match="nothing listens"):
            await client.send("hello")


async def test_an_agent_that_starts_a_little_later_is_waited_for() -> None:
    port = free_port()
    async with connect(f"127.0.0.1:{port}", connect_timeout_s=60.0) as client, AsyncExitStack() as stack:
        call = asyncio.create_task(client.get("t-1"))
        while client.channel.get_state().name != "TRANSIENT_FAILURE":
            await asyncio.sleep(0.01)
        await stack.enter_async_context(peering(listen=f"127.0.0.1:{port}"))
        assert (await call).id == "t-1"


async def test_an_agent_that_was_reached_and_went_away_is_unavailable_and_not_unreachable() -> None:
    async with AsyncExitStack() as stack:
        async with peering() as peer:
            client = await stack.enter_async_context(
                connect(peer.address, max_retries=1, retry_initial_s=0.01, give_up_after_s=0.1)
            )
            await client.get("t-1")
        with pytest.raises(UnavailableError) as failed:
            await client.get("t-1")
        assert not isinstance(failed.value, UnreachableError)
        with pytest.raises(ConnectionLostError, match=peer.address):
            await collected(client.subscribe("t-1"))


@pytest.mark.parametrize("rpc", OPERATIONS)
async def test_a_closed_client_says_so_and_calls_nothing(rpc: str) -> None:
    async with peering() as peer:
        async with connect(peer.address) as client:
            await client.get("t-1")
        with pytest.raises(RuntimeError, match="the client is closed"):
            await OPERATIONS[rpc](client)
    assert len(peer.calls) == 1


async def test_the_url_of_a_card_that_leads_nowhere_names_the_address_in_the_card() -> None:
    address = free_address()
    async with Site(Page.card(address)) as site:
        assert f"nothing listens at {address}" in await why_not(site.url)


async def test_an_agent_that_took_a_call_and_was_lost_before_it_answered_was_reached() -> None:
    """However late it was lost: the time to connect does not run on while an agent thinks."""
    peer = Peer(held=asyncio.Event())
    async with peering(peer), Proxy(peer.address) as proxy:
        async with connect(proxy.address, connect_timeout_s=CONNECT_S, retry_initial_s=0.01) as client:
            sending = asyncio.create_task(client.send("hello"))

            def thinks_for_long() -> None:
                assert peer.calls
                assert time.monotonic() > peer.calls[0].at_s + 2 * CONNECT_S

            await eventually(thinks_for_long)
            peer.held_from = 2**31
            proxy.cut()
            assert await sending == DONE
