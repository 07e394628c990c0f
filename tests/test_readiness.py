"""Readiness: one answer of the store for all who ask, and a health service that no watcher delays."""

import asyncio
import time

import aiohttp
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.server.readiness import ANSWER_KEEPS_S, Readiness
from a2a_grpc.store import StoreUnavailable
from a2a_grpc.store.memory import MemoryStore
from tests.attacks import http2
from tests.attacks.http2 import Peer
from tests.harness import eventually, scripted_agent, serving


class Counted(MemoryStore):
    """A store that counts how often it is asked, takes a while to answer, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.pings = 0
        self.is_away = False

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0.02)
        if self.is_away:
            raise StoreUnavailable("away")


async def test_a_thousand_who_ask_at_once_share_one_question() -> None:
    store = Counted()
    readiness = Readiness(store, lambda: True)
    assert await asyncio.gather(*(readiness.check() for _ in range(1000))) == [True] * 1000
    assert await readiness.check()
    assert store.pings == 1


async def test_an_answer_is_not_older_than_a_second() -> None:
    store = Counted()
    readiness = Readiness(store, lambda: True)
    assert await readiness.check()
    store.is_away = True
    begun = time.monotonic()

    async def is_told() -> None:
        assert not await readiness.check()

    await eventually(is_told, within_s=ANSWER_KEEPS_S + 5)
    assert time.monotonic() - begun >= 0.5  # the answer did serve for a while
    assert store.pings == 2


async def test_a_server_that_takes_no_work_is_not_ready_whatever_the_store_said() -> None:
    store = Counted()
    takes_work = True
    readiness = Readiness(store, lambda: takes_work)
    assert await readiness.check()
    takes_work = False
    assert not await readiness.check()


async def test_one_who_goes_away_does_not_take_the_answer_from_the_others() -> None:
    store = Counted()
    readiness = Readiness(store, lambda: True)
    first, second = asyncio.create_task(readiness.check()), asyncio.create_task(readiness.check())
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert store.pings == 1


async def test_readyz_is_answered_from_the_one_answer() -> None:
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as served, aiohttp.ClientSession() as session:

        async def ask() -> int:
            async with session.get(f"{served.server.http_url}/readyz") as response:
                return response.status

        assert await asyncio.gather(*(ask() for _ in range(50))) == [200] * 50


async def test_a_watcher_that_does_not_read_delays_neither_health_nor_the_end() -> None:
    """Its window is closed: what is written to it waits."""
    async with serving(scripted_agent()) as served:

        def watch() -> Peer:
            peer = Peer.connect(served.server.grpc_address, (http2.INITIAL_WINDOW_SIZE, 0))
            peer.send(http2.request(1, "/grpc.health.v1.Health/Watch", b""))
            peer.until([http2.HEADERS], timeout_s=0.5)
            return peer

        with await asyncio.to_thread(watch):
            async with grpc.aio.insecure_channel(served.server.grpc_address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                watching = stub.Watch(health_pb2.HealthCheckRequest())
                assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
                stopping = asyncio.create_task(served.server.stop(0.0))
                assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
                async with asyncio.timeout(30):
                    await stopping
