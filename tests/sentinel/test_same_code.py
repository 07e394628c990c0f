"""The same client and agent code in one process, over a direct connection, and through a sentinel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import pytest

from a2a_grpc import Client, Message, RemoteAgent, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, connect
from a2a_grpc.client import BlockingClient, progress_of
from a2a_grpc.errors import A2AError, TaskNotCancelableError, TaskNotFoundError
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED, TERMINAL, WORKING
from a2a_grpc.parts import file_part, text_of
from a2a_grpc.wire import (
    SERVICE,
    CancelTaskRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    SendMessageRequest,
    SubscribeToTaskRequest,
)
from tests.covers import covers
from tests.harness import ROOT, V1, Program, load_program, serving, texts
from tests.proxy import Proxy
from tests.sentinel.tunnels import channel_to, ended, stream, unary

pytestmark = covers("S0-37")

AGENTS = ("cancellable", "scripted", "translator")
HERE, DIRECT, SENTINEL = "in one process", "direct", "through a sentinel"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent is called: what a client gets as its target, with the address that it connects to."""

    connects_to: str
    address: str = ""
    """The logical address, at a sentinel."""

    def given(self, connects_to: str = "") -> tuple[str, dict[str, Any]]:
        """Return the target and the settings for `connect`. Another address to connect to is that of a proxy."""
        at = connects_to or self.connects_to
        return (self.address, {"sentinel": at}) if self.address else (at, {})


Places = dict[str, dict[str, Place]]
"""By way, then by agent."""


@pytest.fixture(scope="module")
async def programs() -> AsyncIterator[Places]:
    """A sentinel with three agents, each a process of its own, which serve their own ports as well."""
    async with AsyncExitStack() as stack:
        front = Program("servers/sentinel.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off")
        await stack.enter_async_context(front)
        found: Places = {DIRECT: {}, SENTINEL: {}}
        agents = [
            Program.server(f"servers/{name}.py", f"--attach={front.address}", f"--address={name}@fame.fabric")
            for name in AGENTS
        ]
        await asyncio.gather(*(stack.enter_async_context(agent) for agent in agents))
        for name, agent in zip(AGENTS, agents, strict=True):
            found[DIRECT][name] = Place(agent.address)
            found[SENTINEL][name] = Place(front.address, f"{name}@fame.fabric")
        yield found


Placed = Callable[[str], Place]


@pytest.fixture(params=[HERE, DIRECT, SENTINEL])
async def placed(request: pytest.FixtureRequest, programs: Places) -> AsyncIterator[Placed]:
    """A function that returns the place of an agent."""
    if request.param != HERE:
        yield programs[request.param].__getitem__
        return
    async with AsyncExitStack() as stack:
        here = {}
        for name in AGENTS:
            served = await stack.enter_async_context(serving(load_program(f"servers/{name}.py").agent))
            here[name] = Place(served.server.grpc_address)
        yield here.__getitem__


def client_of(place: Place, connects_to: str = "", **settings: Any) -> Client:
    target, there = place.given(connects_to)
    return connect(target, **there, **settings)


def task_of(reply: Task | Message) -> Task:
    assert isinstance(reply, Task)
    return reply


def script(*steps: Any) -> Any:
    return {"script": list(steps)}


@covers("S0-5", "S0-6", "S0-7", "S0-8", "S0-9", "S0-10", "S0-11")
async def test_a_task_is_started_followed_and_canceled_half_way(placed: Placed) -> None:
    """Two more calls while the stream of events is open."""
    seen: list[str | float] = []
    async with client_of(placed("cancellable")) as agent:
        started = task_of(await agent.start({"steps": 10, "step_seconds": 0.02}))
        assert started.status.state in (SUBMITTED, WORKING)
        async with agent.subscribe(started.id) as events:
            async for event in events:
                if isinstance(event, TaskStatusUpdateEvent):
                    seen.append(event.status.state)
                progress = progress_of(event)
                if progress is not None and progress not in seen:
                    seen.append(progress)
                    if progress == 0.5:
                        assert (await agent.get(started.id)).status.state == WORKING
                        canceled = await agent.cancel(started.id)
        assert canceled.status.state == CANCELED
        assert seen[-1] == CANCELED
        assert [one for one in seen if isinstance(one, float)][-1] >= 0.5
        stored = await agent.get(started.id)
    assert (stored.status.state, len(stored.artifacts)) == (CANCELED, 1)


async def test_a_stream_has_each_event_in_order_and_ends_with_the_task(placed: Placed) -> None:
    async with client_of(placed("scripted")) as agent:
        steps = ({"status": "half way"}, {"chunks": {"count": 200}}, {"complete": "all done"})
        async with agent.stream(script(*steps)) as events:
            kinds = [(type(event), events.seq) async for event in events]
            assert events.task is not None
            assert text_of(events.task.status.message) == "all done"
    assert [kind for kind, _ in kinds] == [
        Task, *[TaskStatusUpdateEvent] * 2, *[TaskArtifactUpdateEvent] * 200, TaskStatusUpdateEvent,
    ]  # fmt: skip
    assert [seq for _, seq in kinds] == list(range(1, 205))


async def test_a_question_is_answered_and_the_same_task_goes_on(placed: Placed) -> None:
    async with client_of(placed("translator")) as agent:
        asked = task_of(await agent.send("Translate 'hello'"))
        assert asked.status.state == INPUT_REQUIRED
        assert text_of(asked.status.message).startswith("Into which language?")
        answered = task_of(await agent.send("French", task_id=asked.id))
    assert (answered.id, answered.status.state, texts(answered)) == (asked.id, COMPLETED, ["Bonjour"])
    assert len(answered.history) == 3


