"""Replicas that are restarted in turn behind nginx, HAProxy and Envoy: no send fails, no stream misses a number.

`make test ARGS="tests/programs/test_rolling_balancers.py -m long"` makes 1,000 sends through replicas in processes of
their own; ROLLING_SENDS is how many.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest

from a2a_grpc import Client, Task, TaskArtifactUpdateEvent, connect, data_of, text_of
from a2a_grpc.client import TaskStream
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.server.loaded import make_server
from a2a_grpc.store import TaskStore
from tests.balancers import CONFIGURATIONS, balancer
from tests.harness import Program, load_program
from tests.ports import free_address
from tests.replicas.rig import SharedStore
from tests.tools import need

SENDS = int(os.environ.get("ROLLING_SENDS", "1000"))
SENDERS = 8


class Replica(Protocol):
    """A counter at fixed addresses that can be restarted."""

    listen: str
    http_listen: str

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class InThisProcess:
    """A replica on a store in memory."""

    def __init__(self, store: TaskStore) -> None:
        self.listen, self.http_listen = free_address(), free_address()
        self._store = store

    async def start(self) -> None:
        agent = load_program("servers/replicas/counter.py").agent
        settings = {"listen": self.listen, "http_listen": self.http_listen, "drain_grace_s": 0.0, "lease_s": 1.0}
        self._stack = AsyncExitStack()
        await self._stack.enter_async_context(make_server(agent, settings, store=self._store))

    async def stop(self) -> None:
        await self._stack.aclose()


class InItsOwnProcess:
    """A replica on an SQLite file."""

    def __init__(self, store: str) -> None:
        self.listen, self.http_listen = free_address(), free_address()
        self._command = (
            "servers/replicas/counter.py", "-o", "json", "--listen", self.listen, "--http-listen", self.http_listen,
            "--store", store, "--lease-s", "2", "--drain-grace-s", "0.3",
        )  # fmt: skip

    async def start(self) -> None:
        self._program = Program(*self._command)
        await self._program.__aenter__()

    async def stop(self) -> None:
        await self._program.__aexit__(None, None, None)
        assert self._program.process.returncode == 0


async def numbers_of(events: TaskStream) -> list[int]:
    """Read a count to its end; return the numbers."""
    numbers: list[int] = []
    async with events:
        async for event in events:
            if isinstance(event, TaskArtifactUpdateEvent) and event.artifact.artifact_id == "checkpoint":
                checkpoint = data_of(event.artifact)
                assert isinstance(checkpoint, dict)
                numbers.append(int(str(checkpoint["count"])))
    assert events.state == COMPLETED
    return numbers


async def roll(kind: str, replicas: Sequence[Replica], sends: int, count_to: int) -> tuple[list[str], list[str]]:
    """Restart each replica while messages are sent and a stream counts, again until so many messages were sent.

    Return the tasks that the messages made, and the errors of sends that failed.
    """
    sent: list[str] = []
    failed: list[str] = []
    over = asyncio.Event()

    async def send(client: Client) -> None:
        while not over.is_set():
            try:
                task = await client.send({"to": 1, "step_seconds": 0})
            except Exception as error:
                failed.append(repr(error))
                continue
            assert isinstance(task, Task)
            assert text_of(task).startswith("counted to 1 in ")
            sent.append(task.id)

    async with balancer(kind, {replica.listen: replica.http_listen for replica in replicas}) as address:
        async with connect(address) as first, connect(address) as second, asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(send((first, second)[number % 2]))
            while len(sent) < sends:
                counting = group.create_task(numbers_of(first.stream({"to": count_to, "step_seconds": 0.05})))
                for replica in replicas:
                    before = len(sent)
                    await replica.stop()
                    await replica.start()
                    await until(lambda before=before: len(sent) > before)  # type: ignore[misc]
                assert await counting == list(range(1, count_to + 1))
            over.set()
    return sent, failed


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


async def check(kind: str, replicas: Sequence[Replica], sends: int, count_to: int) -> None:
    started: list[Replica] = []
    try:
        for replica in replicas:
            await replica.start()
            started.append(replica)
        sent, failed = await roll(kind, replicas, sends, count_to)
    finally:
        stops: list[Callable[[], Awaitable[None]]] = [replica.stop for replica in started]
        for stop in stops:
            await stop()
    assert failed == []
    assert len(set(sent)) == len(sent) >= sends


@pytest.mark.parametrize("kind", CONFIGURATIONS)
async def test_sends_while_no_replica_is_up_wait_for_one(kind: str) -> None:
    need(kind)
    replica = InThisProcess(SharedStore())
    async with balancer(kind, {replica.listen: replica.http_listen}) as address, connect(address) as client:
        sends = [asyncio.create_task(client.send({"to": 1, "step_seconds": 0})) for _ in range(12)]
        await asyncio.wait(sends, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        await replica.start()
        try:
            tasks = await asyncio.gather(*sends)
        finally:
            await replica.stop()
    assert len({task.id for task in tasks if isinstance(task, Task)}) == len(sends)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
async def test_a_rolling_restart_fails_no_send_and_loses_no_number_of_a_stream(kind: str) -> None:
    need(kind)
    store = SharedStore()
    await check(kind, [InThisProcess(store) for _ in range(2)], sends=20, count_to=20)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", CONFIGURATIONS)
async def test_a_rolling_restart_fails_none_of_1000_sends(kind: str, tmp_path: Path) -> None:
    need(kind)
    store = f"sqlite:///{tmp_path}/tasks.db"
    await check(kind, [InItsOwnProcess(store) for _ in range(2)], sends=SENDS, count_to=100)
