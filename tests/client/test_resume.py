"""A cut connection is no event in a caller's life: with seqs on the wire nothing is missed and nothing comes twice."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from a2a_grpc import Agent, Client, Message, Task, TaskArtifactUpdateEvent, TaskState, Turn, connect
from a2a_grpc.client import (
    ConnectionLostError,
    Event,
    TaskLostError,
    TaskStream,
    UnreachableError,
)
from a2a_grpc.errors import TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, TERMINAL, WORKING, Fold
from a2a_grpc.parts import Json
from a2a_grpc.store import MemoryStore
from tests.covers import covers
from tests.guarantees.rig import Asker, Workers, serving_on, total_tasks, without_user_messages
from tests.harness import Program, Served, eventually, scripted, scripted_agent, serving, texts
from tests.ports import free_address
from tests.proxy import Proxy
from tests.regressions.faults import followers, open_streams, reaches

pytestmark = pytest.mark.usefixtures("any_way")

SOON: dict[str, Any] = {"retry_initial_s": 0.01, "retry_maximum_s": 0.05}
"""Settings of a client that does not wait long before it tries again."""

EVENTS = 2000
LONG: Json = {"script": [{"chunks": {"count": EVENTS - 3}}]}
"""A task of 2,000 events: SUBMITTED, WORKING, the chunks, COMPLETED. Over 230,000 bytes from the server."""
LONG_BYTES = 230_000

ID_OF_NO_TASK = "no-such-task"


def packed(events: list[Event]) -> list[bytes]:
    return [event.SerializeToString(deterministic=True) for event in events]


async def read(stream: TaskStream) -> list[Event]:
    async with stream as events:
        return [event async for event in events]


async def log_of(served: Served, task_id: str) -> list[Event]:
    """The whole log of a task, on a connection that nobody cuts."""
    async with connect(served.server.grpc_address) as client:
        stream = client.subscribe(task_id, after=0)
        events = await read(stream)
        assert stream.seq == len(events)
        return events


@asynccontextmanager
async def through(proxy: Proxy, **settings: Any) -> AsyncIterator[Client]:
    async with proxy, connect(proxy.address, **SOON, **settings) as client:
        yield client


def drawn(seed: int, *, total_bytes: int = LONG_BYTES, times: int | None = None) -> list[int]:
    """Where a stream of so many bytes is cut: bytes of each connection, which together are fewer than all."""
    chance = random.Random(seed)
    cuts = chance.randint(1, 5) if times is None else times
    points = [chance.randint(40, total_bytes // (cuts + 1)) for _ in range(cuts)]
    print(f"seed {seed}: the connections are cut after {points} bytes")
    return points


# -- cut anywhere, any number of times


@covers("OPEN-30")
@pytest.mark.few
@pytest.mark.parametrize("seed", range(12))
async def test_a_stream_cut_anywhere_delivers_each_of_2000_events_once_in_order(served: Served, seed: int) -> None:
    points = drawn(seed)
    proxy = Proxy(served.server.grpc_address, cut_after=points)
    async with through(proxy) as client:
        stream = client.stream(LONG)
        events = await read(stream)
        assert proxy.cuts >= 1
    log = await log_of(served, stream.task_id)
    assert len(log) == EVENTS
    # Cut before its first element, a send is repeated; the task may have got on meanwhile, and its snapshot says so.
    first, *rest = events
    assert isinstance(first, Task)
    joined = EVENTS - len(rest)
    assert first == folded(log[:joined])
    assert packed(rest) == packed(log[joined:])
    assert stream.seq == EVENTS
    assert stream.task == await served.get(stream.task_id)


@covers("S0-47")
@pytest.mark.few
@pytest.mark.parametrize("seed", range(8))
async def test_a_stream_that_began_and_is_cut_anywhere_delivers_exactly_the_2000_events(seed: int) -> None:
    await assert_delivers_all(drawn(seed))


@covers("OPEN-30")
@pytest.mark.long
async def test_a_stream_that_is_cut_forty_times_delivers_exactly_the_2000_events() -> None:
    chance = random.Random(40)
    await assert_delivers_all([chance.randint(1000, 5000) for _ in range(40)])


async def assert_delivers_all(points: list[int]) -> None:
    teller = Teller(EVENTS - 3)
    async with serving(teller.agent) as served, proxied(served) as (proxy, client):
        async with client.stream("hello") as stream:
            events = [await anext(stream), await anext(stream)]
            proxy.cut_after(points)
            teller.go.set()
            events += [event async for event in stream]
        assert proxy.cuts == len(points)
        assert len(events) == EVENTS
        assert packed(events) == packed(await log_of(served, stream.task_id))
        assert stream.seq == EVENTS
        assert stream.task == await served.get(stream.task_id)


class Teller:
    """An agent that waits for `go`, then makes so many chunks."""

    def __init__(self, chunks: int) -> None:
        self.agent = Agent("Teller", "Tells when it is told to.")
        self.go = asyncio.Event()
        self._chunks = chunks
        self.agent.skill("tell")(self._tell)

    async def _tell(self, turn: Turn) -> None:
        """Tells."""
        await self.go.wait()
        for number in range(self._chunks):
            await turn.artifact(f"chunk {number} ", id="chunks", append=number > 0)


@pytest.mark.few
@pytest.mark.parametrize("seed", range(8))
async def test_a_subscription_after_a_seq_cut_anywhere_delivers_exactly_the_events_after_it(
    served: Served, seed: int
) -> None:
    task = (await served.send(scripted({"chunks": {"count": EVENTS - 3}}))).task
    log = packed(await log_of(served, task.id))
    after = random.Random(seed).randint(0, EVENTS - 100)
    points = drawn(seed, total_bytes=(EVENTS - after) * 100)
    proxy = Proxy(served.server.grpc_address, cut_after=points)
    async with through(proxy) as client:
        stream = client.subscribe(task.id, after=after)
        events = await read(stream)
        assert proxy.cuts == len(points)
    assert packed(events) == log[after:]
    assert stream.seq == EVENTS


@covers("OPEN-30")
@pytest.mark.few
@pytest.mark.parametrize("seed", range(6))
async def test_a_subscription_cut_anywhere_is_its_snapshot_and_exactly_the_events_after_it(
    served: Served, seed: int
) -> None:
    task = await served.start({"input": "go?"}, {"chunks": {"count": EVENTS - 5}})
    await reaches(served, task.id, INPUT_REQUIRED)
    points = drawn(seed)
    proxy = Proxy(served.server.grpc_address, cut_after=points)
    async with through(proxy) as client, client.subscribe(task.id) as events:
        first = await anext(events)
        await served.send(scripted(task_id=task.id, immediately=True))
        rest = [event async for event in events]
        assert proxy.cuts == len(points)
    log = await log_of(served, task.id)
    assert len(log) == EVENTS
    assert first == folded(log[:3])
    assert packed(rest) == packed(log[3:])


@pytest.mark.few
@pytest.mark.parametrize("seed", range(4))
async def test_a_send_cut_anywhere_gives_the_task_as_get_gives_it(served: Served, seed: int) -> None:
    points = drawn(seed)
    proxy = Proxy(served.server.grpc_address, cut_after=points)
    async with through(proxy) as client:
        task = await client.send(LONG)
        assert proxy.cuts >= 1
    assert isinstance(task, Task)
    assert task.status.state == COMPLETED
    assert task == await served.get(task.id)
    assert await total_tasks(served) == 1


async def test_a_wait_cut_three_times_gives_the_task_as_get_gives_it(served: Served) -> None:
    task = await served.start({"input": "go?"}, {"chunks": {"count": 200}})
    await reaches(served, task.id, INPUT_REQUIRED)
    proxy = Proxy(served.server.grpc_address, cut_after=[50, 900, 2000])
    async with through(proxy) as client:
        await served.send(scripted(task_id=task.id, immediately=True))
        waited = await client.wait(task.id)
        assert proxy.cuts == 3
    assert waited.status.state == COMPLETED
    assert without_user_messages(waited) == without_user_messages(await served.get(task.id))


async def test_a_subscription_cut_at_any_byte_of_its_beginning_begins_with_the_task(served: Served) -> None:
    """Also between the metadata, which tell the seq, and the snapshot that it is the seq of."""
    task = await served.start({"input": "go?"})
    await reaches(served, task.id, INPUT_REQUIRED)
    stored = await served.get(task.id)
    for cut_after in range(0, 600, 15):
        proxy = Proxy(served.server.grpc_address, cut_after=[cut_after])
        async with through(proxy) as client, client.subscribe(task.id) as events:
            assert await anext(events) == stored, cut_after
            assert events.seq == 3
            assert events.task == stored


async def test_a_stream_that_pauses_for_input_is_resumed_and_ends_there_too() -> None:
    """A send's stream ends in INPUT_REQUIRED; the subscription by which it is resumed stays open there."""
    asker = Asker()
    async with serving(asker.agent) as served, proxied(served) as (proxy, client):
        async with client.stream("one") as stream:
            events = [await anext(stream), await anext(stream)]
            reading = asyncio.ensure_future(anext(stream))
            await break_off(served, proxy)
            asker.go["one"].set()
            events.append(await reading)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        assert stream.state == INPUT_REQUIRED
        assert stream.is_settled
        async with client.subscribe(stream.task_id, after=0) as log:
            assert packed(events) == packed([await anext(log) for _ in range(3)])


