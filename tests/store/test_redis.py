"""The worked example of a store of one's own, servers/redis_store.py, on a real Redis: contract, then faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc.aio
import pytest
from redis.asyncio import Redis as Connection

from a2a_grpc import Server, ServerSettings, connect
from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.server.loaded import make_server
from a2a_grpc.store import AlreadyBound, Binding, ListFilter, Note, StoreFull, StoreUnavailable, TaskStore
from a2a_grpc.store.contract import StoreContract
from a2a_grpc.store.contract.given import (
    KEY,
    LEASE_S,
    ME,
    OTHER,
    WAITING,
    append,
    chunk,
    claim,
    create,
    enqueue,
    head_of,
    status,
)
from a2a_grpc.wire import ROLE_USER, A2AServiceStub, GetTaskRequest, Task
from tests.databases import Redis
from tests.docs.pages import blocks
from tests.harness import ROOT, V1, eventually, load_program, scripted, scripted_agent, stop_listening

RedisStore: Any = load_program("servers/redis_store.py").RedisStore


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[TaskStore]:
    store = RedisStore.from_url(url, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def client(server: Redis) -> Connection:
    return Connection.from_url(server.url())


class TestRedisStore(StoreContract):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[TaskStore]:
        async with opened(redis_url) as store:
            yield store


class LosingAnswers:
    """Forwards connections to a Redis, and breaks one off when the server has served a script, before it answers."""

    def __init__(self, server: Redis) -> None:
        self._server = server
        self.lost = 0
        self.loses = False

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop_listening(self._listener)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server.port)
        is_doomed = False

        async def ask() -> None:
            nonlocal is_doomed
            while asked := await from_client.read(1 << 16):
                if self.loses and b"EVALSHA" in asked:
                    is_doomed, self.loses = True, False
                to_server.write(asked)
            to_server.transport.abort()

        async def answer() -> None:
            while answered := await from_server.read(1 << 16):
                if is_doomed:
                    self.lost += 1
                    break
                to_client.write(answered)
            to_client.transport.abort()

        with suppress(OSError):
            await asyncio.gather(ask(), answer())


async def test_a_write_whose_answer_is_lost_is_done_once(redis_server: Redis) -> None:
    async with LosingAnswers(redis_server) as losing, opened(losing.url) as store:

        async def losing_the_answer(write: Awaitable[Any]) -> Any:
            losing.loses = True
            return await write

        await store.join(ME, LEASE_S)
        first = await losing_the_answer(create(store, bind=("k", Binding(b"f", KEY.id, 1))))
        assert await losing_the_answer(append(store, status(2), epoch=first)) == 1
        assert (await losing_the_answer(enqueue(store))).last_turn == 2
        assert (await losing_the_answer(claim(store, OTHER, force=True))).attempt == 2
        await losing_the_answer(store.bind(KEY.scope, "k-2", Binding(b"f")))
        with pytest.raises(AlreadyBound):
            await losing_the_answer(store.bind(KEY.scope, "k", Binding(b"f")))
        assert losing.lost == 6
        head = await head_of(store)
        assert (head.seq, head.epoch, head.last_turn, head.replica) == (2, first + 1, 2, OTHER)
        assert [pending.turn for pending in await store.pending(KEY)] == [2]


async def test_a_restarted_redis_costs_no_record_and_fails_no_write(redis_server: Redis) -> None:
    async with opened(redis_server.url()) as store:
        epoch = await create(store)

        async def write_on() -> None:
            for seq in range(2, 302):
                await append(store, chunk(seq, f"{seq} "), epoch=epoch)

        async def seq_is_at_least(seq: int) -> None:
            assert (await head_of(store)).seq >= seq

        writing = asyncio.create_task(write_on())
        for seq, harm in [(50, redis_server.kill), (100, redis_server.stop), (150, redis_server.kill)]:
            await eventually(lambda seq=seq: seq_is_at_least(seq))
            await harm()
            await redis_server.start()
        await redis_server.terminate_connections()
        await writing
        records = await store.read(KEY, 0, 1000)
        assert records is not None
        assert [record.seq for record in records] == list(range(1, 302))
        assert records[1:] == [chunk(seq, f"{seq} ") for seq in range(2, 302)]


async def test_a_redis_that_stays_away_is_unavailable(redis_server: Redis) -> None:
    async with opened(redis_server.url(), budget_s=0.2) as store:
        epoch = await create(store)
        await store.ping()
        await redis_server.stop()
        with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
            await append(store, status(2), epoch=epoch)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await redis_server.start()
        await store.ping()
        await append(store, status(2), epoch=epoch)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.head(KEY)


async def test_no_room_is_a_full_store_for_new_tasks(redis_server: Redis) -> None:
    async with opened(redis_server.url(), budget_s=0.2) as store, client(redis_server) as redis:
        epoch = await create(store)
        await redis.config_set("maxmemory", 1)
        with pytest.raises(StoreFull):
            await create(store, KEY._replace(id="t-2"))
        with pytest.raises(StoreUnavailable):
            await append(store, status(2), epoch=epoch)
        await redis.config_set("maxmemory", 0)
        assert await store.head(KEY._replace(id="t-2")) is None
        await append(store, status(2), epoch=epoch)


async def test_a_redis_that_cannot_keep_tasks_is_refused(redis_server: Redis) -> None:
    with pytest.raises(ConfigurationError, match="scheme"):
        RedisStore.from_url("http://127.0.0.1")
    async with client(redis_server) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        store = RedisStore.from_url(redis_server.url())
        with pytest.raises(ConfigurationError, match="allkeys-lru"):
            await store.open()
        await store.close()
        await redis.config_set("requirepass", "secret")
        store = RedisStore.from_url(redis_server.url().replace("127", ":wrong@127"))
        with pytest.raises(ConfigurationError, match="let the store in") as refused:
            await store.open()
        assert "wrong@" not in str(refused.value)
        await store.close()


async def test_a_long_tail_is_folded_once(redis_url: str) -> None:
    async with opened(redis_url) as store, Connection.from_url(redis_url) as redis:
        epoch = await create(store)
        text = ""
        for seq in range(2, 300):
            text += f"{seq} "
            await append(store, chunk(seq, f"{seq} "), epoch=epoch)
            if seq in (100, 110, 299):
                snapshot = await store.load(KEY)
                assert snapshot is not None
                assert "".join(part.text for part in Task.FromString(snapshot.task).artifacts[0].parts) == text
        [name] = await redis.keys("a2a:snapshot:*")
        assert await redis.hget(name, "seq") == b"299"
        listed = (await store.list(KEY.scope, ListFilter(), None, 1)).tasks[0]
        assert listed.snapshot == await store.load(KEY)


async def test_nothing_is_left_of_what_was_removed(redis_url: str) -> None:
    async with opened(redis_url) as store, Connection.from_url(redis_url) as redis:
        await store.join(ME, LEASE_S)
        for place in range(3):
            key = KEY._replace(id=f"t-{place}")
            epoch = await create(store, key, bind=(f"k-{place}", Binding(b"f")), pending=WAITING._replace(turn=1))
            for seq in range(2, 80):
                await append(store, chunk(seq, "x"), epoch=epoch, key=key)
            await store.load(key)
            await append(store, status(80, COMPLETED), epoch=epoch, key=key)
        await store.leave(ME)
        assert await store.purge(ended_age_s=0.0, keep=0, limit=100) == 3
        assert await store.forget(bound_age_s=0.0, limit=100) == 3
        assert [key for key in await redis.keys() if b"a2a:reply:" not in key] == []
        assert all([0 < await redis.ttl(key) <= 300 for key in await redis.keys()])


async def test_the_notes_of_a_turn_go_with_the_turn(redis_url: str) -> None:
    async with opened(redis_url) as store:
        epoch = await create(store)
        for turn in (0, 1, 2, 11):
            await store.put_note(KEY, Note(turn, "a 3", b"x"), epoch=epoch)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, done=2)
        assert [await store.get_note(KEY, turn, "a 3") for turn in (0, 1, 2, 11)] == [b"x", None, None, b"x"]


async def test_2500_ended_tasks_go_in_pages_and_no_other(redis_url: str) -> None:
    async with opened(redis_url) as store:
        for state, number in [(COMPLETED, 2500), (WORKING, 5)]:
            keys = [KEY._replace(id=f"{state}-{place}") for place in range(number)]
            epochs = await asyncio.gather(*(create(store, key, at_us=1) for key in keys))
            ends = zip(keys, epochs, strict=True)
            await asyncio.gather(*(append(store, status(2, state, at_us=2), epoch=e, key=k) for k, e in ends))
        pages = [await store.purge(ended_age_s=0.0, keep=10_000, limit=1000) for _ in range(4)]
        assert pages == [1000, 1000, 500, 0]
        assert (await store.list(KEY.scope, ListFilter(), None, 1)).total == 5


async def test_the_lines_of_the_page_make_a_server_with_this_store(redis_url: str) -> None:
    how = f"played by: tests/store/{Path(__file__).name}"
    [block] = [block for block in blocks(ROOT / "docs" / "custom-store.md") if block.how == how]
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    names: dict[str, Any] = {"agent": scripted_agent(), "Server": partial(Server, settings=settings)}
    exec(block.text.replace("redis://127.0.0.1:6379/0", redis_url), names)
    async with names["server"] as server, connect(server.grpc_address) as client:
        task = await client.send({"script": []})
        assert isinstance(task, Task)
        assert (await client.get(task.id)).status.state == COMPLETED
    async with Connection.from_url(redis_url) as redis:
        assert await redis.keys(f"a2a:*{task.id}*")


async def test_servers_share_their_tasks_through_redis(redis_url: str) -> None:
    agent, settings = scripted_agent(), {"listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0}
    key = ("idempotency-key", "once")
    async with AsyncExitStack() as stack:

        async def replica() -> A2AServiceStub:
            server = make_server(agent, settings, store=RedisStore.from_url(redis_url))
            await stack.enter_async_context(server)
            channel = grpc.aio.insecure_channel(server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
            return A2AServiceStub(await stack.enter_async_context(channel))

        one, other = await replica(), await replica()
        asked = scripted({"input": {"text": "who?"}})
        task = (await one.SendMessage(asked, metadata=(*V1, key))).task
        assert task.status.state == INPUT_REQUIRED
        assert (await other.SendMessage(asked, metadata=(*V1, key))).task.id == task.id
        answer = scripted({"complete": {"text": "you"}}, task_id=task.id, context_id=task.context_id)
        assert (await other.SendMessage(answer, metadata=V1)).task.status.state == COMPLETED
        task = await one.GetTask(GetTaskRequest(id=task.id), metadata=V1)
        assert task.status.state == COMPLETED
        assert [said.role for said in task.history].count(ROLE_USER) == 2
