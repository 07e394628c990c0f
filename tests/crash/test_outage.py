"""The database is away for a while: no task fails because of that, and one that does says the truth."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.engine.takeover import OUTAGE_FAILURE
from a2a_grpc.lifecycle import COMPLETED, FAILED
from a2a_grpc.parts import text_of
from a2a_grpc.store.sql.migrations import upgrade
from tests.databases import Postgres
from tests.harness import Served, eventually, request, serving
from tests.proxy import Proxy

LEASE_S = 5.0


def slow_agent(gate: asyncio.Event) -> Agent:
    agent = Agent("Slow", "Works until it is told to end.")

    @agent.skill()
    async def work(turn: Turn) -> str:
        await turn.status("begun")
        await gate.wait()
        await turn.status("almost done")
        return "done"

    return agent


@asynccontextmanager
async def replicas(url: str, gate: asyncio.Event, count: int) -> AsyncIterator[list[Served]]:
    """So many servers on one database, in this process."""
    await upgrade(url)
    options = {"store": url, "lease_s": LEASE_S, "poll_interval_s": 0.2, "sweep_interval_s": 0.5}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(slow_agent(gate), **options)) for _ in range(count)]


@asynccontextmanager
async def way_to(server: Postgres) -> AsyncIterator[tuple[Proxy, str]]:
    """A way to the database that can be closed, and the URL of the database by that way."""
    url = urlsplit(server.url())
    async with Proxy(f"{url.hostname}:{url.port}") as way:
        yield way, url._replace(netloc=f"{url.username}:{url.password}@{way.address}").geturl()


async def until_logged(caplog: pytest.LogCaptureFixture, words: str, count: int = 1) -> None:
    def is_logged() -> None:
        assert sum(words in record.getMessage() for record in caplog.records) >= count

    await eventually(is_logged, within_s=30.0)


@pytest.mark.long
@pytest.mark.parametrize("how", ["unreachable", "silent"])
async def test_a_database_that_is_away_for_longer_than_the_lease_but_less_than_its_grace_fails_no_task(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.WARNING, "a2a_grpc")
    gate = asyncio.Event()
    async with way_to(postgres_server) as (way, url), replicas(url, gate, 2) as servers:
        tasks = [(await served.send(request("go", immediately=True))).task for served in servers]
        for served, task in zip(servers, tasks, strict=True):
            await eventually(partial(begun, served, task.id))
        caplog.clear()
        if how == "unreachable":
            way.close()
        else:
            way.stall()
        await until_logged(caplog, f"runs continue for a while lease_s={LEASE_S:g} runs=1 ", 2)
        if how == "unreachable":
            await way.reopen()
        else:
            way.resume()
        await until_logged(caplog, "the store answers again and the lease is renewed, so runs continue runs=1", 2)
        gate.set()
        for served, task in zip(servers, tasks, strict=True):
            await eventually(partial(ended, served, task.id), within_s=30.0)
            found = await served.get(task.id)
            assert (found.status.state, text_of(found)) == (COMPLETED, "done")
        if how == "unreachable":
            await until_logged(caplog, "database available again")


async def begun(served: Served, task_id: str) -> None:
    assert text_of((await served.get(task_id)).status.message) == "begun"


async def ended(served: Served, task_id: str) -> None:
    assert (await served.get(task_id)).status.state in (COMPLETED, FAILED)


@pytest.mark.long
async def test_a_task_that_fails_because_the_database_was_away_for_long_says_so(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "a2a_grpc")
    async with way_to(postgres_server) as (way, url), replicas(url, asyncio.Event(), 1) as [served]:
        task = (await served.send(request("go", immediately=True))).task
        await eventually(partial(begun, served, task.id))
        way.close()
        await until_logged(caplog, "this replica lost its lease, so its runs are stopped runs=1")
        await way.reopen()
        await eventually(partial(ended, served, task.id), within_s=30.0)
        found = await served.get(task.id)
    assert (found.status.state, text_of(found.status.message)) == (FAILED, OUTAGE_FAILURE.format(outage_s=2 * LEASE_S))