async def test_a_follow_up_cut_before_its_answer_gives_the_task_as_get_gives_it() -> None:
    asker = Asker()
    asker.go["one"].set()
    async with serving(asker.agent) as served, proxied(served) as (proxy, client):
        asked = await client.send("one")
        assert isinstance(asked, Task)
        sending = asyncio.ensure_future(client.send("two", task_id=asked.id))
        await reaches(served, asked.id, WORKING)
        await eventually(lambda: assert_streams(served, 1))
        await break_off(served, proxy)
        asker.go["two"].set()
        answered = await sending
        assert isinstance(answered, Task)
        assert answered.status.message.parts[0].text == "what after two?"
        assert answered == await served.get(asked.id)
        assert asker.played == ["one", "two"]


async def break_off(served: Served, proxy: Proxy) -> None:
    """Cuts the one stream that is open, and returns when there is one again."""
    before = proxy.requests
    proxy.cut()
    await eventually(lambda: assert_requests(proxy, before + 1))
    await eventually(lambda: assert_streams(served, 1))


async def test_small_pieces_that_come_late_are_the_same_events(served: Served) -> None:
    proxy = Proxy(served.server.grpc_address, cut_after=[700, 800, 900], delay_s=0.02)
    async with through(proxy) as client:
        stream = client.stream({"script": [{"chunks": {"count": 50, "interval_s": 0.001}}]})
        events = await read(stream)
        assert proxy.cuts >= 1
    log = await log_of(served, stream.task_id)
    assert packed(events[1:]) == packed(log[len(log) - len(events) + 1 :])
    assert stream.task == await served.get(stream.task_id)


