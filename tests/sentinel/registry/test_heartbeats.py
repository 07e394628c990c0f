"""Heartbeats on streams, as the sentinel serves them: leases, ends of streams, bad messages."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import pytest
from sqlalchemy import select

from a2a_grpc.auth import CallCredentials
from a2a_grpc.client.status import to_error
from a2a_grpc.errors import A2AError
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Key
from a2a_grpc.registry.schema import agent
from a2a_grpc.registry.sql import SqlEntries
from a2a_grpc.registry.wire import HEARTBEATS, HeartbeatRequest, HeartbeatResponse
from a2a_grpc.sentinel import Sentinel
from tests.databases import Postgres
from tests.harness import eventually
from tests.sentinel.registry.test_service import of, registration, stub_of
from tests.sentinel.registry.test_service import sentinel as running_sentinel
from tests.sentinel.tunnels import channel_to, sentinel

NAMED = HeartbeatRequest(name="poet", instance="i")


@asynccontextmanager
async def opened(running: Sentinel, metadata: Any = (), first: HeartbeatRequest = NAMED) -> AsyncIterator[Any]:
    """A stream of heartbeats, after the answer to its first message."""
    async with stub_of(running) as stub:
        call = stub.Heartbeats(metadata=metadata)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it may have ended: then reads say why
            await call.write(first)
        yield call
        call.cancel()


async def ended(call: Any) -> A2AError:
    """Return the error that ends a stream, after its answers."""
    try:
        while await asyncio.wait_for(call.read(), 60) is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as failure:
        return to_error(failure)
    raise AssertionError("the stream has ended without an error")


async def until(running: Sentinel) -> float:
    """The end of the lease of the only entry, by the clock of the store."""
    if isinstance(running.entries, SqlEntries):
        return float(await running.entries._read(lambda connection: connection.scalar(select(agent.c.until_us)) or 0))
    (kept,) = running.entries._kept.values()  # type: ignore[attr-defined]
    return float(kept.until)


@asynccontextmanager
async def beating(call: Any) -> AsyncIterator[None]:
    """Send heartbeats while the block runs."""

    async def beat() -> None:
        while True:
            await call.write(HeartbeatRequest())
            await asyncio.sleep(0.3)

    running = asyncio.create_task(beat())
    yield
    running.cancel()
    await asyncio.wait([running])


async def found(running: Sentinel) -> list[str]:
    return [entry.key.instance for entry in await running.entries.at("poet")]


async def test_heartbeats_on_a_stream_renew_the_lease(url: str) -> None:
    async with running_sentinel(url, registry_lease_s=8.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            await call.read()
            first = await until(running)
            async with beating(call):

                async def is_later() -> None:
                    assert await until(running) > first

                await eventually(is_later, within_s=60)


async def test_heartbeats_are_answered_from_time_to_time() -> None:
    async with running_sentinel(registry_lease_s=4.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call, beating(call):
            answers = [await asyncio.wait_for(call.read(), 60) for _ in range(2)]
            assert [answer.lease_s for answer in answers] == [4.0, 4.0]


async def test_agents_are_asked_for_heartbeats_at_four_moments_of_a_second_and_never_too_late() -> None:
    async with running_sentinel() as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            assert 0 < (await call.read()).next_s <= 5
            (beating,) = running._heartbeats._open.values()
            for step in range(100):
                now = 1000 + 0.0317 * step
                next_s = HeartbeatResponse.FromString(running._heartbeats._answer(beating, now)).next_s
                assert 3.9 < next_s <= 5  # of a lease of 15 seconds
                moment = (now + next_s) * 4 % 1
                assert moment == pytest.approx(0.5, abs=0.01)


async def test_a_lease_is_written_less_often_than_heartbeats_come() -> None:
    async with running_sentinel(registry_lease_s=3600.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            assert (await call.read()).lease_s == 3600.0
            first = await until(running)
            for _ in range(100):
                await call.write(HeartbeatRequest())
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF  # the sentinel has read them all
            assert await until(running) == first


@pytest.mark.parametrize("name", ["nobody", ""])
async def test_a_stream_of_an_agent_without_a_lease_is_refused(name: str) -> None:
    async with running_sentinel() as running:
        async with opened(running, first=HeartbeatRequest(name=name, instance="i")) as call:
            error = await ended(call)
            assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "AGENT_NOT_FOUND")


async def test_no_stream_renews_the_lease_of_another_principal() -> None:
    async with running_sentinel(is_open=False) as running, stub_of(running) as stub:
        await stub.Register(registration(), metadata=of("ada"))
        async with opened(running, of("bob")) as call:
            assert (await ended(call)).reason == "AGENT_NOT_FOUND"
        async with opened(running, of("ada")) as call:
            assert isinstance(await call.read(), HeartbeatResponse)
        async with opened(running) as call:
            assert (await ended(call)).code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_ends_once_its_lease_is_gone() -> None:
    async with running_sentinel(registry_lease_s=8.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            await call.read()
            assert await running.entries.remove(Key("poet", "i"), "")
            async with beating(call):
                assert (await ended(call)).reason == "AGENT_NOT_FOUND"


async def test_a_silent_agent_is_gone_with_its_lease_and_its_stream_ends() -> None:
    async with running_sentinel(registry_lease_s=2.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            error = await ended(call)
            assert (error.code, error.message) == (
                grpc.StatusCode.UNAVAILABLE,
                "no heartbeat has come in the time of a lease; register again",
            )
            assert await found(running) == []


async def test_heartbeats_that_wait_in_a_stream_do_not_renew_the_lease_later() -> None:
    """A sentinel that read one of them each second would keep the agent for a minute."""
    async with running_sentinel(registry_lease_s=3.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            await call.read()
            for beat in range(62):
                await call.write(HeartbeatRequest())
                await asyncio.sleep(1.0 if beat < 2 else 0.0)  # the first ones come in time, so that reads are delayed

            async def is_gone() -> None:
                assert await found(running) == []

            await eventually(is_gone, within_s=40)


async def test_a_second_stream_of_an_agent_ends_the_first_one() -> None:
    async with running_sentinel() as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as first:
            await first.read()
            async with opened(running) as second:
                await second.read()
                assert (await ended(first)).message == "the agent has opened another stream"
                await second.done_writing()
                assert await second.read() is grpc.aio.EOF
            assert running._heartbeats._open == {}
        assert await found(running) == ["i"]


async def test_streams_end_when_the_sentinel_drains() -> None:
    async with running_sentinel() as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            await call.read()
            await running.stop()
            error = await ended(call)
            assert (error.code, "register at another" in error.message) == (grpc.StatusCode.UNAVAILABLE, True)


async def test_a_stream_ends_when_the_credentials_of_its_agent_end() -> None:
    async def ending(credentials: CallCredentials) -> Principal:
        is_stream = credentials.method == HEARTBEATS
        return Principal("ada", "key", expires_at=time.time() + 0.5 if is_stream else None)

    async with sentinel([ending]) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            assert (await ended(call)).code is grpc.StatusCode.UNAUTHENTICATED
            assert await found(running) == ["i"]


BAD: Mapping[str, list[bytes]] = {
    "the bytes are no HeartbeatRequest": [b"\xff\xff"],
    "only the first message of the stream names the agent": [NAMED.SerializeToString(), NAMED.SerializeToString()],
    "the stream ended without the name of an agent": [],
}


@pytest.mark.parametrize("said", BAD)
async def test_a_stream_with_bad_messages_ends_with_the_reason(said: str) -> None:
    async with running_sentinel() as running, stub_of(running) as stub, channel_to(running.address) as channel:
        await stub.Register(registration())
        raw: Any = channel.stream_stream(HEARTBEATS)()
        for message in BAD[said]:
            await raw.write(message)
        await raw.done_writing()
        error = await ended(raw)
        assert (error.code, error.message) == (grpc.StatusCode.INVALID_ARGUMENT, said)
        assert running._heartbeats._open == {}


async def test_no_more_streams_are_open_than_the_limit() -> None:
    async with running_sentinel(max_streams=1) as running, stub_of(running) as stub:
        for name in ("poet", "painter"):
            await stub.Register(registration(name))
        async with opened(running) as first:
            await first.read()
            async with opened(running, first=HeartbeatRequest(name="painter", instance="i")) as second:
                assert (await ended(second)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
            async with opened(running) as again:
                await again.read()


@pytest.mark.long
async def test_streams_stay_open_while_the_database_is_down(postgres_server: Postgres) -> None:
    async with running_sentinel(postgres_server.url(), registry_lease_s=60.0) as running, stub_of(running) as stub:
        await stub.Register(registration())
        async with opened(running) as call:
            await call.read()
            owned = Key("poet", "i"), ""
            await postgres_server.kill()
            running._heartbeats._due.add(owned)  # as a heartbeat does after a quarter of the lease

            async def is_tried() -> None:
                assert owned not in running._heartbeats._due

            await eventually(is_tried, within_s=30)
            await postgres_server.start()

            async def is_written() -> None:
                assert await found(running) == ["i"]
                assert not running._heartbeats._due

            await eventually(is_written, within_s=60)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