async def test_a_stream_that_is_cut_goes_on_after_its_last_event(placed: Placed) -> None:
    place, cuts = placed("scripted"), (3_000, 9_000, 60_000)
    async with Proxy(place.connects_to, cut_after=cuts) as proxy:
        async with client_of(place, proxy.address, retry_initial_s=0.01, retry_maximum_s=0.1) as agent:
            pieces, seqs = list[str](), list[int]()
            async with agent.stream(script({"chunks": {"count": 1_000, "text": "{i} "}})) as events:
                async for event in events:
                    seqs.append(events.seq or 0)
                    if isinstance(event, TaskArtifactUpdateEvent):
                        pieces.append(text_of(event.artifact))
                state = events.state
        assert proxy.cuts == len(cuts)
    assert "".join(pieces).split() == [str(number) for number in range(1_000)]
    assert (seqs, state) == ([seqs[0] + number for number in range(len(seqs))], COMPLETED)


async def test_a_subscription_begins_after_a_seq(placed: Placed) -> None:
    async with client_of(placed("scripted")) as agent:
        task = task_of(await agent.send(script({"chunks": {"count": 20}})))
        async with agent.subscribe(task.id, after=10) as events:
            seqs = [events.seq async for _ in events]
    assert seqs == list(range(11, 24))


async def test_files_and_data_arrive_as_they_were_sent(placed: Placed) -> None:
    image = file_part(ROOT / "README.md")
    async with client_of(placed("scripted")) as agent:
        task = task_of(await agent.send(["Here:", image, b"\x00\xff" * 500_000, {"rows": [1, None, "ü"]}]))
    [echo] = task.artifacts
    assert list(echo.parts) == list(task.history[0].parts)
    assert (echo.parts[1].filename, echo.parts[1].raw) == ("README.md", (ROOT / "README.md").read_bytes())
    assert len(echo.parts[2].raw) == 1_000_000


@covers("S0-40")
async def test_tasks_are_read_and_listed_page_by_page(placed: Placed) -> None:
    async with client_of(placed("scripted")) as agent:
        first = task_of(await agent.send("task 0"))
        made = [first.id]
        for number in range(1, 5):
            made.append(task_of(await agent.send(f"task {number}", context_id=first.context_id)).id)
        listed = [task.id async for task in agent.list(context_id=first.context_id, page_size=2)]
        assert listed == made[::-1]
        assert (await agent.get(first.id)).status.state in TERMINAL
        with pytest.raises(TaskNotFoundError, match="'unknown'"):
            await agent.get("unknown")
        with pytest.raises(TaskNotFoundError):  # no stream that is silent
            async with agent.subscribe("unknown") as events:
                [event async for event in events]
        with pytest.raises(TaskNotCancelableError) as refused:
            await agent.cancel(first.id)
    assert first.id in refused.value.message


async def test_a_remote_agent_is_called_like_a_function(placed: Placed) -> None:
    target, settings = placed("scripted").given()
    async with RemoteAgent(target, **settings) as agent:
        assert await agent.run("hello") == "hello"
        assert [piece async for piece in agent.stream(script({"chunks": {"count": 3, "text": "{i};"}}))] == [
            "0;", "1;", "2;",
        ]  # fmt: skip
        with pytest.raises(A2AError, match="no such city"):
            await agent.run(script({"fail": "no such city"}))


async def test_the_blocking_client_sends_streams_cancels_and_lists(placed: Placed) -> None:
    target, settings = placed("scripted").given()

    def work() -> None:
        with BlockingClient(target, **settings) as agent:
            done = task_of(agent.send("hello"))
            assert texts(done) == ["hello"]
            begun = task_of(agent.start(script({"sleep": 600}), context_id=done.context_id))
            assert agent.cancel(begun.id).status.state == CANCELED
            with agent.stream(script({"chunks": {"count": 3, "text": "{i}"}})) as events:
                pieces = [text_of(event.artifact) for event in events if isinstance(event, TaskArtifactUpdateEvent)]
            assert pieces == ["0", "1", "2"]
            assert [task.id for task in agent.list(context_id=done.context_id)] == [begun.id, done.id]

    await asyncio.to_thread(work)


REFUSED: dict[str, Callable[..., Any]] = {
    "GetTask": partial(GetTaskRequest, id="nope"),
    "CancelTask": partial(CancelTaskRequest, id="nope"),
    "SubscribeToTask": partial(SubscribeToTaskRequest, id="nope"),
    "SendMessage": SendMessageRequest,
    "SendStreamingMessage": SendMessageRequest,
    "ListTasks": partial(ListTasksRequest, page_size=5000),
    "ListTaskPushNotificationConfigs": partial(ListTaskPushNotificationConfigsRequest, task_id="nope"),
}


async def test_each_refusal_through_a_sentinel_has_the_bytes_of_a_direct_call(programs: Places) -> None:
    """Status, text and details, also of requests that name no version, or one that is not known."""
    direct, at = programs[DIRECT]["scripted"], programs[SENTINEL]["scripted"]
    async with channel_to(at.connects_to) as through, channel_to(direct.connects_to) as straight:
        for method in SERVICE.methods:
            made: Callable[..., Any] = REFUSED.get(method.name, REFUSED["GetTask"])
            sent = made(tenant=at.address).SerializeToString()
            make = stream if method.server_streaming else unary
            for metadata in (V1, (), (("a2a-version", "9.9"),)):
                found, expected = [
                    await ended(make(channel, method.name)(sent, metadata=metadata)) for channel in (through, straight)
                ]
                assert found == expected, method.name
                assert found[1] is not grpc.StatusCode.OK
