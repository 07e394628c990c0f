"""Waiting has no limit: no deadline on a stream, no limit on a job. The long silences are those of
tests/regressions/test_q01_q02_silence.py."""

import asyncio
from typing import Any

import pytest

from a2a_grpc import Task, connect
from a2a_grpc.errors import DeadlineExceededError
from a2a_grpc.lifecycle import COMPLETED, SUBMITTED, WORKING
from tests.client.foreign import Context, Play, foreign, plays, status, task
from tests.client.test_resume import Teller, log_of, packed, proxied
from tests.covers import covers
from tests.guarantees.rig import Workers
from tests.harness import serving, texts
from tests.proxy import Proxy
from tests.regressions.faults import reaches


@covers("S1-13")
async def test_streams_carry_no_deadline_and_unary_calls_the_one_that_was_set() -> None:
    left: dict[str, float | None] = {}

    def noting(name: str, play: Play) -> Play:
        def noted(context: Context) -> Any:
            left[name] = context.time_remaining()
            return play(context)

        return noted

    async def read(context: Context) -> Task:
        left["get"] = context.time_remaining()
        return task(COMPLETED)

    async with foreign(
        sends=[noting("send", plays(task(WORKING), status(COMPLETED)))] * 2,
        subscriptions=[noting("wait", plays(task(WORKING), status(COMPLETED)))],
        gets=[read],
    ) as agent, connect(agent.address, timeout_s=100) as client:  # fmt: skip
        await client.send("hello")
        await client.wait("t-1")
        await client.get("t-1")
    assert left["send"] is None
    assert left["wait"] is None
    assert left["get"] is not None
    assert 50 < left["get"] < 110, "gRPC rounds it up"


@covers("Q1")
@pytest.mark.parametrize("operation", ["send", "stream", "wait", "poll"])
async def test_a_job_may_be_silent_for_longer_than_any_call_may_take(operation: str) -> None:
    """Also than an agent may be away."""
    workers = Workers()
    async with (
        serving(workers.agent) as served,
        connect(served.server.grpc_address, timeout_s=0.5, connect_timeout_s=0.5, give_up_after_s=0.5) as client,
        connect(served.server.grpc_address) as other,
    ):

        async def waits() -> Task | None:
            if operation == "send":
                answered = await client.send("hello")
                assert isinstance(answered, Task)
                return answered
            if operation == "stream":
                async with client.stream("hello") as events:
                    async for _ in events:
                        pass
                return events.task
            started = await other.start("hello")
            return await client.wait(started.id, poll_s=0.1 if operation == "poll" else None)  # type: ignore[union-attr]

        waiting = asyncio.ensure_future(waits())
        await asyncio.sleep(1.5)
        assert not waiting.done()
        workers.go.set()
        ended = await waiting
        assert ended is not None
        assert ended.status.state == COMPLETED
        assert texts(ended) == ["hello"]


@covers("S2-28")
async def test_a_silent_stream_carries_no_byte_and_the_end_comes_with_its_event() -> None:
    workers = Workers()
    async with (
        serving(workers.agent, keepalive_time_s=0) as served,
        Proxy(served.server.grpc_address) as proxy,
        connect(proxy.address) as client,
        client.stream("hello") as events,
    ):
        states = [(await anext(events)).status.state, (await anext(events)).status.state]  # type: ignore[union-attr]
        assert states == [SUBMITTED, WORKING]
        await until_quiet(proxy)
        before = proxy.forwarded
        reading = asyncio.ensure_future(anext(events))
        await asyncio.sleep(2.0)
        assert proxy.forwarded == before
        assert not reading.done()
        workers.go.set()
        await reading
        async for _ in events:
            pass
        assert events.state == COMPLETED
        assert proxy.connections == 1


async def until_quiet(proxy: Proxy) -> None:
    """Returns once nothing has gone through for half a second: what was sent has been acknowledged."""
    async with asyncio.timeout(60):
        before = -1
        while proxy.forwarded != before:
            before = proxy.forwarded
            await asyncio.sleep(0.5)


async def test_a_network_that_stalls_and_flows_again_loses_nothing() -> None:
    teller = Teller(100)
    async with serving(teller.agent) as served, proxied(served, timeout_s=0.5) as (proxy, client):
        async with client.stream("hello") as stream:
            events = [await anext(stream), await anext(stream)]
            proxy.stall()
            teller.go.set()
            await reaches(served, stream.task_id, COMPLETED)
            with pytest.raises(DeadlineExceededError, match=r"did not answer GetTask within 0\.5 s"):
                await client.get(stream.task_id)
            proxy.resume()
            events += [event async for event in stream]
        assert packed(events) == packed(await log_of(served, stream.task_id))
        assert proxy.connections == 1


async def test_a_stalled_connection_that_is_cut_at_last_loses_nothing() -> None:
    """As a firewall does that forgot a connection: nothing comes through, until somebody resets it."""
    teller = Teller(100)
    async with serving(teller.agent) as served, proxied(served) as (proxy, client):
        async with client.stream("hello") as stream:
            events = [await anext(stream), await anext(stream)]
            proxy.stall_open()
            teller.go.set()
            await reaches(served, stream.task_id, COMPLETED)
            reading = asyncio.ensure_future(anext(stream))
            proxy.cut()
            events.append(await reading)
            events += [event async for event in stream]
        assert packed(events) == packed(await log_of(served, stream.task_id))
        assert proxy.connections == 2
