"""What streams take in a sentinel that is a process of its own."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.attacks.rig import MiB
from tests.sentinel.test_floods import Sentinel
from tests.sentinel.tunnels import attached_raw, channel_to, request_of, stream

pytestmark = pytest.mark.long

STREAMS = 900
KIB = 64.0
"""48 were measured, 52 for a plain proxy of grpc.aio; see benchmarks/README.md."""
WINDOWS_MIB = 16.0
"""4 were measured. Without flow control it would be the 100 of the stream."""
SETTLE_S = 1.0


async def test_an_idle_stream_takes_no_more_than_a_plain_proxy_needs() -> None:
    async def serve(request: bytes, context: Any) -> None:
        await context.write(b"\x0a\x00")
        await asyncio.get_running_loop().create_future()

    async with AsyncExitStack() as open_until_the_end:
        running = await open_until_the_end.enter_async_context(Sentinel())
        first, _ = await open_until_the_end.enter_async_context(attached_raw(serve, running.address))
        await stream(first)(request_of("t")).read()
        before = running.rss_bytes()
        for _ in range(STREAMS // 90):
            channel = await open_until_the_end.enter_async_context(channel_to(running.address))
            calls = [stream(channel)(request_of("t")) for _ in range(90)]
            await asyncio.gather(*(call.read() for call in calls))
            for call in calls:
                open_until_the_end.callback(call.cancel)
        await asyncio.sleep(SETTLE_S)
        assert (running.rss_bytes() - before) / STREAMS / 1024 < KIB


async def test_a_reader_that_stops_takes_no_more_than_the_windows() -> None:
    async def serve(request: bytes, context: Any) -> None:
        for _ in range(100):
            await context.write(bytes(MiB))

    async with Sentinel() as running, attached_raw(serve, running.address) as (first, _):
        before = running.rss_bytes()
        stuck = stream(first)(request_of("t"))
        rest = aiter(stuck)
        await anext(rest)
        await asyncio.sleep(SETTLE_S)
        assert (running.rss_bytes() - before) / MiB < WINDOWS_MIB
        assert [len(element) async for element in rest] == [MiB] * 99