async def test_a_stream_broken_off_with_rst_stream_is_resumed(served: Served) -> None:
    """A proxy may break off one stream, with CANCEL, and keep the connection."""
    async with proxied(served) as (proxy, client):
        task = await served.start({"input": "go?"}, {"chunks": {"count": 20}})
        await reaches(served, task.id, INPUT_REQUIRED)
        async with client.subscribe(task.id) as events:
            await anext(events)
            await eventually(lambda: resets(proxy))
            await served.send(scripted(task_id=task.id, immediately=True))
            rest = [event async for event in events]
        assert proxy.connections == 1
        assert proxy.requests == 2
    assert packed(rest) == packed((await log_of(served, task.id))[3:])


def resets(proxy: Proxy) -> None:
    proxy.reset_streams()


async def test_resuming_after_the_last_event_of_an_ended_task_gives_nothing_and_ends(served: Served) -> None:
    task = (await served.send(scripted({"chunks": {"count": 2}}))).task
    async with connect(served.server.grpc_address, **SOON) as client, asyncio.timeout(60):
        assert await read(client.subscribe(task.id, after=5)) == []


async def test_subscribing_to_an_ended_task_gives_the_task(served: Served) -> None:
    task = (await served.send(scripted({"chunks": {"count": 2}}))).task
    async with connect(served.server.grpc_address) as client:
        assert await read(client.subscribe(task.id)) == [await served.get(task.id)]


def folded(events: list[Event]) -> Task:
    folding = Fold(Task())
    for event in events:
        folding.apply(event)
    return folding.task


@asynccontextmanager
async def proxied(served: Served, **settings: Any) -> AsyncIterator[tuple[Proxy, Client]]:
    async with Proxy(served.server.grpc_address) as proxy, connect(proxy.address, **SOON, **settings) as client:
        yield proxy, client


# -- readers that lose patience, readers that leave


