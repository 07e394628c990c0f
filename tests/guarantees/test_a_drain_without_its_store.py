"""A server that is told to stop while its store is away stops: the platform would kill it after 10 to 30 seconds."""

import asyncio
import time
from contextlib import suppress

import grpc.aio
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub

from a2a_grpc import Agent, Server, ServerSettings, Turn
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import Append, StoreUnavailable
from a2a_grpc.store.memory import MemoryStore
from tests.harness import message, request


class Away(MemoryStore):
    """A store that is tried for as long as a database is, once it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.is_closed = asyncio.Event()

    async def append(self, append: Append) -> int:
        if self.is_away:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.is_closed.wait(), 30.0)
            raise StoreUnavailable("away")
        return await super().append(append)

    async def close(self) -> None:
        self.is_closed.set()
        await super().close()


async def test_a_drain_does_not_wait_for_a_store_that_stores_nothing() -> None:
    agent = Agent("Sleeper", "Sleeps.")

    @agent.skill()
    async def sleep(turn: Turn) -> None:
        """Sleep."""
        await asyncio.sleep(60.0)

    store = Away()
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    async with Server(agent, settings, engine=EngineSettings(cancel_grace_s=0.2), store=store) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            asked = request(message(), immediately=True)
            await A2AServiceStub(channel).SendMessage(asked, metadata=[("a2a-version", "1.0")])
        store.is_away = True
        begun = time.monotonic()
        await server.stop()
        assert time.monotonic() - begun < 8.0
