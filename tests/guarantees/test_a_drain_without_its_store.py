"""A server that is told to stop while its store is away stops: the platform would kill it after 10 to 30 seconds."""

import asyncio
import time
from contextlib import suppress
from urllib.parse import urlsplit

import grpc.aio
import pytest
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub

from a2a_grpc import Agent, Server, ServerSettings, Turn
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import Append, Create, InOrder, StoreUnavailable, Written
from a2a_grpc.store.memory import MemoryStore
from a2a_grpc.store.sql.migrations import upgrade
from tests.covers import covers
from tests.harness import elements, eventually, message, refusal, request, serving
from tests.proxy import Proxy

pytestmark = covers("P5")


class Away(MemoryStore):
    """A store that is tried for as long as a database is, once it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.is_closed = asyncio.Event()
        self._in_order = InOrder(self._perform)

    def write(self, write: Create | Append) -> Written:
        return self._in_order.write(write)

    async def _perform(self, write: Create | Append) -> int:
        if self.is_away and isinstance(write, Append):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.is_closed.wait(), 30.0)
            raise StoreUnavailable("away")
        return await super().write(write)

    async def close(self) -> None:
        self.is_closed.set()
        await super().close()


def sleeper(*, resumable: bool = False) -> Agent:
    agent = Agent("Sleeper", "Sleeps.", resumable=resumable)

    @agent.skill()
    async def sleep(turn: Turn) -> None:
        """Sleep."""
        while True:
            await turn.artifact("zzz", id="sleep", append=True)
            await asyncio.sleep(0.1)

    return agent


async def test_a_drain_does_not_wait_for_a_store_that_stores_nothing(caplog: pytest.LogCaptureFixture) -> None:
    agent, store = sleeper(), Away()
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    async with Server(agent, settings, engine=EngineSettings(cancel_grace_s=0.2), store=store) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            asked = request(message(), immediately=True)
            await A2AServiceStub(channel).SendMessage(asked, metadata=[("a2a-version", "1.0")])
        store.is_away = True
        begun = time.monotonic()
        await server.stop()
        assert time.monotonic() - begun < 15.0
    assert "so ends of tasks are not stored tasks=1" in caplog.text
    assert "because the store did not answer task=" in caplog.text
    assert "did not stop after its cancellation" not in caplog.text


async def stopped(url: str, how: str, *, resumable: bool) -> None:
    """Stop a server with runs, a stream and a blocking send while its database does not answer."""
    parts = urlsplit(url)
    async with Proxy(f"{parts.hostname}:{parts.port}") as way:
        store = parts._replace(netloc=f"{parts.username}:{parts.password}@{way.address}").geturl()
        async with serving(sleeper(resumable=resumable), store=store, lease_s=30.0) as served:
            task = (await served.send(request(immediately=True))).task
            streaming = asyncio.ensure_future(refusal(elements(served.stream(request()))))
            waiting = asyncio.ensure_future(refusal(served.send(request())))

            async def are_at_work() -> None:
                assert len(served.server.stats().tasks) == 3
                assert (await served.get(task.id)).artifacts

            await eventually(are_at_work)
            if how == "refused":
                way.close()
            else:
                way.stall()
            async with asyncio.timeout(12.0):  # a transaction on a silent connection is given up after 15 s
                await served.server.stop()
            for refused in (await streaming, await waiting):
                assert refused.code == grpc.StatusCode.UNAVAILABLE


async def test_a_drain_ends_soon_if_the_database_is_away(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    await upgrade(postgres_url)
    ways = [(how, resumable) for how in ("refused", "silent") for resumable in (False, True)]
    await asyncio.gather(*(stopped(postgres_url, how, resumable=resumable) for how, resumable in ways))
    messages = [record.getMessage() for record in caplog.records]
    assert sum("so ends of tasks are not stored tasks=3" in message for message in messages) == 2
    assert sum("handles the open tasks after the lease lease_s=30" in message for message in messages) == 4
    assert not any("did not stop after its cancellation" in message for message in messages)