@pytest.mark.parametrize("seed", range(3))
async def test_a_read_that_times_out_loses_nothing_and_the_next_goes_on(served: Served, seed: int) -> None:
    chance = random.Random(seed)
    script: Json = {"script": [{"chunks": {"count": 60, "interval_s": 0.002}}, {"sleep": 0.05}, {"status": "nearly"}]}
    events: list[Event] = []
    timeouts = 0
    async with connect(served.server.grpc_address, **SOON) as client, client.stream(script) as stream:
        first = await anext(stream)
        while True:
            try:
                async with asyncio.timeout(chance.choice([0, 0, 0.001, 0.005, None])):
                    events.append(await anext(stream))
            except TimeoutError:
                timeouts += 1
            except StopAsyncIteration:
                break
    assert timeouts > 10
    log = await log_of(served, stream.task_id)
    assert len(log) == 64
    assert packed([first, *events]) == packed(log)


async def test_a_message_whose_answer_was_not_awaited_is_sent_again_and_makes_no_second_task(served: Served) -> None:
    async with connect(served.server.grpc_address, **SOON) as client:
        async with client.stream({"script": [{"chunks": {"count": 3}}]}) as stream:
            reading = asyncio.create_task(anext(stream))
            await eventually(lambda: assert_has_a_task(served))
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            events = [event async for event in stream]
        assert stream.state == COMPLETED
        assert events
        assert await total_tasks(served) == 1


async def assert_has_a_task(served: Served) -> None:
    assert await total_tasks(served) == 1


async def test_canceling_a_send_cancels_its_rpc_and_not_its_task() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client:
            sending = asyncio.create_task(client.send("hello"))
            await eventually(lambda: assert_at_work(workers))
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await assert_rpc_is_gone_and_task_goes_on(served, workers, await only_task(client))


@covers("Q10")
async def test_leaving_a_streams_block_cancels_its_rpc_at_once() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client:
            async with client.stream("hello") as events:
                await anext(events)
                await eventually(lambda: assert_streams(served, 1))
            await assert_rpc_is_gone_and_task_goes_on(served, workers, events.task_id)


@covers("Q10")
async def test_an_error_in_a_streams_block_cancels_its_rpc_at_once() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client:
            with pytest.raises(ZeroDivisionError):
                async with client.stream("hello") as events:
                    raise ZeroDivisionError(await anext(events))
            await assert_rpc_is_gone_and_task_goes_on(served, workers, events.task_id)


@covers("Q10")
async def test_breaking_out_of_a_bare_async_for_cancels_its_rpc_at_once() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client:
            task_id = ""
            async for event in client.stream("hello"):
                assert isinstance(event, Task)
                task_id = event.id
                break
            await assert_rpc_is_gone_and_task_goes_on(served, workers, task_id)


@covers("Q10")
async def test_canceling_the_reader_of_a_stream_cancels_its_rpc_at_once() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client:
            stream = client.stream("hello")
            reading = asyncio.create_task(read(stream))
            await eventually(lambda: assert_streams(served, 1))
            await eventually(lambda: assert_state_known(stream, WORKING))
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await assert_rpc_is_gone_and_task_goes_on(served, workers, stream.task_id)


@covers("Q10")
async def test_closing_a_client_ends_its_streams_and_not_their_tasks() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client:
            stream = client.stream("hello")
            await anext(stream)
        await assert_rpc_is_gone_and_task_goes_on(served, workers, stream.task_id)
        stream.close()


@covers("Q10")
async def test_leaving_a_subscription_leaves_other_streams_of_the_task_alone() -> None:
    async with working() as (served, workers):
        async with connect(served.server.grpc_address) as client, client.stream("hello") as events:
            read_by_one: list[Event] = [await anext(events)]
            async with client.subscribe(events.task_id) as others:
                await anext(others)
                await eventually(lambda: assert_streams(served, 2))
            await eventually(lambda: assert_streams(served, 1))
            workers.go.set()
            read_by_one += [event async for event in events]
            assert packed(read_by_one) == packed(await log_of(served, events.task_id))


@asynccontextmanager
async def working() -> AsyncIterator[tuple[Served, Workers]]:
    workers = Workers()
    async with serving(workers.agent) as served:
        yield served, workers


def assert_at_work(workers: Workers) -> None:
    assert workers.at_work == 1


