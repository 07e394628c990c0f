"""The database goes away under load, in several ways: no event is lost, followers go on, `/readyz` tells the truth."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.protocol import Key
from a2a_grpc.store import open_store
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.wire import SendMessageRequest, StreamResponse
from tests.crash.notes import check_notes, stored_tasks
from tests.crash.server import WorkerServer
from tests.crash.users import Followed, Users, users_of
from tests.databases import Postgres
from tests.harness import V1, eventually
from tests.proxy import Proxy

OPTIONS = ("--lease-s", "2", "--poll-interval-s", "0.5")
TASKS = 12
ANSWERS_WITHIN_S = 10.0
"""A probe that takes longer tells nothing."""

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(slots=True)
class Load:
    """Two servers with tasks at work at the first, each followed there and at the second."""

    servers: list[WorkerServer]
    users: Users
    streams: list[asyncio.Task[Followed]] = field(default_factory=list)
    seen: int = 0
    """Events that came to the followers."""

    async def start(self, tasks: int = TASKS, *, steps: int = 40) -> None:
        second = self.users.servers[1]
        for _ in range(tasks):
            request = self.users.request(steps=steps, pause_s=0.05)
            key = request.message.message_id
            self.users.notes.tried.add(key)
            sent = Followed()
            stream = asyncio.create_task(self._send(request, sent))
            self.streams.append(stream)

            async def is_known(stream: asyncio.Task[Followed] = stream, sent: Followed = sent) -> None:
                assert sent.task_id or (stream.done() and stream.result())

            await eventually(is_known, within_s=60.0)
            self.users.notes.accept(key, sent.task_id)
            followed = Followed(sent.task_id, -1)
            call = self.users.subscription(second, followed)
            self.streams.append(asyncio.create_task(self._unbroken(call, followed)))

    async def _send(self, request: SendMessageRequest, sent: Followed) -> Followed:
        """Sends again, under its key, what a server without its database has refused; then follows."""
        metadata = (*V1, (Key.IDEMPOTENCY, request.message.message_id))
        while True:
            try:
                return await self._unbroken(self.users.servers[0].stream(request, metadata=metadata), sent)
            except grpc.aio.AioRpcError as refused:
                if sent.task_id or refused.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    async def _unbroken(self, call: Any, followed: Followed) -> Followed:
        """Follows on one call from its first event to the task's end; any error is the test's."""
        told = dict(await call.initial_metadata())
        if Key.SEQ not in told:  # refused at once: reading raises with what
            await call.read()
        seq = int(told[Key.SEQ])
        while (event := await call.read()) is not grpc.aio.EOF:
            self.users.note(event, seq, followed, is_snapshot=not followed.task.id)
            assert StreamResponse.FromString(event).WhichOneof("payload")
            seq += 1
            self.seen += 1
        return followed

    async def until_seen(self, events: int, *, since: int | None = None) -> None:
        """Waits until so many more events have come, than by now or than `since`."""
        wanted = (self.seen if since is None else since) + events

        def have_come() -> None:
            assert self.seen >= wanted

        await eventually(have_come, within_s=30.0)

    async def probed(self) -> list[int]:
        """What `/readyz` says at each of the servers."""
        limit = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S)
        async with aiohttp.ClientSession(timeout=limit) as http:
            found = []
            for server in self.servers:
                async with http.get(f"http://{server.http}/livez") as response:
                    assert response.status == 200
                async with http.get(f"http://{server.http}/readyz") as response:
                    found.append(response.status)
            return found

    async def health(self) -> list[int]:
        """What the health service says at each of the servers."""
        stubs = [health_pb2_grpc.HealthStub(server.channel) for server in self.users.servers]
        return [(await stub.Check(health_pb2.HealthCheckRequest())).status for stub in stubs]

    async def until_ready(self, ready: bool) -> None:
        async def say_so() -> None:
            assert await self.probed() == [200 if ready else 503] * len(self.servers)
            assert await self.health() == [SERVING if ready else NOT_SERVING] * len(self.servers)

        await eventually(say_so, within_s=30.0)


@asynccontextmanager
async def load_on(url: str, folder: Path, store_url: str = "") -> AsyncIterator[Load]:
    """Leaving the block waits for the streams and checks everything against the store at `url`."""
    await upgrade(url)
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                WorkerServer(store_url or url, folder, *OPTIONS, name=f"server-{number}", http=True)
            )
            for number in range(2)
        ]
        for server in servers:
            await server.spawn()
        for server in servers:
            await server.ready()
        load = Load(servers, await stack.enter_async_context(users_of([server.address for server in servers], "")))
        await load.start()
        yield load
        for followed in await asyncio.gather(*load.streams):
            assert followed.state == COMPLETED
        store = open_store(url)
        await store.open()
        stack.push_async_callback(store.close)
        stored = await stored_tasks(store)
        check_notes(load.users.notes, stored)
        assert set(stored) == {stream.result().task_id for stream in load.streams}
        for task_id, told in load.users.notes.records.items():
            assert max(told) == len(stored[task_id].records)
        await load.until_ready(True)


async def kill(server: Postgres) -> None:
    await server.kill()


async def shut_down(server: Postgres) -> None:
    await server.stop("fast")


@pytest.mark.few
@pytest.mark.parametrize("take_away", [kill, shut_down])
@pytest.mark.long
async def test_while_the_database_is_away_servers_are_not_ready_and_then_every_follower_goes_on(
    take_away: Callable[[Postgres], Awaitable[None]], tmp_path: Path, postgres_server: Postgres
) -> None:
    async with load_on(postgres_server.url(), tmp_path) as load:
        await load.until_ready(True)
        await load.until_seen(100)
        await take_away(postgres_server)
        await load.until_ready(False)
        late = asyncio.create_task(load.start(1, steps=3))  # a send that comes meanwhile waits
        await asyncio.sleep(random.uniform(0.0, 1.0))
        assert await load.probed() == [503, 503]
        seen = load.seen
        await postgres_server.start()
        await load.until_ready(True)
        await load.until_seen(20, since=seen)
        await late


@pytest.mark.long
@pytest.mark.parametrize("whose", ["%", "a2a-grpc bus%"], ids=["all", "those of the bus"])
async def test_terminated_connections_lose_no_event(whose: str, tmp_path: Path, postgres_server: Postgres) -> None:
    async with load_on(postgres_server.url(), tmp_path) as load:
        for _ in range(5):
            await load.until_seen(60)
            assert await postgres_server.terminate_connections(whose)


@pytest.mark.long
async def test_servers_whose_database_says_nothing_are_not_ready_and_say_so_in_time(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    url = urlsplit(postgres_server.url())
    async with Proxy(f"{url.hostname}:{url.port}") as way:
        through = url._replace(netloc=f"{url.username}:{url.password}@{way.address}").geturl()
        async with load_on(postgres_server.url(), tmp_path, through) as load:
            await load.until_ready(True)
            await load.until_seen(100)
            way.stall()
            await load.until_ready(False)
            way.resume()
            await load.until_ready(True)
