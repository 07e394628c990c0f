"""Large tasks: read in part, canceled whatever their size, never over a response. Lists read what they return."""

import asyncio
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from a2a_grpc import Agent, Rejected, Server, ServerSettings, Turn, connect
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.config import ConfigurationError
from a2a_grpc.engine import EngineSettings
from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.lifecycle import COMPLETED, FAILED, WORKING
from a2a_grpc.parts import text_of
from a2a_grpc.protocol import LEFT_OUT
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.store import CORE, WHOLE, Create, ListFilter, MemoryStore, Record, TaskStore, TaskView, open_store
from a2a_grpc.store.contract.given import KEY, ME, append, born, filled, status
from a2a_grpc.wire import (
    Artifact,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Part,
    SendMessageResponse,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
)
from tests.covers import covers
from tests.harness import V1, Served, request, serving

MiB = 1 << 20
NO_ARTIFACTS = (*V1, ("a2a-grpc-artifacts", "none"))


def filling(mebibytes: int, *, history: int = 0) -> Agent:
    """An agent that makes so many artifacts of 1 MiB and says so many messages of 1 MiB, then waits to be canceled."""
    agent = Agent("Filling", "Fills a task.")

    @agent.skill()
    async def fill(turn: Turn) -> None:
        for place in range(mebibytes):
            await turn.artifact(b"x" * MiB, id=str(place))
        for _ in range(history):
            await turn.status("x" * MiB)
        await turn.status("made")
        if turn.text == "wait":
            await asyncio.sleep(600)

    return agent


async def waiting_task(served: Served) -> str:
    """A task that is filled and waits."""
    call = served.stream(request("wait"))
    task_id = ""
    async for element in call:
        task_id = task_id or element.task.id
        if text_of(element.status_update.status.message) == "made":
            break
    call.cancel()
    return task_id


