"""Pings: none unless asked for, so that stock servers have nothing to complain of; safe ones where asked for."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.client import ClientSettings
from a2a_grpc.client.channel import _options
from a2a_grpc.client.target import grpc_address
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.wire import Task
from tests.client.peers import Peer, peering
from tests.covers import covers
from tests.harness import eventually, scripted_agent, serving
from tests.proxy import Proxy

pytestmark = covers("Q2")

PING_BYTES = 34
"""A PING frame of HTTP/2 with its answer."""
SOON_S = 1.0
"""gRPC pings no more often than this, whatever it is told."""


def grown(proxy: Proxy, by: int, *, since: int) -> Any:
    def check() -> None:
        assert proxy.forwarded >= since + by

    return check


def options(**settings: Any) -> dict[str, Any]:
    return dict(_options(grpc_address("agents.example:443"), ClientSettings(**settings), True))


def test_by_default_a_channel_is_told_nothing_of_pings() -> None:
    assert [name for name in options() if "keepalive" in name or "ping" in name] == []


def test_with_keepalive_a_channel_pings_after_so_much_silence_and_notices_a_peer_that_stalls() -> None:
    told = options(keepalive_s=30.0)
    assert told["grpc.keepalive_time_ms"] == 30_000
    assert told["grpc.keepalive_timeout_ms"] == 10_000
    assert told["grpc.http2.ping_timeout_ms"] == 10_000
    assert told["grpc.http2.max_pings_without_data"] == 0
    assert "grpc.keepalive_permit_without_calls" not in told


def test_our_server_allows_a_ping_every_ten_seconds() -> None:
    assert TransportSettings().min_ping_interval_s <= 10.0


@pytest.mark.long  # pings come seconds apart
async def test_a_silent_stream_carries_no_byte_by_default_and_pings_where_asked_for() -> None:
    """The client that pings is the clock: while it pings, the other one's connection carries nothing."""
    script: Any = {"script": [{"sleep": 600}]}
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(scripted_agent(), min_ping_interval_s=0.0))
        proxies, readers = [], []
        for keepalive_s in (0.0, SOON_S):
            proxy = await stack.enter_async_context(Proxy(served.server.grpc_address))
            client = await stack.enter_async_context(connect(proxy.address, keepalive_s=keepalive_s))
            events = await stack.enter_async_context(client.stream(script))
            states = [await anext(events), await anext(events)]
            assert isinstance(states[0], Task)
            readers.append(asyncio.create_task(anext(events)))
            proxies.append(proxy)
        silent, pinging = proxies
        await eventually(grown(pinging, 2 * PING_BYTES, since=pinging.forwarded), within_s=60)
        before = silent.forwarded
        await eventually(grown(pinging, 3 * PING_BYTES, since=pinging.forwarded), within_s=60)
        assert silent.forwarded == before
        assert not any(reader.done() for reader in readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


@pytest.mark.long  # pings come seconds apart
async def test_the_default_client_survives_a_stock_server_that_cuts_one_that_pings() -> None:
    """The client that pings is the clock: once a stock server has cut it, the other is still on its first call."""
    async with AsyncExitStack() as stack:
        peers, sendings = [], []
        for keepalive_s in (0.0, SOON_S):
            peer = await stack.enter_async_context(peering(Peer(held=asyncio.Event())))
            client = await stack.enter_async_context(
                connect(peer.address, keepalive_s=keepalive_s, connect_timeout_s=60.0, retry_initial_s=0.01)
            )
            sendings.append(asyncio.create_task(client.send("hello")))
            peers.append(peer)
        default, pinging = peers

        def cut() -> None:
            assert len(pinging.calls) > 1

        await eventually(cut, within_s=60)
        assert len(default.calls) == 1
        for peer in peers:
            assert peer.held is not None
            peer.held.set()
        for sending in sendings:
            task = await sending
            assert isinstance(task, Task)
            assert task.status.state == COMPLETED
        assert len(default.calls) == 1


@pytest.mark.long  # pings come seconds apart
async def test_our_server_tolerates_a_client_that_pings_as_often_as_it_allows() -> None:
    """Ten times as fast as by default, which is ten seconds for both. A stock server cuts after four pings."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serving(scripted_agent(), min_ping_interval_s=SOON_S))
        proxy = await stack.enter_async_context(Proxy(served.server.grpc_address))
        client = await stack.enter_async_context(connect(proxy.address, keepalive_s=SOON_S))
        task = await client.start({"script": [{"input": "Which?"}]})
        assert isinstance(task, Task)
        events = await stack.enter_async_context(client.subscribe(task.id))
        while not events.is_settled:
            await anext(events)
        requests = proxy.requests
        reader = asyncio.create_task(anext(events))
        await eventually(grown(proxy, 6 * PING_BYTES, since=proxy.forwarded), within_s=60)
        assert proxy.requests == requests, "the stream goes on over the same call"
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
