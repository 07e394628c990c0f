"""Sentinels that stop while others go on."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from a2a_grpc import connect
from a2a_grpc.auth import CallCredentials
from a2a_grpc.principal import Principal
from a2a_grpc.wire import GetTaskRequest, Task
from tests.harness import eventually, scripted_agent, stop_listening
from tests.sentinel.test_attaching import attach, hello, status_of
from tests.sentinel.tunnels import ADDRESS, attached, attached_raw, channel_to, ended, sentinel, unary


@asynccontextmanager
async def balancer(*targets: str) -> AsyncIterator[str]:
    """A load balancer of connections: each goes to the first of the targets that accepts it. Its HOST:PORT."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for target in targets:
            host, _, port = target.rpartition(":")
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(host, int(port))
                await asyncio.gather(carry(reader, back), carry(there, writer))
                return
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await stop_listening(server)


async def test_a_drain_of_one_of_two_sentinels_under_load_fails_no_call() -> None:
    """The client's connection leads to the sentinel that stops, and after that to the other one."""
    ends: Counter[str] = Counter()
    is_over = False
    async with sentinel(drain_grace_s=1.0) as stops, sentinel() as stays:
        async with attached(scripted_agent(), f"{stops.address},{stays.address}"):
            await eventually(lambda: _assert(stops._routes.count == stays._routes.count == 1))
            async with balancer(stops.address, stays.address) as address, connect(ADDRESS, sentinel=address) as client:

                async def call() -> None:
                    while not is_over:
                        try:
                            assert isinstance(await client.send("hello"), Task)
                            ends["OK"] += 1
                        except Exception as error:
                            ends[repr(error)] += 1

                calling = [asyncio.create_task(call()) for _ in range(8)]
                await eventually(lambda: _assert(ends["OK"] > 20))
                await stops.stop()
                before = ends["OK"]
                await eventually(lambda: _assert(ends["OK"] > before + 20), within_s=30)
                is_over = True
                await asyncio.gather(*calling)
    assert set(ends) == {"OK"}


def _assert(holds: bool) -> None:
    assert holds


async def test_agents_that_come_to_a_sentinel_while_it_drains_are_no_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    going = asyncio.Event()

    async def waits(request: bytes, context: Any) -> bytes:
        await going.wait()
        return request

    request = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
    async with sentinel(drain_grace_s=30.0) as stops:
        async with attached_raw(waits, stops.address) as (channel, _):
            call = unary(channel)(request)
            await eventually(lambda: _assert([one.open_calls for one in stops._routes.all()] == [1]))
            stopping = asyncio.create_task(stops.stop())
            await eventually(lambda: _assert(stops._streams.is_draining))
            late = attach(channel)
            await late.write(hello("late@fame.fabric"))
            assert (await status_of(late))[0] is grpc.StatusCode.UNAVAILABLE
            going.set()
            assert await call == request
            await stopping
    assert "an agent was refused" not in caplog.text


class Closing:
    """An authenticator that calls a sentinel when the sentinel closes it."""

    def __init__(self) -> None:
        self.address = ""
        self.codes: list[grpc.StatusCode] = []

    async def open(self) -> None:
        """Nothing is opened."""

    async def close(self) -> None:
        async with channel_to(self.address) as channel:
            request = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
            self.codes.append((await ended(unary(channel)(request)))[1])

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        return None


async def test_a_sentinel_that_stops_forgets_its_credentials_after_its_ports_are_closed() -> None:
    """Otherwise an agent that comes back would be told that its credentials are wrong."""
    closing = Closing()
    async with sentinel((closing,)) as running:
        closing.address = running.address
    assert closing.codes == [grpc.StatusCode.UNAVAILABLE]