@pytest.fixture(params=["memory:", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory:" else f"sqlite:///{tmp_path}/tasks.db"


# -- GetTask, ListTasks, sends and streams without artifacts; CancelTask


async def test_a_stock_client_reads_a_large_task_without_its_artifacts(store_url: str) -> None:
    async with serving(filling(6), store=store_url) as served:
        task_id = await waiting_task(served)
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
            await served.stub.GetTask(GetTaskRequest(id=task_id), metadata=V1)
        task = await served.stub.GetTask(GetTaskRequest(id=task_id), metadata=NO_ARTIFACTS)
        (listed,) = (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).tasks
        assert task == listed
        assert (task.id, len(task.artifacts), text_of(task.status.message)) == (task_id, 0, "made")
        stream = served.stub.SubscribeToTask(SubscribeToTaskRequest(id=task_id), metadata=NO_ARTIFACTS)
        assert (await stream.read()).task == task
        stream.cancel()


async def test_a_blocking_send_without_artifacts_fits_a_stock_client(store_url: str) -> None:
    async with serving(filling(6), store=store_url) as served:
        reply: SendMessageResponse = await served.stub.SendMessage(request("go"), metadata=NO_ARTIFACTS)
        assert (reply.task.status.state, len(reply.task.artifacts)) == (COMPLETED, 0)


@pytest.mark.parametrize(
    ("artifacts", "history", "left_out"),
    [(1, 1, ""), (6, 0, "artifacts"), (6, 6, "artifacts, history"), (1, 6, "artifacts, history")],
)
async def test_a_stock_client_cancels_a_task_whatever_its_size(
    store_url: str, artifacts: int, history: int, left_out: str
) -> None:
    async with serving(filling(artifacts, history=history), store=store_url) as served:
        task_id = await waiting_task(served)
        for _ in range(2):  # the second one finds it canceled
            call = served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
            task = await call
            assert task.status.state == 5  # CANCELED
            assert task.metadata.fields[LEFT_OUT].string_value == left_out
            told = dict(await call.trailing_metadata())
            assert told.get("a2a-grpc-left-out", "") == left_out
            assert len(task.artifacts) == (0 if left_out else artifacts)
            assert bool(task.history) == ("history" not in left_out)


@covers("EXT-7")
async def test_a_value_of_the_extension_that_means_nothing_is_refused(store_url: str) -> None:
    async with serving(filling(0), store=store_url) as served:
        with pytest.raises(grpc.aio.AioRpcError, match="must be 'none' or 'all'"):
            await served.stub.GetTask(GetTaskRequest(id="t"), metadata=(*V1, ("a2a-grpc-artifacts", "some")))


async def test_the_client_leaves_artifacts_out_and_says_how_where_a_task_is_too_large() -> None:
    async with serving(filling(2)) as served:
        task_id = await waiting_task(served)
        async with connect(served.server.grpc_address, max_response_bytes=MiB) as client:
            with pytest.raises(ResourceExhaustedError, match=r"1048576.*max_response_bytes.*artifacts=False") as large:
                await client.get(task_id)
            assert not large.value.retryable
            assert len((await client.get(task_id, artifacts=False)).artifacts) == 0
            with pytest.raises(ResourceExhaustedError, match=r"4194304 \(--max-receive-bytes.*url"):
                await client.send(b"x" * 5 * MiB)


# -- limits that fit each other


@pytest.mark.parametrize(
    ("engine", "transport", "server", "names"),
    [
        ({}, {"max_send_bytes": 16 * MiB}, {}, ["--max-send-bytes is 16777216", "--max-task-bytes is 67108864"]),
        ({"max_task_bytes": 65 * MiB}, {}, {}, ["--max-send-bytes is 68157440", "--max-task-bytes is 68157440"]),
        (
            {"max_task_bytes": MiB, "max_event_bytes": 2 * MiB},
            {},
            {},
            ["--max-event-bytes is 2097152", "--max-task-bytes is 1048576"],
        ),
        ({}, {}, {"max_bytes_in_flight": MiB}, ["--max-bytes-in-flight is 1048576", "--max-receive-bytes is 4194304"]),
    ],
)
async def test_limits_by_which_a_task_could_grow_that_nobody_can_read_are_refused_by_name(
    engine: dict[str, int], transport: dict[str, int], server: dict[str, int], names: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Server(
            filling(0),
            ServerSettings(**server),  # type: ignore[arg-type]
            engine=EngineSettings(**engine),  # type: ignore[arg-type]
            transport=TransportSettings(**transport),
        )
    for name in names:
        assert name in str(refused.value)


def test_the_default_client_reads_whatever_the_default_server_sends() -> None:
    assert ClientSettings().max_response_bytes > TransportSettings().max_send_bytes
    assert TransportSettings().max_send_bytes > EngineSettings().max_task_bytes


async def test_an_end_that_is_too_large_for_the_task_says_so_instead() -> None:
    """A task that may hold 20,000 bytes never holds more than a response does, whatever it ends with."""
    agent = Agent("Long", "Has a long last word.")

    @agent.skill()
    async def say(turn: Turn) -> None:
        raise Rejected("x" * 50_000)

    async with serving(agent, max_task_bytes=20_000, max_send_bytes=25_000) as served:
        task = (await served.send(request("go"))).task
        assert task.status.state == FAILED
        assert "--max-task-bytes" in text_of(task.status.message)
        assert await served.get(task.id) == task


async def test_a_message_that_no_task_can_hold_is_refused_before_a_task_exists() -> None:
    async with serving(filling(0), max_task_bytes=20_000, max_send_bytes=25_000) as served:
        with pytest.raises(grpc.aio.AioRpcError, match="--max-task-bytes"):
            await served.send(request("x" * 30_000))
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


async def test_the_largest_task_is_read_whole_by_the_default_client() -> None:
    async with serving(filling(80)) as served:
        async with connect(served.server.grpc_address) as client:
            ended = await client.send("go")
            assert isinstance(ended, Task)
            assert "limit of 67108864 bytes (--max-task-bytes)" in text_of(ended.status.message)
            task = await client.get(ended.id)
            assert len(task.artifacts) == 63
            (listed,) = [task async for task in client.list(include_artifacts=True)]
            assert listed == task


# -- lists read what they return


@pytest.fixture(params=["memory:", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TaskStore]:
    store = MemoryStore() if request.param == "memory:" else open_store(f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    yield store
    await store.close()


@covers("G11")
@pytest.mark.parametrize(
    ("view", "artifact", "history"),
    [(TaskView(artifacts=False), 4 * MiB, 10), (CORE, 2 * MiB, MiB), (TaskView(False, 1), 3 * MiB, 100_000)],
    ids=str,
)
async def test_a_list_holds_in_memory_what_it_returns(
    tmp_path: Path, view: TaskView, artifact: int, history: int
) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    writing = open_store(url)
    await writing.open()
    await filled(writing, 6, artifact=artifact, history=history)
    await writing.close()
    reading = open_store(url)
    await reading.open()
    await reading.list(KEY.scope, ListFilter(), None, 1, view=CORE)  # what is imported and compiled once
    tracemalloc.start()
    page = await reading.list(KEY.scope, ListFilter(), None, 50, view=view, max_bytes=64 * MiB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    returned = sum(len(listed.snapshot.task) for listed in page.tasks)
    assert len(page.tasks) == 6
    assert peak < 6 * returned + MiB
    await reading.close()


@covers("G11")
async def test_a_page_of_large_tasks_loads_one_and_not_all(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    writing = open_store(url)
    await writing.open()
    await filled(writing, 6, artifact=3 * MiB)
    await writing.close()
    reading = open_store(url)
    await reading.open()
    tracemalloc.start()
    page = await reading.list(KEY.scope, ListFilter(), None, 50, max_bytes=4 * MiB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(page.tasks), page.total, page.more) == (1, 6, True)
    assert peak < 14 * MiB
    await reading.close()


async def test_a_row_of_an_earlier_version_is_listed_in_part(tmp_path: Path) -> None:
    """Such a row has no core, no numbers of messages, and a snapshot in one piece."""
    url = f"sqlite:///{tmp_path}/tasks.db"
    store = open_store(url)
    await store.open()
    await filled(store, 1, artifact=50_000, history=20_000)
    key = KEY._replace(id="t-00")
    head = await store.head(key)
    assert head is not None
    whole = await store.load(key)
    assert whole is not None
    await store.close()

    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.execute("UPDATE a2a_task SET core = NULL, snapshot_seq = 3, snapshot_size = size")
        connection.execute("UPDATE a2a_record SET messages = NULL")
        connection.execute(
            "INSERT INTO a2a_snapshot (task, seq, state, turn, body) SELECT pk, seq, state, turn, ? FROM a2a_task",
            (whole.task,),
        )
    connection.close()
    store = open_store(url)
    await store.open()
    await append(store, status(4, turn=2), epoch=head.epoch, key=key)
    for view in (WHOLE, CORE, TaskView(False), TaskView(False, 1), TaskView(True, 1)):
        loaded = await store.load(key, view)
        (listed,) = (await store.list(KEY.scope, ListFilter(), None, 5, view=view)).tasks
        assert loaded == listed.snapshot
        task = Task.FromString(listed.snapshot.task)
        assert len(task.artifacts) == view.artifacts
        assert len(task.history) == (2 if view.history_length is None else view.history_length)
        assert task.status.state == WORKING
    await store.close()


# -- no step holds the event loop


@asynccontextmanager
async def counting_steps() -> AsyncIterator[list[int]]:
    """How often the event loop comes round meanwhile, as the one item of a list."""
    steps = [0]

    async def count() -> None:
        while True:
            steps[0] += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    yield steps
    counting.cancel()
    await asyncio.wait([counting])


async def test_a_list_of_many_tasks_in_memory_shares_the_event_loop() -> None:
    """The first list puts 20,000 tasks in order, in steps; later ones find them so."""
    store = MemoryStore()
    for place in range(20_000):
        key = KEY._replace(id=f"t-{place:05}")
        store.write(Create(key, born(key, at_us=place + 1, context_id=f"c-{place % 50}"), f"c-{place % 50}", ME))
    async with counting_steps() as steps:
        page = await store.list(KEY.scope, ListFilter(context_id="c-7"), None, 10)
        assert (page.total, page.tasks[0].position.id) == (400, "t-19957")
        assert steps[0] >= 20_000 / 400 - 1
        steps[0] = 0
        for where in (ListFilter(state=1), ListFilter("c-8", 1), ListFilter(since_us=10_000)):
            await store.list(KEY.scope, where, None, 10)
        assert steps[0] < 10


async def test_a_large_task_is_put_together_beside_the_event_loop(store: TaskStore) -> None:
    await filled(store, 1)
    key = KEY._replace(id="t-00")
    head = await store.head(key)
    assert head is not None
    for seq in range(4, 19):
        artifact = Artifact(artifact_id=str(seq), parts=[Part(raw=bytes(3 * MiB))])
        event = TaskArtifactUpdateEvent(task_id=key.id, context_id="c-1", artifact=artifact)
        record = Record(seq, StreamResponse(artifact_update=event).SerializeToString(), WORKING, 2)
        await append(store, record, epoch=head.epoch, key=key)
    async with counting_steps() as steps:
        snapshot = await store.load(key)
        assert steps[0] > 10
    assert snapshot is not None
    assert len(Task.FromString(snapshot.task).artifacts) == 16
