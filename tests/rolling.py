"""Replicas that are restarted in turn while clients send, read and stream through what stands before them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

from a2a_grpc import Client, Task, TaskArtifactUpdateEvent, data_of, text_of
from a2a_grpc.client import TaskStream
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.server.loaded import make_server
from a2a_grpc.store import TaskStore
from tests.harness import Program, load_program
from tests.ports import free_address

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
    """A replica on an SQLite file or a database."""

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


@dataclass(slots=True)
class Seen:
    """What clients saw while replicas were restarted."""

    sent: list[str] = field(default_factory=list)
    """The tasks that messages made."""
    reads: int = 0
    failed: list[str] = field(default_factory=list)
    """The errors of unary calls that failed."""
    restarts: int = 0
    numbers: int = 0
    """The events of streams that told a number."""


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


async def roll(connect: Callable[[], Client], replicas: Sequence[Replica], sends: int, count_to: int) -> Seen:
    """Restart each replica while clients send, read and follow a count, again until so many messages were sent."""
    seen = Seen()
    over = asyncio.Event()

    async def send(client: Client) -> None:
        while not over.is_set():
            try:
                task = await client.send({"to": 1, "step_seconds": 0})
                assert isinstance(task, Task)
                assert text_of(task).startswith("counted to 1 in ")
                seen.sent.append(task.id)
                assert (await client.get(task.id)).status.state == COMPLETED
                seen.reads += 1
            except Exception as error:
                seen.failed.append(repr(error))

    async with connect() as first, connect() as second, asyncio.TaskGroup() as group:
        for number in range(SENDERS):
            group.create_task(send((first, second)[number % 2]))
        while len(seen.sent) < sends:
            counting = group.create_task(numbers_of(first.stream({"to": count_to, "step_seconds": 0.05})))
            for replica in replicas:
                before = len(seen.sent)
                await replica.stop()
                await replica.start()
                seen.restarts += 1
                await until(lambda before=before: len(seen.sent) > before)  # type: ignore[misc]
            assert await counting == list(range(1, count_to + 1))
            seen.numbers += count_to
        over.set()
    return seen


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


async def check(connect: Callable[[], Client], replicas: Sequence[Replica], sends: int, count_to: int) -> Seen:
    """Start the replicas, and restart them under load: no call fails, and no message makes two tasks."""
    started: list[Replica] = []
    try:
        for replica in replicas:
            await replica.start()
            started.append(replica)
        seen = await roll(connect, replicas, sends, count_to)
    finally:
        stops: list[Callable[[], Awaitable[None]]] = [replica.stop for replica in started]
        for stop in stops:
            await stop()
    assert seen.failed == []
    assert len(set(seen.sent)) == len(seen.sent) >= sends
    return seen
