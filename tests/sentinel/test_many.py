"""Several agents of one store under one address."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.errors import UnavailableError
from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.sentinel import Attachment, AttachSettings
from a2a_grpc.sentinel.wire import AgentFrame, Described, Hello
from a2a_grpc.wire import GetTaskRequest, Task
from tests.harness import Program, eventually, run_program
from tests.sentinel.test_attaching import attach
from tests.sentinel.test_http import HTTP, WEATHER, listed
from tests.sentinel.tunnels import ADDRESS, attached_raw, channel_to, raw_server, sentinel, unary

REQUEST = GetTaskRequest(tenant=ADDRESS, id="t").SerializeToString()
CLI = ("-m", "a2a_grpc")


def saying(name: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """An agent that answers each call with its name."""

    async def serve(request: bytes, context: Any) -> bytes:
        return name.encode()

    return serve


@asynccontextmanager
async def named(name: str, at: str, folder: Path, store: str = "s") -> AsyncIterator[Attachment]:
    """An agent that answers each call with its name, attached with a store that others may share."""
    path = folder / f"{name}.sock"
    async with raw_server(saying(name), path):
        async with Attachment(AttachSettings(attach=at, address=ADDRESS, shared_store=store)) as attachment:
            await attachment.welcome()
            attachment.serve(path)
            yield attachment


async def test_agents_that_share_a_store_get_the_calls_in_turn_and_one_that_drains_or_leaves_gets_none(
    tmp_path: Path,
) -> None:
    async with sentinel() as running, channel_to(running.address) as channel, AsyncExitStack() as agents:

        async def answers(calls: int) -> Counter[bytes]:
            return Counter([await unary(channel)(REQUEST) for _ in range(calls)])

        first = await agents.enter_async_context(named("first", running.address, tmp_path))
        async with named("second", running.address, tmp_path), named("third", running.address, tmp_path):
            assert await answers(9) == {b"first": 3, b"second": 3, b"third": 3}
            first.drain()

            async def drained() -> None:
                assert await answers(4) == {b"second": 2, b"third": 2}

            await eventually(drained)
        async with named("fourth", running.address, tmp_path):
            assert await answers(2) == {b"fourth": 2}


async def test_an_agent_of_another_store_is_refused_or_replaces_all(tmp_path: Path) -> None:
    async with sentinel() as running, channel_to(running.address) as channel:
        async with named("first", running.address, tmp_path) as first, named("second", running.address, tmp_path):
            for store in ("", "other"):
                settings = AttachSettings(attach=running.address, address=ADDRESS, shared_store=store, fail_fast=True)
                async with Attachment(settings) as refused:
                    with pytest.raises(UnavailableError, match="attached at this address"):
                        await refused.welcome()
            async with attached_raw(saying("third"), running.address, replace=True, shared_store="other"):
                assert {await unary(channel)(REQUEST) for _ in range(4)} == {b"third"}
                assert "another agent has taken" in str(await asyncio.wait_for(first.wait_failed(), 10))


async def test_agents_that_declare_no_store_do_not_share_an_address() -> None:
    async with sentinel() as running, attached_raw(saying("first"), running.address):
        async with Attachment(AttachSettings(attach=running.address, address=ADDRESS, fail_fast=True)) as refused:
            with pytest.raises(UnavailableError, match="another agent is attached"):
                await refused.welcome()


def agent(at: str, *options: str) -> Program:
    return Program.server("servers/scripted.py", "--attach", at, "--address", ADDRESS, *options)


@pytest.mark.long
async def test_a_stream_goes_on_at_another_agent_of_the_store_when_its_agent_is_killed(tmp_path: Path) -> None:
    """The second agent comes once the stream runs at the first one, and takes the task over."""
    store = ("--store", f"sqlite:///{tmp_path}/tasks.db", "--lease-s", "1")
    async with sentinel() as running, agent(running.address, *store) as first:
        second = agent(running.address, *store)
        async with connect(ADDRESS, sentinel=running.address) as client:
            seqs: list[int] = []
            at_kill = 0
            script: dict[str, Any] = {
                "script": [{"chunks": {"count": 20, "interval_s": 0.02}}, {"sleep": {"seconds": 8}}]
            }
            try:
                async with client.stream(script) as events:
                    async for _ in events:
                        seqs.append(events.seq or 0)
                        if len(seqs) == 10:
                            await second.__aenter__()
                            assert len(running._routes.all()) == 2
                            at_kill = len(seqs)
                            first.process.kill()
                            await first.process.wait()
                task = await client.get(events.task_id)
                assert task.status.state in TERMINAL
            finally:
                await second.__aexit__(None, None, None)
        assert len(seqs) > at_kill
        assert seqs == sorted(set(seqs))


async def test_agents_that_share_an_address_are_one_agent_over_http() -> None:
    async with sentinel(http_listen=HTTP) as running, channel_to(running.address) as channel:
        calls = []
        for number in range(2):
            call = attach(channel)
            said = Hello(address="weather@acme", instance=f"i-{number}", max_calls=100, store="s")
            for frame in (AgentFrame(hello=said), AgentFrame(described=Described(card=json.dumps(WEATHER).encode()))):
                await call.write(frame.SerializeToString())
            calls.append(call)
        await eventually(lambda: _assert([bool(one.description) for one in running._routes.all()] == [True, True]))
        assert await listed(running.http_url) == ["weather@acme"]
        for call in calls:
            call.cancel()


def _assert(holds: bool) -> None:
    assert holds


@pytest.mark.long
async def test_workers_of_an_agent_attach_each_and_share_the_address(tmp_path: Path) -> None:
    store = ("--store", f"sqlite:///{tmp_path}/tasks.db", "--workers", "2")
    async with sentinel() as running, agent(running.address, *store):
        assert len(running._routes.all()) == 2
        async with connect(ADDRESS, sentinel=running.address) as client:
            tasks = [await client.send("hello") for _ in range(4)]
            assert {(await client.get(task.id)).id for task in tasks if isinstance(task, Task)} == {
                task.id for task in tasks if isinstance(task, Task)
            }

    code, _, err = await run_program(
        "servers/scripted.py", "--attach", "x:1", "--address", ADDRESS, "--workers", "2", "--store", "memory:"
    )
    assert code == 2
    assert "workers is 2, store is 'memory:'" in err