def assert_streams(served: Served, number: int) -> None:
    assert open_streams(served) == number


def assert_state_known(stream: TaskStream, state: TaskState) -> None:
    assert stream.state == state


async def only_task(client: Client) -> str:
    (task,) = [task async for task in client.list()]
    return task.id


async def assert_rpc_is_gone_and_task_goes_on(served: Served, workers: Workers, task_id: str) -> None:
    """The agent waits all the while: only the client can have ended the stream."""

    def gone() -> None:
        assert open_streams(served) == 0
        assert followers(served) == 0

    await eventually(gone)
    await eventually(lambda: assert_at_work(workers))
    assert (await served.get(task_id)).status.state == WORKING
    workers.go.set()
    await reaches(served, task_id, COMPLETED)
    assert texts(await served.get(task_id)) == ["hello"]


# -- servers that stay away


async def test_following_gives_up_after_a_time_with_the_last_known_task(served: Served) -> None:
    task = await served.start({"artifact": {"text": "so far"}}, {"input": "go?"})
    await reaches(served, task.id, INPUT_REQUIRED)
    async with proxied(served, give_up_after_s=0.5) as (proxy, client), client.subscribe(task.id) as events:
        await anext(events)
        proxy.close()
        since = time.monotonic()
        with pytest.raises(ConnectionLostError) as lost:
            await anext(events)
        assert time.monotonic() - since >= 0.3
        assert lost.value.task == await served.get(task.id)
        assert f"gave up following task '{task.id}'" in str(lost.value)
        assert "0.5 s" in str(lost.value)
        assert isinstance(lost.value, UnavailableError)
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_polling_gives_up_with_the_last_known_task() -> None:
    async with working() as (served, _), proxied(served, give_up_after_s=0.3, max_retries=0) as (proxy, client):
        started = await client.start("hello")
        assert isinstance(started, Task)
        asked = proxy.requests
        waiting = asyncio.ensure_future(client.wait(started.id, poll_s=0.01))
        await eventually(lambda: assert_requests(proxy, asked + 3))
        proxy.close()
        with pytest.raises(ConnectionLostError) as lost:
            await waiting
        assert lost.value.task is not None
        assert lost.value.task.id == started.id


def assert_requests(proxy: Proxy, number: int) -> None:
    assert proxy.requests >= number


async def test_a_client_that_gives_up_after_0_s_does_not_try_again(served: Served) -> None:
    task = await served.start({"input": "go?"})
    await reaches(served, task.id, INPUT_REQUIRED)
    async with proxied(served, give_up_after_s=0) as (proxy, client), client.subscribe(task.id) as events:
        await anext(events)
        proxy.cut()
        with pytest.raises(ConnectionLostError):
            await anext(events)
        assert proxy.requests == 1


async def test_contact_without_news_is_contact(served: Served) -> None:
    """A parked task whose connection is cut again and again, for longer than a client waits without contact."""
    task = await served.start({"input": "go?"}, {"complete": "done"})
    await reaches(served, task.id, INPUT_REQUIRED)
    async with proxied(served, give_up_after_s=1.0) as (proxy, client), client.subscribe(task.id) as events:
        await anext(events)
        reading = asyncio.ensure_future(anext(events))
        since = time.monotonic()
        while time.monotonic() - since < 2.0:
            seen = proxy.requests
            proxy.cut()
            await eventually(lambda seen=seen: assert_requests(proxy, seen + 1))
            await eventually(lambda: assert_streams(served, 1))
        assert not reading.done()
        await served.send(scripted(task_id=task.id, immediately=True))
        await reading
        assert [event async for event in events]
    assert events.state == COMPLETED


async def test_an_agent_that_was_never_reached_is_waited_for_only_as_long_as_connecting_may_take() -> None:
    async with Proxy("127.0.0.1:1") as proxy:
        proxy.close()
        async with connect(proxy.address, **SOON, connect_timeout_s=0.3, give_up_after_s=600, timeout_s=600) as client:
            operations: list[Callable[[], Awaitable[Any]]] = [
                lambda: client.send("hello"),
                lambda: read(client.stream("hello")),
                lambda: read(client.subscribe(ID_OF_NO_TASK)),
                lambda: client.wait(ID_OF_NO_TASK),
                lambda: client.get(ID_OF_NO_TASK),
                lambda: client.start("hello"),
            ]
            for operation in operations:
                with pytest.raises(UnreachableError, match=f"nothing listens at {proxy.address}"):
                    async with asyncio.timeout(30):
                        await operation()


