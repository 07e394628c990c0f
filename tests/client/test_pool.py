"""A client opens as many connections as its calls need: none of them waits for a stream of a full connection."""

import asyncio
from pathlib import Path

import pytest

from a2a_grpc import Client, TaskStatusUpdateEvent, connect
from a2a_grpc.client import pool
from a2a_grpc.rpc import TransportSettings
from tests.harness import Served, eventually, request, scripted_agent, serving


def connections_of(served: Served) -> int:
    """TCP connections that are open to the server, as the kernel tells."""
    port = int(served.server.grpc_address.rpartition(":")[2])
    tables = [Path(name).read_text().splitlines()[1:] for name in ("/proc/net/tcp", "/proc/net/tcp6")]
    rows = [line.split() for table in tables for line in table]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def subscribed(client: Client, task_id: str, ready: asyncio.Semaphore, end: asyncio.Event) -> None:
    async with client.subscribe(task_id) as events:
        await anext(events)
        ready.release()
        await end.wait()


@pytest.mark.long
async def test_a_thousand_subscriptions_of_one_client_are_open_at_once_at_a_server_with_defaults() -> None:
    assert TransportSettings().max_streams_per_connection == 100
    async with serving(scripted_agent()) as served, connect(served.server.grpc_address) as client:
        task = await served.start({"sleep": 600})
        ready, end = asyncio.Semaphore(0), asyncio.Event()
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            for _ in range(1000):
                group.create_task(subscribed(client, task.id, ready, end))
            for _ in range(1000):
                await ready.acquire()
            assert served.server._running.calls.streams == 1000
            assert (await client.get(task.id)).id == task.id  # and there is room for one more call
            end.set()


async def test_one_connection_serves_as_many_calls_as_it_may_one_after_another() -> None:
    async with (
        serving(scripted_agent()) as served,
        connect(served.server.grpc_address, calls_per_connection=2) as client,
    ):
        task = (await served.send(request())).task
        for _ in range(10):
            await client.get(task.id)
        assert len((await client.link()).pool.open_calls) == 1


async def test_a_further_connection_closes_when_it_is_idle_and_another_opens_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "EXTRA_IDLE_S", 1.0)
    async with (
        serving(scripted_agent()) as served,
        connect(served.server.grpc_address, calls_per_connection=2) as client,
    ):
        task = await served.start({"sleep": 600})
        base = connections_of(served)
        for _ in range(2):
            ready, end = asyncio.Semaphore(0), asyncio.Event()
            async with asyncio.TaskGroup() as group, asyncio.timeout(30):
                for _ in range(6):
                    group.create_task(subscribed(client, task.id, ready, end))
                for _ in range(6):
                    await ready.acquire()
                assert connections_of(served) == base + 3
                end.set()

            def assert_one_is_left() -> None:
                assert connections_of(served) == base + 1

            await eventually(assert_one_is_left, within_s=20.0)


async def test_a_full_connection_is_used_again_once_its_calls_have_ended_or_were_canceled() -> None:
    async with (
        serving(scripted_agent()) as served,
        connect(served.server.grpc_address, calls_per_connection=2) as client,
    ):
        for _ in range(10):
            done = [event async for event in client.stream("hello")]
            assert isinstance(done[-1], TaskStatusUpdateEvent)
            unfinished = client.stream("hello")
            await anext(unfinished)
            unfinished.close()
        task = await served.start({"sleep": 600})
        waiting = asyncio.ensure_future(client.wait(task.id))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.wait([waiting])

        async def assert_free() -> None:
            assert (await client.link()).pool.open_calls == [0]

        await eventually(assert_free)
