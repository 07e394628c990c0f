"""The operations of a client, against a server of this project."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc import Agent, AuthRequired, Client, InputRequired, Message, Part, Task, Turn, connect, data_of, text_of
from a2a_grpc.client import Event, TaskStream
from a2a_grpc.errors import (
    ExtendedAgentCardNotConfiguredError,
    InvalidRequestError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
    VersionNotSupportedError,
)
from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    CANCELED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    REJECTED,
    SUBMITTED,
    TERMINAL,
    WORKING,
)
from a2a_grpc.parts import Contents, parts
from a2a_grpc.principal import Principal
from a2a_grpc.wire import (
    ROLE_USER,
    AgentCapabilities,
    AgentCard,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)
from tests.agent.agents import Gate, agent_of, said, stored_tasks
from tests.client.local_agents import (
    GUARD_S,
    Passage,
    Sleeper,
    Writer,
    client_of,
    descriptors,
    observer,
    script,
)
from tests.covers import covers
from tests.harness import Served, eventually, message, serving, texts
from tests.regressions.faults import open_streams, reaches

pytestmark = pytest.mark.usefixtures("any_way")

OLD = [("a2a-version", "0.2")]
"""Metadata for which this server refuses a call: shows that it went with the call."""


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    """A client of the scripted agent."""
    async with client_of(served) as connected:
        yield connected


def task_of(reply: Task | Message) -> Task:
    """The reply, which must be a task."""
    assert isinstance(reply, Task)
    return reply


async def events_of(source: TaskStream) -> list[Event]:
    async with source as events:
        return [event async for event in events]


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


# -- what is sent


CONTENTS: dict[str, Contents] = {
    "a text": "hello",
    "bytes": b"\x00\x01",
    "a dict": {"a": [1, None, "b"]},
    "a list of values": ["a", 1],
    "a part": Part(url="https://files.example/a.pdf", media_type="application/pdf"),
    "parts and values": [Part(text="look:"), b"\x89PNG", {"n": 1}],
}


@pytest.mark.parametrize("name", CONTENTS)
async def test_whatever_is_sent_arrives_as_its_parts(client: Client, name: str) -> None:
    task = task_of(await client.send(CONTENTS[name]))
    assert task.status.state == COMPLETED
    [echo] = task.artifacts
    assert list(echo.parts) == parts(CONTENTS[name])


async def test_a_message_goes_as_it_is_with_its_own_id_and_is_not_changed() -> None:
    sent = Message(message_id="mine", role=ROLE_USER, parts=[Part(text="hi")], reference_task_ids=["t-0"])
    before = sent.SerializeToString(deterministic=True)
    async with serving(observer()) as served, client_of(served) as client:
        task = task_of(await client.send(sent, context_id="c-1", reference_task_ids=["t-1"]))
        again = task_of(await client.start(sent))
        assert sent.SerializeToString(deterministic=True) == before
        assert task.history[0].message_id == again.history[0].message_id == "mine"
    told = data_of(task)
    assert isinstance(told, dict)
    assert (told["message_id"], told["context_id"], told["references"]) == ("mine", "c-1", ["t-0", "t-1"])


async def test_a_text_becomes_a_message_of_the_user_with_an_id_of_its_own_each_time(client: Client) -> None:
    first, second = [task_of(await client.send("hello")).history[0] for _ in range(2)]
    assert (first.role, text_of(first)) == (ROLE_USER, "hello")
    assert first.message_id
    assert first.message_id != second.message_id


async def test_the_options_of_a_send_reach_the_agent() -> None:
    async with serving(observer()) as served, client_of(served) as client:
        reply = await client.send(
            "hello",
            context_id="c-7",
            reference_task_ids=["t-1", "t-2"],
            metadata={"weight": 3, "tags": ["a"]},
            priority="low",
            accepted_output_modes=["application/json", "text/plain"],
        )
    told = data_of(task_of(reply))
    assert isinstance(told, dict)
    del told["message_id"]
    assert told == {
        "text": "hello",
        "context_id": "c-7",
        "references": ["t-1", "t-2"],
        "metadata": {"priority": "low", "weight": 3, "tags": ["a"]},
        "modes": ["application/json", "text/plain"],
    }


async def test_metadata_chooses_among_the_skills() -> None:
    async with serving(observer()) as served, client_of(served) as client:
        assert text_of(task_of(await client.send("hello", metadata={"skill": "shout"}))) == "HELLO"
        with pytest.raises(InvalidRequestError, match="'sing' is not a skill"):
            await client.send("hello", metadata={"skill": "sing"})


@covers("HIST-1")
@pytest.mark.parametrize(
    ("length", "expected"),
    [(None, ["hello", "one", "two", "three"]), (0, []), (1, ["three"]), (9, ["hello", "one", "two", "three"])],
)
async def test_the_task_that_a_send_gives_has_as_much_history_as_was_asked_for(
    length: int | None, expected: list[str]
) -> None:
    async def handler(turn: Turn) -> None:
        await turn.status("one")
        await turn.status("two")
        await turn.status("three")

    async with serving(agent_of(handler)) as served, client_of(served) as client:
        task = task_of(await (client.send("hello") if length is None else client.send("hello", history_length=length)))
        assert said(list(task.history)) == expected
        assert task == await client.get(task.id, history_length=length)


@covers("HIST-1")
@pytest.mark.parametrize("length", [0, 1, 2])
async def test_the_task_of_an_agent_that_does_not_stream_has_as_much_history_as_was_asked_for(length: int) -> None:
    agent = Agent("Worker", "Works.", streaming=False)

    @agent.skill()
    async def work(turn: Turn) -> str:
        await turn.status("one")
        return "done"

    async with serving(agent) as served, client_of(served) as client:
        task = task_of(await client.send("hello", history_length=length))
    assert task.status.state == COMPLETED
    assert said(list(task.history)) == ["hello", "one"][2 - length :]


async def same_task_by(operation: str, client: Client, key: str | None) -> str:
    options: Any = {} if key is None else {"idempotency_key": key}
    sent = message("the same")
    match operation:
        case "send":
            return task_of(await client.send(sent, **options)).id
        case "start":
            return task_of(await client.start(sent, **options)).id
    [first, *_] = await events_of(client.stream(sent, **options))
    assert isinstance(first, Task)
    return first.id


@pytest.mark.parametrize("operation", ["send", "start", "stream"])
async def test_the_same_idempotency_key_is_the_same_send(operation: str, served: Served, client: Client) -> None:
    ids = {await same_task_by(operation, client, "k-1") for _ in range(2)}
    assert (len(ids), await stored_tasks(served)) == (1, 1)


@covers("SEND-12")
@pytest.mark.parametrize("operation", ["send", "start", "stream"])
async def test_without_a_key_each_send_is_a_send_of_its_own(operation: str, served: Served, client: Client) -> None:
    ids = {await same_task_by(operation, client, None) for _ in range(2)}
    assert (len(ids), await stored_tasks(served)) == (2, 2)


async def left_task(client: Client, **options: Any) -> str:
    """The id of a task whose stream was left in the middle."""
    async with client.stream("sleep", **options) as events:
        async for event in events:
            if isinstance(event, TaskStatusUpdateEvent) and text_of(event.status.message) == "asleep":
                break
    return events.task_id


@pytest.mark.parametrize("deployment", [True, False])
async def test_cancel_on_disconnect_is_up_to_the_caller_whatever_the_server_does_by_default(deployment: bool) -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent, cancel_on_disconnect=deployment) as served, client_of(served) as client:
        kept = await left_task(client, cancel_on_disconnect=False)
        await eventually(lambda: _no_stream(served))
        dropped = await left_task(client, cancel_on_disconnect=True)
        await reaches(served, dropped, CANCELED)
        assert (await client.get(kept)).status.state == WORKING
        left = await left_task(client)
        if deployment:
            await reaches(served, left, CANCELED)
        else:
            await eventually(lambda: _no_stream(served))
            assert (await client.get(left)).status.state == WORKING


def _no_stream(served: Served) -> None:
    assert open_streams(served) == 0


WITH_HEADERS: dict[str, Callable[[Client, str], Awaitable[Any]]] = {
    "send": lambda client, _: client.send("hello", headers=OLD),
    "start": lambda client, _: client.start("hello", headers=OLD),
    "stream": lambda client, _: events_of(client.stream("hello", headers=OLD)),
    "subscribe": lambda client, task_id: events_of(client.subscribe(task_id, headers=OLD)),
    "get": lambda client, task_id: client.get(task_id, headers=OLD),
    "cancel": lambda client, task_id: client.cancel(task_id, headers=OLD),
}


@pytest.mark.parametrize("operation", WITH_HEADERS)
async def test_the_headers_of_a_call_go_with_it_and_with_no_other(client: Client, operation: str) -> None:
    task = task_of(await client.start(script({"sleep": 600})))
    with pytest.raises(VersionNotSupportedError, match=r"0\.2"):
        await WITH_HEADERS[operation](client, task.id)
    assert (await client.get(task.id)).status.state in (SUBMITTED, WORKING)


# -- a send waits until the task is settled


@covers("SEND-2")
@pytest.mark.parametrize(
    ("step", "state"),
    [
        ({"complete": "done"}, COMPLETED),
        ({"fail": "no luck"}, FAILED),
        ({"raise": "a bug"}, FAILED),
        ({"reject": "not this"}, REJECTED),
        ({"input": "which?"}, INPUT_REQUIRED),
        ({"auth": "sign in"}, AUTH_REQUIRED),
    ],
    ids=lambda shown: next(iter(shown)) if isinstance(shown, dict) else "",
)
async def test_whatever_state_a_task_settles_in_is_the_result_of_a_send_and_no_error(
    client: Client, step: dict[str, Any], state: TaskState
) -> None:
    task = task_of(await client.send(script({"status": "at work"}, step)))
    assert task.status.state == state
    assert task == await client.get(task.id)


async def test_a_task_that_somebody_cancels_is_the_result_of_the_send_that_waits_for_it() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served, client_of(served) as client:
        sending = asyncio.create_task(client.send("sleep"))
        await eventually(lambda: _has(sleeper.started))
        await client.cancel(sleeper.started[0])
        assert task_of(await sending).status.state == CANCELED


def _has(items: list[Any]) -> None:
    assert items


@covers("S1-13")
async def test_a_send_waits_for_a_job_that_takes_longer_than_the_timeout_of_a_call() -> None:
    asked = asyncio.Event()

    async def handler(turn: Turn) -> str:
        await asked.wait()
        return "done"

    async with asyncio.timeout(GUARD_S), serving(agent_of(handler)) as served:
        async with client_of(served, timeout_s=0.5) as client, client_of(served) as other:
            sending = asyncio.create_task(client.send("hello"))
            await asyncio.wait([sending], timeout=1.5)  # three times as long as a call may take
            assert not sending.done()
            assert [task.status.state async for task in other.list()] == [WORKING]
            asked.set()
            assert texts(task_of(await sending)) == ["done"]


async def test_canceling_who_waits_for_a_send_cancels_the_call_and_never_the_task() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served, client_of(served) as client:
        sending = asyncio.create_task(client.send("sleep"))
        await eventually(lambda: _has(sleeper.started))
        assert open_streams(served) == 1
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await eventually(lambda: _no_stream(served))
        assert (await client.get(sleeper.started[0])).status.state == WORKING
        assert sleeper.canceled == []


@covers("SEND-3", "S0-5")
async def test_start_returns_the_task_while_it_is_at_work() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        task = task_of(await client.start("a story"))
        assert task.status.state in (SUBMITTED, WORKING)
        await writer.gate.reached.wait()
        assert (await client.get(task.id)).status.state == WORKING
        writer.gate.opened.set()
        assert text_of(await client.wait(task.id)) == "Once upon a time"


@pytest.mark.parametrize("operation", ["send", "start"])
async def test_an_agent_that_answers_with_a_message_has_it_returned(client: Client, operation: str) -> None:
    sent = script({"message": "no task needed"})
    reply = await (client.send(sent) if operation == "send" else client.start(sent))
    assert isinstance(reply, Message)
    assert text_of(reply) == "no task needed"


@covers("STRM-3")
async def test_a_bare_message_is_the_only_event_of_its_stream(client: Client) -> None:
    async with client.stream(script({"message": "no task needed"})) as events:
        read = [event async for event in events]
        assert (events.task, events.task_id, events.is_settled) == (None, "", False)
    [only] = read
    assert isinstance(only, Message)
    assert text_of(only) == "no task needed"


# -- several turns


async def test_a_task_that_asks_goes_on_with_the_answer_in_the_turn_that_asked(client: Client) -> None:
    asked = task_of(await client.send(script({"input": "which?"}, {"complete": "thanks"})))
    assert (asked.status.state, text_of(asked.status.message)) == (INPUT_REQUIRED, "which?")
    done = task_of(await client.send("this one", task_id=asked.id))
    assert (done.id, done.status.state, text_of(done.status.message)) == (asked.id, COMPLETED, "thanks")
    assert done.context_id == asked.context_id
    history = [entry for entry in (await client.get(asked.id)).history if text_of(entry)]
    assert said(history) == ["which?", "this one"]


async def test_a_task_that_asked_and_ended_its_turn_goes_on_with_a_new_one(client: Client) -> None:
    asked = task_of(await client.send(script({"input": "which?"})))
    again = task_of(await client.send(script({"input": "and which then?"}), task_id=asked.id))
    assert (again.status.state, text_of(again.status.message)) == (INPUT_REQUIRED, "and which then?")
    done = task_of(await client.send("this one", task_id=asked.id))
    assert (done.id, done.status.state, texts(done)) == (asked.id, COMPLETED, ["this one"])


async def test_a_send_to_a_task_that_waits_for_authorisation_waits_for_its_own_effect() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> str:
        if turn.text == "begin":
            raise AuthRequired("sign in at https://a.example")
        await gate.passed()
        return "signed in"

    async with asyncio.timeout(GUARD_S), serving(agent_of(handler)) as served, client_of(served) as client:
        waiting = task_of(await client.send("begin"))
        assert waiting.status.state == AUTH_REQUIRED
        sending = asyncio.create_task(client.send("done", task_id=waiting.id))
        await gate.reached.wait()
        gate.opened.set()
        task = task_of(await sending)
    assert (task.id, task.status.state, texts(task)) == (waiting.id, COMPLETED, ["signed in"])


@covers("OPEN-15")
async def test_a_message_to_a_task_at_work_is_its_next_turn_and_its_send_waits_for_that() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> str:
        if turn.text == "one":
            await gate.passed()
            raise InputRequired("what else?")
        return turn.text

    async with asyncio.timeout(GUARD_S), serving(agent_of(handler)) as served, client_of(served) as client:
        first = asyncio.create_task(client.send("one"))
        await gate.reached.wait()
        [working] = [task async for task in client.list()]
        second = asyncio.create_task(client.send("two", task_id=working.id))
        await eventually(lambda: _streams(served, 2))
        assert not first.done()
        assert not second.done()
        gate.opened.set()
        assert task_of(await first).status.state == INPUT_REQUIRED
        done = task_of(await second)
    assert (done.id, done.status.state, texts(done)) == (working.id, COMPLETED, ["two"])


def _streams(served: Served, count: int) -> None:
    assert open_streams(served) == count


async def test_a_send_to_a_task_that_has_ended_is_refused_and_the_text_names_task_and_state(client: Client) -> None:
    task = task_of(await client.send("hello"))
    with pytest.raises(UnsupportedOperationError, match=f"{task.id}.*COMPLETED"):
        await client.send("more", task_id=task.id)


# -- streams


async def test_a_stream_gives_the_task_and_then_what_changes_and_knows_how_it_stands(client: Client) -> None:
    seen: list[tuple[type, TaskState, int | None, bool]] = []
    async with client.stream(script({"status": "going"}, {"chunks": {"count": 2}}, {"complete": "done"})) as events:
        assert (events.task, events.task_id, events.seq, events.is_settled) == (None, "", None, False)
        assert events.state == TaskState.TASK_STATE_UNSPECIFIED
        async for event in events:
            seen.append((type(event), events.state, events.seq, events.is_settled))
            assert events.task is not None
            assert events.task.id == events.task_id
    assert seen[0][0] is Task
    assert [seq for _, _, seq, _ in seen] == list(range(seen[0][2] or 0, (seen[0][2] or 0) + len(seen)))
    assert [settled for *_, settled in seen] == [False] * (len(seen) - 1) + [True]
    assert [(kind, state) for kind, state, _, _ in seen[-4:]] == [
        (TaskStatusUpdateEvent, WORKING),
        (TaskArtifactUpdateEvent, WORKING),
        (TaskArtifactUpdateEvent, WORKING),
        (TaskStatusUpdateEvent, COMPLETED),
    ]


@covers("S0-10", "S2-6")
async def test_a_call_beside_an_open_stream_uses_the_same_connection() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served:
        async with Passage(served.server.grpc_address) as passage, connect(passage.address) as client:
            async with client.stream("a story") as events:
                async for event in events:
                    if isinstance(event, TaskArtifactUpdateEvent) and not writer.gate.opened.is_set():
                        assert texts(await client.get(events.task_id)) == ["Once "]
                        async with client.subscribe(events.task_id) as second:
                            assert isinstance(await anext(aiter(second)), Task)
                        writer.gate.opened.set()
            assert events.state == COMPLETED
            assert (passage.taken, passage.open) == (1, 1)


@covers("S0-6")
async def test_a_subscription_begins_with_the_task_as_it_is() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        task = task_of(await client.start("a story"))
        await writer.gate.reached.wait()
        async with client.subscribe(task.id) as events:
            assert events.task_id == task.id
            first = await anext(aiter(events))
            assert isinstance(first, Task)
            assert (first.id, first.status.state, texts(first)) == (task.id, WORKING, ["Once "])
            writer.gate.opened.set()
            rest = [event async for event in events]
        assert kinds(rest) == [TaskArtifactUpdateEvent, TaskStatusUpdateEvent]
        assert events.task == await client.get(task.id)


@covers("S2-3")
async def test_several_subscribers_each_see_all_of_it() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        task = task_of(await client.start("a story"))
        await writer.gate.reached.wait()
        reading = [asyncio.create_task(events_of(client.subscribe(task.id))) for _ in range(5)]
        await eventually(lambda: _streams(served, 5))
        writer.gate.opened.set()
        first, *others = await asyncio.gather(*reading)
    assert kinds(first) == [Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent]
    assert all(other == first for other in others)


@covers("SUB-3", "SUB-9")
@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_a_subscription_to_a_task_that_has_ended_gives_the_task_and_ends(
    client: Client, state: TaskState
) -> None:
    step: dict[TaskState, dict[str, Any]] = {
        COMPLETED: {"complete": "x"},
        FAILED: {"fail": "x"},
        REJECTED: {"reject": "x"},
        CANCELED: {"sleep": 600},
    }
    task = task_of(await client.start(script({"chunks": {"count": 2}}, step[state])))
    if state == CANCELED:
        await client.cancel(task.id)
    ended = await client.wait(task.id)
    async with client.subscribe(task.id) as events:
        assert [event async for event in events] == [ended]
        assert (events.task, events.state, events.is_settled) == (ended, state, True)


@pytest.mark.parametrize("after", [0, 2])
async def test_a_subscription_after_a_seq_repeats_what_came_after_it(client: Client, after: int) -> None:
    task = task_of(await client.send(script({"status": "one"}, {"chunks": {"count": 3}}, {"complete": "done"})))
    async with client.subscribe(task.id, after=0) as events:
        everything = [event async for event in events]
        assert events.seq == len(everything)
        assert events.task == task
    assert kinds(everything)[:1] == [Task]
    async with client.subscribe(task.id, after=after) as events:
        seqs = [(event, events.seq) async for event in events]
    assert seqs == list(zip(everything[after:], range(after + 1, len(everything) + 1), strict=True))


async def test_a_subscription_after_a_seq_that_is_not_there_yet_is_refused(client: Client) -> None:
    task = task_of(await client.send("hello"))
    with pytest.raises(InvalidRequestError, match="99"):
        await events_of(client.subscribe(task.id, after=99))


UNKNOWN: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "get": lambda client: client.get("t-none"),
    "cancel": lambda client: client.cancel("t-none"),
    "send": lambda client: client.send("hello", task_id="t-none"),
    "start": lambda client: client.start("hello", task_id="t-none"),
    "stream": lambda client: events_of(client.stream("hello", task_id="t-none")),
    "subscribe": lambda client: events_of(client.subscribe("t-none")),
    "subscribe after": lambda client: events_of(client.subscribe("t-none", after=0)),
    "wait": lambda client: client.wait("t-none"),
    "wait by asking": lambda client: client.wait("t-none", poll_s=0.01),
}


@covers("S0-40")
@pytest.mark.parametrize("operation", UNKNOWN)
async def test_an_unknown_id_is_not_found_and_never_an_empty_stream(client: Client, operation: str) -> None:
    with pytest.raises(TaskNotFoundError, match="t-none") as error:
        await UNKNOWN[operation](client)
    assert type(error.value) is TaskNotFoundError


@covers("S2-39")
async def test_a_loop_may_be_left_at_completed(served: Served, client: Client) -> None:
    async with client.stream(script({"chunks": {"count": 2}})) as events:
        async for _ in events:
            if events.state == COMPLETED:
                break
    assert events.task == await client.get(events.task_id)
    await eventually(lambda: _no_stream(served))


@covers("Q10", "S2-39")
async def test_leaving_a_stream_cancels_its_rpc_at_once_and_the_task_goes_on() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        async with client.stream("a story") as events:
            async for event in events:
                if isinstance(event, TaskArtifactUpdateEvent):
                    break
        await eventually(lambda: _no_stream(served))
        assert [event async for event in events] == []
        writer.gate.opened.set()
        assert text_of(await client.wait(events.task_id)) == "Once upon a time"


async def test_a_read_that_is_canceled_loses_nothing() -> None:
    writer = Writer()
    async with asyncio.timeout(GUARD_S), serving(writer.agent) as served, client_of(served) as client:
        read: list[Event] = []
        async with client.stream("a story") as events:
            while not any(isinstance(event, TaskArtifactUpdateEvent) for event in read):
                read.append(await anext(aiter(events)))
            reading = asyncio.create_task(anext(aiter(events)))
            await asyncio.wait([reading], timeout=0.05)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            writer.gate.opened.set()
            read += [event async for event in events]
        told = [text_of(event.artifact) for event in read if isinstance(event, TaskArtifactUpdateEvent)]
        assert told == ["Once ", "upon a time"]
        assert events.task == await client.get(events.task_id)


IDS = st.sampled_from(["a", "b"])
TEXTS = st.text("xyz ", max_size=4)
STEPS = st.lists(
    TEXTS.map(lambda text: {"status": text})
    | st.sampled_from([{"sleep": 0}, {"sleep": 0.001}])
    | st.builds(lambda id, count: {"chunks": {"id": id, "count": count}}, IDS, st.integers(1, 9))
    | st.builds(
        lambda id, text, append: {"artifact": {"id": id, "text": text, "append": append, "name": f"n{len(text)}"}},
        IDS,
        TEXTS,
        st.booleans(),
    ),
    max_size=6,
)
ENDS = st.sampled_from([{"complete": "x"}, {"fail": "x"}, {"reject": "x"}, {"raise": "x"}, {"input": "x"}])


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, end=ENDS)
async def test_the_task_that_a_stream_folds_is_the_one_that_the_server_has(
    client: Client, steps: list[Any], end: dict[str, str]
) -> None:
    async with client.stream(script(*steps, end)) as events:
        async for event in events:
            if not isinstance(event, Task):
                assert isinstance(event, (TaskStatusUpdateEvent, TaskArtifactUpdateEvent))
                assert event.task_id == events.task_id
        assert events.is_settled
    stored = await client.get(events.task_id)
    assert events.task == stored
    assert events.state == stored.status.state


# -- cancel


async def test_cancel_stops_the_agent_and_gives_the_canceled_task() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served, client_of(served) as client:
        task = task_of(await client.start("sleep"))
        await eventually(lambda: _has(sleeper.started))
        canceled = await client.cancel(task.id, metadata={"why": "changed my mind"})
        assert (canceled.id, canceled.status.state) == (task.id, CANCELED)
        assert sleeper.canceled == [task.id]
        assert sleeper.cancel_metadata == [{"why": "changed my mind"}]
        assert await client.cancel(task.id) == canceled == await client.get(task.id)


@covers("CANC-3")
async def test_a_completed_task_cannot_be_canceled(client: Client) -> None:
    task = task_of(await client.send("hello"))
    with pytest.raises(TaskNotCancelableError, match=task.id):
        await client.cancel(task.id)
    assert await client.get(task.id) == task


# -- get


@covers("HIST-3")
@pytest.mark.parametrize(("length", "expected"), [(None, ["q", "go"]), (0, []), (1, ["go"]), (5, ["q", "go"])])
async def test_get_gives_as_much_history_as_was_asked_for(
    client: Client, length: int | None, expected: list[str]
) -> None:
    task = task_of(await client.send(script({"input": "q"}, {"complete": "done"})))
    await client.send("go", task_id=task.id)
    history = (await client.get(task.id, history_length=length)).history
    assert [text_of(entry) for entry in history if text_of(entry)] == expected


# -- cards


async def test_the_card_of_an_address_is_refused_and_the_text_says_what_has_one(served: Served, client: Client) -> None:
    with pytest.raises(UnsupportedOperationError, match=r"is an address.*http"):
        await client.card()


async def test_the_card_is_the_one_that_is_published() -> None:
    async with serving(observer(), http_listen="127.0.0.1:0") as served:
        assert served.server.http_url
        async with connect(served.server.http_url) as client:
            card = await client.card()
            assert text_of(task_of(await client.send("hello", metadata={"skill": "shout"}))) == "HELLO"
    assert (card.name, [skill.id for skill in card.skills]) == ("Observer", ["observe", "shout"])


@pytest.mark.direct
async def test_the_extended_card_is_the_one_that_the_agent_shows_to_this_caller() -> None:
    agent = observer()

    @agent.extended_card
    async def extended(card: AgentCard, principal: Principal) -> AgentCard:
        card.description = f"More, for {principal.tenant}."
        return card

    async with serving(agent) as served, client_of(served, tenant="acme") as client:
        card = await client.extended_card()
    assert (card.name, card.description) == ("Observer", "More, for acme.")


async def test_an_agent_without_an_extended_card_says_so(client: Client) -> None:
    with pytest.raises(UnsupportedOperationError, match="extended card"):
        await client.extended_card()


async def test_an_agent_that_promises_an_extended_card_and_has_none_says_that() -> None:
    agent = observer(card=AgentCard(capabilities=AgentCapabilities(extended_agent_card=True)))
    async with serving(agent) as served, client_of(served) as client:
        with pytest.raises(ExtendedAgentCardNotConfiguredError):
            await client.extended_card()


# -- the end


def _code_file(task: asyncio.Task[Any]) -> str:
    """Where the coroutine of an asyncio task is written."""
    return str(getattr(getattr(task.get_coro(), "cr_code", None), "co_filename", ""))


@covers("S0-22")
async def test_closing_a_client_leaves_no_task_and_no_descriptor() -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served:

        async def used() -> None:
            """Opens a client, uses it in every way and closes it while streams are under way."""
            client = client_of(served)
            async with client:
                task = task_of(await client.start("sleep"))
                streams = [client.stream("sleep"), client.subscribe(task.id)]
                for stream in streams:
                    assert isinstance(await anext(aiter(stream)), Task)
                assert [listed async for listed in client.list()]
                await client.get(task.id)

        await used()  # gRPC keeps a few descriptors for good from the first channel on
        await eventually(lambda: _no_stream(served))
        tasks, before = asyncio.all_tasks(), descriptors()
        for _ in range(5):
            await used()

        def nothing_left() -> None:
            assert open_streams(served) == 0
            assert descriptors() <= before
            assert [name for name in map(_code_file, asyncio.all_tasks() - tasks) if "a2a_grpc/client" in name] == []

        await eventually(nothing_left)


async def test_a_client_connects_at_its_first_call_and_closes_its_connection_with_its_block(served: Served) -> None:
    async with asyncio.timeout(GUARD_S), Passage(served.server.grpc_address) as passage:
        async with connect(passage.address) as client:
            await client.send("hello")
            await client.send("hello")
            assert (passage.taken, passage.open) == (1, 1)

        def closed() -> None:
            assert (passage.taken, passage.open) == (1, 0)

        await eventually(closed)


async def test_the_channel_is_there_for_other_stubs_while_the_client_is_open(served: Served) -> None:
    client = client_of(served)
    with pytest.raises(RuntimeError, match="async with"):
        _ = client.channel
    async with client:
        reply = await HealthStub(client.channel).Check(HealthCheckRequest())
        assert reply.status == HealthCheckResponse.SERVING


async def test_a_value_that_json_does_not_have_is_refused_before_anything_is_sent(
    served: Served, client: Client
) -> None:
    with pytest.raises((TypeError, ValueError), match="JSON"):
        await client.send({"n": float("nan")})
    assert await stored_tasks(served) == 0