async def test_an_agent_that_comes_up_while_it_is_being_connected_to_is_reached(served: Served) -> None:
    async with Proxy(served.server.grpc_address) as proxy:
        proxy.close()
        async with connect(proxy.address, **SOON, connect_timeout_s=30) as client:
            sending = asyncio.ensure_future(client.send("hello"))
            await asyncio.sleep(0.3)
            await proxy.reopen()
            task = await sending
    assert isinstance(task, Task)
    assert texts(task) == ["hello"]


@covers("S0-47")
async def test_a_server_killed_and_restarted_without_its_tasks_is_told_with_the_last_known_task() -> None:
    """SIGKILL in the middle of a stream; the same port, a new `memory:` store."""
    serve = ("servers/scripted.py", "-o", "json", "--listen", free_address(), "--http-listen", "off")
    async with Program(*serve) as first:
        async with connect(first.address, **SOON, give_up_after_s=100) as client:
            async with client.stream({"script": [{"artifact": {"text": "so far"}}, {"sleep": 600}]}) as events:
                async for event in events:
                    if isinstance(event, TaskArtifactUpdateEvent):
                        break
                first.process.kill()
                await first.process.wait()
                async with Program(*serve):
                    with pytest.raises(TaskLostError) as lost:
                        await anext(events)
    assert isinstance(lost.value, TaskNotFoundError)
    assert lost.value.reason == "TASK_NOT_FOUND"
    assert f"task '{events.task_id}' is gone" in str(lost.value)
    assert "restarted" in str(lost.value)
    assert lost.value.task is not None
    assert lost.value.task.id == events.task_id
    assert lost.value.task.status.state == WORKING
    assert texts(lost.value.task) == ["so far"]


async def test_a_task_that_never_was_is_not_found_and_not_lost(served: Served) -> None:
    async with connect(served.server.grpc_address) as client:
        with pytest.raises(TaskNotFoundError) as unknown:
            await read(client.subscribe(ID_OF_NO_TASK))
        assert not isinstance(unknown.value, TaskLostError)


class LastingStore(MemoryStore):
    """Keeps its tasks when its server closes it, as a durable one does."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = self.shared = self.keeps_messages = True

    async def close(self) -> None:
        pass


@pytest.mark.direct
async def test_a_server_drained_and_back_on_its_port_goes_on_where_the_stream_was() -> None:
    """The stream ends with UNAVAILABLE and RetryInfo of 1 s; nobody comes back earlier."""
    store, agent = LastingStore(), scripted_agent()
    async with AsyncExitStack() as stack:
        address = free_address()
        async with serving_on(store, agent, listen=address) as first:
            task = (await first.send(scripted({"artifact": {"text": "before"}}, {"input": "go?"}))).task
            client = await stack.enter_async_context(connect(address, **SOON))
            stream = await stack.enter_async_context(client.subscribe(task.id))
            events = [await anext(stream)]
            assert open_streams(first) == 1
            since = time.monotonic()
        async with serving_on(store, agent, listen=address) as second:
            assert second.server.grpc_address == address
            await second.send(scripted({"chunks": {"count": 5}}, task_id=task.id))
            events.append(await anext(stream))
            assert time.monotonic() - since >= 1.0
            events += [event async for event in stream]
            assert stream.state == COMPLETED
            assert packed(events[1:]) == packed((await log_of(second, task.id))[4:])
            assert without_user_messages(stream.task or Task()) == without_user_messages(await second.get(task.id))


async def test_unary_calls_bridge_a_cut(served: Served) -> None:
    task = (await served.send(scripted({"chunks": {"count": 2}}))).task
    async with proxied(served) as (proxy, client):
        for _ in range(5):
            assert await client.get(task.id) == task
            proxy.cut()
        assert [listed.id async for listed in client.list()] == [task.id]
    assert proxy.cuts == 5


async def test_a_message_instead_of_a_task_ends_the_stream(served: Served) -> None:
    async with connect(served.server.grpc_address) as client:
        stream = client.stream({"script": [{"message": "hi"}]})
        (reply,) = await read(stream)
        assert isinstance(reply, Message)
        assert stream.task is None
    assert not any(state == stream.state for state in TERMINAL)
