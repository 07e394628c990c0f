"""This client, with agents that run on the official SDK's gRPC server (sdk_server.py): its oldest release, the one of
development, the newest.

The SDK's server tells no seq, sends no Task before the events that answer a question, ends streams of readers that are
slow, and changed the errors it raises from release to release.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import grpc
import grpc.aio
import pytest
from a2a import types as official_types

from a2a_grpc import (
    Client,
    ClientManager,
    Message,
    Part,
    RemoteAgent,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
    connect,
    data_of,
    text_of,
)
from a2a_grpc.client import TaskNotCompletedError
from a2a_grpc.errors import (
    A2AError,
    InvalidRequestError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnavailableError,
    UnsupportedOperationError,
)
from a2a_grpc.lifecycle import Event, Fold, state_name
from a2a_grpc.parts import file_part, files_of, value
from a2a_grpc.wire import ROLE_USER, A2AServiceStub, TaskPushNotificationConfig
from tests.covers import covers
from tests.harness import V1, Program, event_state, eventually, scripted
from tests.interop.environments import Environment, python_of
from tests.interop.test_versions_of_dependencies import NEWEST
from tests.proxy import Proxy

pytestmark = pytest.mark.timeout(400)  # the first use of an environment installs it

OLDEST = Environment("sdk-1.0.0", ("a2a-sdk[grpc]==1.0.0", "protobuf==6.33.*", "aiohttp"))
"""The SDK's first release of the protocol's 1.0, with its status codes of that time. It needs protobuf 6."""

UNSUPPORTED = (UnsupportedOperationError, "UNSUPPORTED_OPERATION", grpc.StatusCode.FAILED_PRECONDITION)
UNSUPPORTED_ONCE = (UnsupportedOperationError, "UNSUPPORTED_OPERATION", grpc.StatusCode.UNIMPLEMENTED)
NO_PUSH = (
    PushNotificationNotSupportedError,
    "PUSH_NOTIFICATION_NOT_SUPPORTED",
    grpc.StatusCode.FAILED_PRECONDITION,
)
NO_PUSH_ONCE = (PushNotificationNotSupportedError, "PUSH_NOTIFICATION_NOT_SUPPORTED", grpc.StatusCode.UNIMPLEMENTED)
NOT_CANCELABLE = (TaskNotCancelableError, "TASK_NOT_CANCELABLE", grpc.StatusCode.FAILED_PRECONDITION)
NOT_FOUND = (TaskNotFoundError, "TASK_NOT_FOUND", grpc.StatusCode.NOT_FOUND)
INVALID = (InvalidRequestError, "INVALID_PARAMS", grpc.StatusCode.INVALID_ARGUMENT)

CHUNKS = 300


class Official(Program):
    """The SDK's server, run by an environment's interpreter."""

    def __init__(self, python: Path | str) -> None:
        super().__init__("tests/interop/sdk_server.py")
        self._command[0] = str(python)

    @property
    def bare(self) -> str:
        """The address of the agent without any capability."""
        return str(self.events[0]["bare"])

    async def open(self, gate: str) -> None:
        """Lets the step {"wait": gate} go on."""
        async with aiohttp.ClientSession() as http, http.post(f"{self.http}/open/{gate}") as response:
            assert response.status == 200


@dataclass(frozen=True, slots=True)
class Release:
    """A running server of one release of the SDK."""

    name: str
    server: Official

    @property
    def is_oldest(self) -> bool:
        return self.name == "oldest"


@pytest.fixture(
    scope="module",
    params=["pinned", *(pytest.param(name, marks=pytest.mark.long) for name in ("oldest", "newest"))],
)
async def release(request: pytest.FixtureRequest) -> AsyncIterator[Release]:
    """Every release of the SDK that this client is tested with."""
    interpreters = {
        "oldest": lambda: python_of(OLDEST),
        "pinned": lambda: Path(sys.executable),
        "newest": lambda: python_of(NEWEST),
    }
    async with Official(interpreters[request.param]()) as server:
        yield Release(request.param, server)


@pytest.fixture
def official(release: Release) -> Official:
    return release.server


@pytest.fixture
async def client(official: Official) -> AsyncIterator[Client]:
    async with connect(official.address) as opened:
        yield opened


@pytest.fixture
def gate() -> str:
    """A gate that nobody else waits at."""
    return f"gate-{uuid4()}"


@pytest.fixture(scope="module")
async def pinned() -> AsyncIterator[Official]:
    """The SDK of development."""
    async with Official(sys.executable) as server:
        yield server


def script(*steps: Any) -> Any:
    return {"script": list(steps)}


def is_task(reply: Task | Message) -> Task:
    assert isinstance(reply, Task)
    return reply


def state(task: Task) -> str:
    return state_name(task.status.state)


def shape(events: Iterable[Event]) -> list[str]:
    """Each event in a few words: kind, then state or text."""
    told = []
    for event in events:
        match event:
            case Task():
                told.append(f"task {state(event)}")
            case TaskStatusUpdateEvent():
                told.append(f"status {state_name(event.status.state)}")
            case TaskArtifactUpdateEvent():
                told.append(f"artifact {text_of(event.artifact)}".rstrip())
            case Message():
                told.append(f"message {text_of(event)}")
    return told


async def everything(events: Any) -> list[Event]:
    """All that a stream brings."""
    async with events:
        return [event async for event in events]


async def until_state(client: Client, task_id: str, name: str) -> None:
    async def check() -> None:
        assert state(await client.get(task_id)) == name

    await eventually(check, within_s=30)


# -- sending


@covers("SEND-2")
async def test_a_send_gives_the_completed_task_as_get_does(client: Client) -> None:
    task = is_task(await client.send(script({"status": "half way"}, {"chunks": {"count": 3}}, {"complete": "done"})))

    assert state(task) == "COMPLETED"
    assert text_of(task.status.message) == "done"
    assert text_of(task.artifacts[0]) == "0 1 2 "
    assert task == await client.get(task.id)


@covers("SEND-3")
async def test_start_returns_at_once_and_wait_gives_what_it_became(
    client: Client, official: Official, gate: str
) -> None:
    started = is_task(await client.start(script({"wait": gate}, {"complete": "late"})))
    assert state(started) == "SUBMITTED"

    followed = asyncio.create_task(client.wait(started.id))
    asked = asyncio.create_task(client.wait(started.id, poll_s=0.01))
    await official.open(gate)

    assert text_of((await followed).status.message) == "late"
    assert await followed == await asked == await client.get(started.id)


@covers("STRM-4")
async def test_a_stream_is_the_task_then_its_events_and_folds_to_what_get_says(client: Client) -> None:
    async with client.stream(script({"status": "half way"}, {"chunks": {"count": 2}}, {"complete": "done"})) as events:
        seen = [event async for event in events]

    assert shape(seen) == [
        "task SUBMITTED",
        "status WORKING",
        "artifact 0",
        "artifact 1",
        "status COMPLETED",
    ]
    assert events.seq is None
    assert events.task == await client.get(events.task_id)


@covers("SEND-2")
@pytest.mark.parametrize(
    ("step", "ended"),
    [
        ({"fail": "no luck"}, "FAILED"),
        ({"reject": "no luck"}, "REJECTED"),
        ({"auth": "no luck"}, "AUTH_REQUIRED"),
        ({"input": "no luck"}, "INPUT_REQUIRED"),
    ],
)
async def test_a_send_ends_with_every_settled_state(client: Client, step: Any, ended: str) -> None:
    task = is_task(await client.send(script({"status": "at it"}, step)))

    assert (state(task), text_of(task.status.message)) == (ended, "no luck")
    assert task == await client.get(task.id)


@covers("STRM-3")
async def test_a_bare_message_comes_as_it_is_from_send_start_and_stream(client: Client) -> None:
    for reply in (
        await client.send(script({"message": "Good morning"})),
        await client.start(script({"message": "Good morning"})),
        *await everything(client.stream(script({"message": "Good morning"}))),
    ):
        assert isinstance(reply, Message)
        assert text_of(reply) == "Good morning"


@covers("WIRE-11")
async def test_files_and_data_go_there_and_come_back(client: Client, tmp_path: Path) -> None:
    """The agent's artifact is what it was sent."""
    (tmp_path / "pixel.png").write_bytes(b"\x89PNG\x00\xff")
    sent = [
        Part(text="see these"),
        file_part(tmp_path / "pixel.png"),
        Part(url="https://files.example/a.pdf", media_type="application/pdf"),
        Part(data=value({"count": 3, "ratio": 0.5, "names": ["a", None, True]})),
    ]

    task = is_task(await client.send(sent))

    assert list(task.artifacts[0].parts) == sent
    assert [part.filename for part in files_of(task)] == ["pixel.png", ""]
    assert files_of(task)[0].raw == b"\x89PNG\x00\xff"
    assert data_of(task) == {"count": 3, "ratio": 0.5, "names": ["a", None, True]}


@covers("STRM-3")
async def test_an_agent_that_sends_no_task_first_is_understood(client: Client) -> None:
    """A stream should begin with the task; the SDK lets its agents begin with an artifact."""
    async with client.stream(script({"without_task": True}, {"chunks": {"count": 2}})) as events:
        seen = [event async for event in events]
    sent = is_task(await client.send(script({"without_task": True}, {"chunks": {"count": 2}})))

    assert shape(seen)[-3:] == ["artifact 0", "artifact 1", "status COMPLETED"]
    assert events.task == await client.get(events.task_id)
    assert (state(sent), text_of(sent)) == ("COMPLETED", "0 1 ")
    assert sent == await client.get(sent.id)


@covers("ERR-7")
async def test_a_send_to_an_agent_that_raises_gives_the_failed_task(pinned: Official) -> None:
    """Its stream ends UNKNOWN, with a text and no reason; asked for, the task is FAILED."""
    async with connect(pinned.address) as client:
        task = is_task(await client.send(script({"status": "at it"}, {"raise": "out of paper"})))

        assert state(task) == "FAILED"
        assert task == await client.get(task.id)


@covers("ERR-7")
async def test_whoever_waits_for_an_agent_that_raises_gets_the_failed_task(pinned: Official, gate: str) -> None:
    async with connect(pinned.address) as client:
        started = is_task(await client.start(script({"status": "at it"}, {"wait": gate}, {"raise": "out of paper"})))
        async with client.subscribe(started.id) as events:
            await anext(events)
            await pinned.open(gate)
            rest = [event async for event in events]

        assert shape(rest)[-1] == "status FAILED"
        assert events.task == await client.get(started.id)


# -- questions and answers


@covers("ST-3")
async def test_an_answer_goes_on_with_the_task(client: Client) -> None:
    """The events that follow an answer begin without a Task, and name another context than the task's."""
    asked = is_task(await client.send(script({"input": "Which date?"})))
    answered = is_task(await client.send("tomorrow", task_id=asked.id))

    assert (state(asked), text_of(asked.status.message)) == ("INPUT_REQUIRED", "Which date?")
    assert (state(answered), text_of(answered)) == ("COMPLETED", "tomorrow")
    assert (answered.id, answered.context_id) == (asked.id, asked.context_id)
    assert answered == await client.get(asked.id)


@covers("ST-3")
async def test_the_stream_of_an_answer_knows_its_task(client: Client) -> None:
    asked = is_task(await client.send(script({"input": "Which date?"})))
    async with client.stream("tomorrow", task_id=asked.id) as events:
        seen = [event async for event in events]

    assert shape(seen)[-2:] == ["artifact tomorrow", "status COMPLETED"]
    assert (events.task_id, events.is_settled) == (asked.id, True)
    assert events.task == await client.get(asked.id)


@covers("ST-3")
@pytest.mark.parametrize("steps", [({"input": "At what time?"},), ({"status": "hm"}, {"input": "At what time?"})])
async def test_an_answer_can_lead_to_the_next_question(client: Client, steps: Any) -> None:
    asked = is_task(await client.send(script({"input": "Which date?"})))
    again = is_task(await client.send(script(*steps), task_id=asked.id, context_id=asked.context_id))
    answered = is_task(await client.send("at noon", task_id=asked.id, context_id=asked.context_id))

    assert (again.id, state(again), text_of(again.status.message)) == (asked.id, "INPUT_REQUIRED", "At what time?")
    assert (answered.id, state(answered), text_of(answered)) == (asked.id, "COMPLETED", "at noon")
    questions = [text_of(message) for message in answered.history if message.role != ROLE_USER]
    assert [text for text in questions if text != "hm"] == ["Which date?", "At what time?"]


@covers("ST-3")
async def test_an_answer_that_is_started_can_be_waited_for(client: Client, official: Official, gate: str) -> None:
    asked = is_task(await client.send(script({"input": "Which date?"})))
    started = is_task(
        await client.start(
            script({"status": "booking"}, {"wait": gate}, {"complete": "booked"}),
            task_id=asked.id,
            context_id=asked.context_id,
        )
    )
    await until_state(client, asked.id, "WORKING")
    waiting = asyncio.create_task(client.wait(asked.id))
    await official.open(gate)

    assert started.id == asked.id
    assert text_of((await waiting).status.message) == "booked"


@covers("HIST-1")
async def test_a_send_and_a_get_give_as_much_history_as_was_asked_for(client: Client) -> None:
    steps = script({"status": "one"}, {"status": "two"}, {"complete": "three"})
    whole = is_task(await client.send(steps))
    short = is_task(await client.send(steps, history_length=1))

    assert [text_of(message) for message in whole.history[1:]] == ["one", "two"]
    assert [text_of(message) for message in short.history] == ["two"]
    assert [text_of(message) for message in (await client.get(whole.id, history_length=1)).history] == ["two"]


# -- tasks


@covers("SUB-5")
async def test_a_subscription_begins_with_the_task_and_lasts_until_its_end(
    client: Client, official: Official, gate: str
) -> None:
    started = is_task(await client.start(script({"status": "at it"}, {"wait": gate}, {"chunks": {"count": 2}})))
    await until_state(client, started.id, "WORKING")
    async with client.subscribe(started.id) as events:
        seen = [await anext(events)]
        await official.open(gate)
        seen += [event async for event in events]

    assert shape(seen) == ["task WORKING", "artifact 0", "artifact 1", "status COMPLETED"]
    assert events.task == await client.get(started.id)


@covers("SUB-3")
async def test_a_subscription_to_an_ended_task_gives_the_task(client: Client) -> None:
    """The SDK refuses it, up to 1.1 as INVALID_PARAMS, since then as UNSUPPORTED_OPERATION."""
    done = is_task(await client.send(script({"complete": "done"})))

    assert await everything(client.subscribe(done.id)) == [done]
    assert await client.wait(done.id) == done


async def test_a_subscription_after_a_seq_gets_a_snapshot_from_a_server_that_knows_none(
    client: Client, official: Official, gate: str
) -> None:
    started = is_task(await client.start(script({"status": "at it"}, {"wait": gate})))
    await until_state(client, started.id, "WORKING")
    async with client.subscribe(started.id, after=1) as events:
        seen = [await anext(events)]
        await official.open(gate)
        seen += [event async for event in events]

    assert shape(seen) == ["task WORKING", "status COMPLETED"]
    assert events.seq is None


@covers("EVT-4")
async def test_leaving_a_stream_leaves_the_task_at_work(client: Client, official: Official, gate: str) -> None:
    async with client.stream(script({"status": "at it"}, {"wait": gate}, {"complete": "done"})) as events:
        await anext(events)
    await official.open(gate)

    assert text_of((await client.wait(events.task_id)).status.message) == "done"


@covers("LIST-4")
async def test_a_list_gives_every_task_once_over_all_pages_newest_first(client: Client) -> None:
    context_id = f"c-{uuid4()}"
    made = [is_task(await client.send(script({"complete": "x"}), context_id=context_id)).id for _ in range(5)]
    waiting = is_task(await client.send(script({"input": "?"}), context_id=context_id)).id

    listed = [task.id async for task in client.list(context_id=context_id, page_size=2)]

    assert listed == [waiting, *reversed(made)]
    by_state = client.list(context_id=context_id, status=TaskState.TASK_STATE_INPUT_REQUIRED)
    assert [task.id async for task in by_state] == [waiting]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert [task.id async for task in client.list(context_id=context_id, since=tomorrow)] == []


@covers("LIST-7")
async def test_a_list_has_artifacts_and_history_as_asked(client: Client) -> None:
    context_id = f"c-{uuid4()}"
    done = is_task(await client.send("echo me", context_id=context_id))

    [plain] = [task async for task in client.list(context_id=context_id, history_length=0)]
    [whole] = [task async for task in client.list(context_id=context_id, include_artifacts=True)]

    assert (len(plain.artifacts), len(plain.history)) == (0, 0)
    assert whole == done


@covers("CANC-8")
async def test_a_cancel_gives_the_canceled_task_and_ends_who_follows_with_it(
    client: Client, official: Official, gate: str
) -> None:
    started = is_task(await client.start(script({"status": "at it"}, {"wait": gate})))
    await until_state(client, started.id, "WORKING")
    async with client.subscribe(started.id) as events:
        first = await anext(events)
        waiting = asyncio.create_task(client.wait(started.id))
        canceled = await client.cancel(started.id)
        rest = [event async for event in events]

    assert shape([first, *rest]) == ["task WORKING", "status CANCELED"]
    assert state(canceled) == "CANCELED"
    assert state(await waiting) == "CANCELED"
    assert events.task == await client.get(started.id)


# -- push notifications


async def test_push_configs_are_created_read_listed_and_deleted(client: Client) -> None:
    """1.0.0 adds an empty config with every message."""
    task = is_task(await client.send(script({"input": "?"})))
    config = TaskPushNotificationConfig(id="p-1", task_id=task.id, url="https://hooks.example/a", token="secret")

    created = await client.create_push_config(config)
    assert (created.id, created.task_id, created.url) == ("p-1", task.id, "https://hooks.example/a")
    assert await client.get_push_config(task.id, "p-1") == created

    await client.create_push_config(
        TaskPushNotificationConfig(id="p-2", task_id=task.id, url="https://hooks.example/b")
    )
    listed = [listed async for listed in client.list_push_configs(task.id)]
    assert [listed.url for listed in listed if listed.url] == ["https://hooks.example/a", "https://hooks.example/b"]

    await client.delete_push_config(task.id, "p-1")
    assert [listed.id async for listed in client.list_push_configs(task.id) if listed.url] == ["p-2"]
    with pytest.raises(TaskNotFoundError):
        await client.get_push_config(task.id, "p-1")


async def test_a_send_can_bring_a_push_config(client: Client) -> None:
    config = TaskPushNotificationConfig(id="p-1", url="https://hooks.example/a")
    task = is_task(await client.send(script({"input": "?"}), push_config=config))

    assert "https://hooks.example/a" in [listed.url async for listed in client.list_push_configs(task.id)]


# -- cards and tenants


@covers("CARD-2")
async def test_the_card_that_the_sdk_writes_leads_to_its_grpc(official: Official) -> None:
    """It holds the members of 0.3 as well."""
    async with connect(official.http) as client:
        card = await client.card()
        task = is_task(await client.send("hello"))

    assert card.name == "Official"
    assert [interface.url for interface in card.supported_interfaces] == [official.address]
    assert text_of(task) == "hello"


@covers("XCRD-4")
async def test_the_extended_card_is_the_callers(official: Official) -> None:
    async with connect(f"{official.http}/tenant/acme") as client:
        extended = await client.extended_card()

    assert (extended.name, extended.description) == ("Official, extended", "for tenant 'acme'")


@covers("SEL-2")
async def test_the_cards_tenant_goes_with_every_request(official: Official, release: Release, gate: str) -> None:
    """Tasks are a tenant's own here: what one made, another does not find."""
    context_id = f"c-{uuid4()}"
    async with (
        connect(f"{official.http}/tenant/acme") as acme,
        connect(official.address, tenant="acme") as by_setting,
        connect(official.address) as nobody,
    ):
        started = is_task(await acme.start(script({"status": "at it"}, {"wait": gate}), context_id=context_id))
        await until_state(acme, started.id, "WORKING")
        await acme.create_push_config(TaskPushNotificationConfig(id="p", task_id=started.id, url="https://h.example/"))

        for client in (acme, by_setting):
            assert (await client.get(started.id)).id == started.id
            assert [task.id async for task in client.list(context_id=context_id)] == [started.id]
            assert (await client.get_push_config(started.id, "p")).url == "https://h.example/"
            assert "p" in [config.id async for config in client.list_push_configs(started.id)]
            async with client.subscribe(started.id) as events:
                assert shape([await anext(events)]) == ["task WORKING"]
        assert [task.id async for task in nobody.list(context_id=context_id)] == []
        with pytest.raises(TaskNotFoundError):
            await nobody.get(started.id)
        if not release.is_oldest:  # it lets everybody follow and cancel a task that is at work
            with pytest.raises(TaskNotFoundError):
                await nobody.wait(started.id)
            with pytest.raises(TaskNotFoundError):
                await nobody.cancel(started.id)
        await acme.delete_push_config(started.id, "p")
        assert state(await acme.cancel(started.id)) == "CANCELED"
        asked = is_task(await acme.send(script({"input": "?"})))
        assert state(is_task(await acme.send("hello", task_id=asked.id))) == "COMPLETED"
        with pytest.raises(TaskNotFoundError):
            await nobody.send("hello", task_id=asked.id)


# -- an agent that does not stream


@covers("CARD-10")
@pytest.mark.parametrize("by_card", [True, False], ids=["by card", "by address"])
async def test_an_agent_that_does_not_stream_is_sent_to_and_waited_for_all_the_same(
    official: Official, gate: str, by_card: bool
) -> None:
    async with connect(f"{official.http}/bare" if by_card else official.bare) as client:
        sending = asyncio.create_task(client.send(script({"status": "at it"}, {"wait": gate}, {"complete": "done"})))
        started = is_task(await client.start(script({"wait": gate}, {"complete": "done"})))
        await official.open(gate)

        for task in (is_task(await sending), await client.wait(started.id)):
            assert (state(task), text_of(task.status.message)) == ("COMPLETED", "done")
        asked = is_task(await client.send(script({"input": "?"})))
        assert state(is_task(await client.send("yes", task_id=asked.id))) == "COMPLETED"
        assert isinstance(await client.send(script({"message": "hi"})), Message)
        *_, last = await everything(client.stream(script({"complete": "streamed"})))
        assert isinstance(last, Task | TaskStatusUpdateEvent)
        assert text_of(last.status.message) == "streamed"
        assert await RemoteAgent(client=client).run(script({"complete": "ran"})) == "ran"


# -- errors


async def failure(call: Any) -> tuple[type[A2AError], str, grpc.StatusCode]:
    with pytest.raises(A2AError) as raised:
        await (everything(call) if hasattr(call, "__aenter__") else call)
    assert raised.value.message
    return type(raised.value), raised.value.reason, raised.value.code


@covers("ERR-2")
async def test_the_reason_decides_the_error_whatever_the_status_code_is(
    client: Client, official: Official, release: Release, gate: str
) -> None:
    """Up to 1.0.2 three reasons came as UNIMPLEMENTED, up to 1.1 an ended task refused messages as INVALID_PARAMS."""
    unsupported, no_push = (UNSUPPORTED_ONCE, NO_PUSH_ONCE) if release.is_oldest else (UNSUPPORTED, NO_PUSH)
    done = is_task(await client.send(script({"complete": "done"})))
    stubborn = is_task(await client.start(script({"uncancelable": True}, {"status": "at it"}, {"wait": gate})))
    await until_state(client, stubborn.id, "WORKING")
    hook = TaskPushNotificationConfig(id="p", task_id="t-unknown", url="https://hooks.example/")

    for call in (
        client.get("t-unknown"),
        client.cancel("t-unknown"),
        client.wait("t-unknown"),
        client.wait("t-unknown", poll_s=1),
        client.subscribe("t-unknown"),
        client.send("x", task_id="t-unknown"),
        client.start("x", task_id="t-unknown"),
        client.stream("x", task_id="t-unknown"),
        client.create_push_config(hook),
        client.get_push_config("t-unknown", "p"),
        client.delete_push_config("t-unknown", "p"),
    ):
        assert await failure(call) == NOT_FOUND
    for call in (client.send("x", task_id=done.id), client.stream("x", task_id=done.id)):
        assert await failure(call) == (INVALID if release.is_oldest else UNSUPPORTED)
    assert await failure(client.cancel(done.id)) == NOT_CANCELABLE
    assert await failure(client.cancel(stubborn.id)) == (unsupported if release.is_oldest else NOT_CANCELABLE)
    assert await failure(anext(client.list(page_size=1000))) == INVALID
    async with connect(official.bare) as bare:
        assert await failure(bare.extended_card()) == unsupported
        assert await failure(bare.create_push_config(hook)) == no_push
        assert await failure(bare.get_push_config("t", "p")) == no_push
        assert await failure(anext(bare.list_push_configs("t"))) == no_push
        assert await failure(bare.delete_push_config("t", "p")) == no_push


@covers("ERR-5")
async def test_the_fields_that_the_sdk_refuses_are_named(client: Client) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await client.send(Message(message_id="m-1", role=ROLE_USER))

    assert [violation.field for violation in raised.value.violations] == ["message.parts"]
    assert raised.value.violations[0].description


# -- lost connections


@dataclass(slots=True)
class Line:
    """A client whose connections are cut at random points."""

    client: Client
    proxy: Proxy
    direct: Client


def cut_points(seed: int) -> list[int]:
    """Bytes after which the first connections are cut: somewhere in a stream of 300 chunks, or in what resumes it."""
    points = random.Random(seed)
    return [points.randrange(1, 40_000), points.randrange(1, 60_000), points.randrange(1, 80_000)]


STORY = script({"status": "at it"}, {"chunks": {"count": CHUNKS, "interval_s": 0.002}}, {"complete": "the end"})
TEXT = "".join(f"{i} " for i in range(CHUNKS))


async def told_by_send(line: Line) -> Task:
    return is_task(await line.client.send(STORY))


async def told_by_stream(line: Line) -> Task:
    """The events, folded by their reader."""
    async with line.client.stream(STORY) as events:
        first = await anext(events)
        assert isinstance(first, Task)
        known = Task()
        known.CopyFrom(first)
        fold = Fold(known)
        async for event in events:
            fold.apply(event)
    assert events.task is not None
    assert list(fold.task.artifacts) == list(events.task.artifacts)
    assert fold.task.status == events.task.status
    return events.task


async def told_by_wait(line: Line) -> Task:
    started = is_task(await line.direct.start(STORY))
    return await line.client.wait(started.id)


@pytest.mark.few
@pytest.mark.parametrize("told", [told_by_send, told_by_stream, told_by_wait], ids=lambda told: told.__name__[8:])
@pytest.mark.long
async def test_whatever_is_cut_the_final_task_is_the_one_that_get_gives(official: Official, told: Any) -> None:
    async def once(seed: int) -> int:
        async with (
            Proxy(official.address, cut_after=cut_points(seed)) as proxy,
            connect(proxy.address, retry_initial_s=0.01, retry_maximum_s=0.1) as client,
            connect(official.address) as direct,
        ):
            task = await told(Line(client, proxy, direct))
            assert state(task) == "COMPLETED"
            assert text_of(task.status.message) == "the end"
            assert text_of(task.artifacts[0]) == TEXT
            assert task == await direct.get(task.id)
            return proxy.cuts

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(once(seed)) for seed in range(10)]
    assert sum(run.result() for run in runs) >= 10


@covers("P2")
@pytest.mark.long
async def test_whoever_joins_midway_gets_the_final_task_that_get_gives(client: Client) -> None:
    """What is sent between the snapshot and the subscription, the SDK sends twice."""
    joined: list[asyncio.Task[Task]] = []
    async with client.stream(STORY) as events:
        async for event in events:
            if isinstance(event, TaskArtifactUpdateEvent) and len(joined) < 60:
                joined.append(asyncio.create_task(client.wait(events.task_id)))
    final = await client.get(events.task_id)

    assert text_of(final.artifacts[0]) == TEXT
    assert len(joined) == 60
    assert [text_of(task.artifacts[0]) for task in await asyncio.gather(*joined)] == [TEXT] * 60


async def test_an_answer_whose_stream_is_cut_is_not_sent_again_once_it_has_begun(
    official: Official, client: Client, gate: str
) -> None:
    asked = is_task(await client.send(script({"input": "Go on?"})))
    async with Proxy(official.address) as proxy, connect(proxy.address, retry_initial_s=0.01) as cut:
        answer = script({"status": "going on"}, {"wait": gate}, {"complete": "done"})
        async with cut.stream(answer, task_id=asked.id, context_id=asked.context_id) as events:
            assert shape([await anext(events)]) == ["status WORKING"]
            proxy.cut()
            reading = asyncio.create_task(anext(events))
            await eventually(lambda: check(proxy.connections == 2), within_s=30)
            await official.open(gate)
            await reading
            async for _ in events:
                pass

    answered = await client.get(asked.id)
    assert events.task == answered
    assert [message.role for message in answered.history].count(ROLE_USER) == 2
    assert text_of(answered.status.message) == "done"


async def test_a_task_that_ended_while_the_connection_was_down_is_read(
    official: Official, client: Client, gate: str
) -> None:
    """The SDK refuses a subscription then."""
    async with Proxy(official.address) as proxy, connect(proxy.address, retry_initial_s=0.01) as cut:
        async with cut.stream(script({"status": "at it"}, {"wait": gate}, {"chunks": {"count": 2}})) as events:
            seen = [await anext(events), await anext(events)]
            proxy.close()
            await official.open(gate)
            await until_state(client, events.task_id, "COMPLETED")
            await proxy.reopen()
            seen += [event async for event in events]

    assert shape(seen) == ["task SUBMITTED", "status WORKING", "artifact 0 1", "status COMPLETED"]
    assert events.task == await client.get(events.task_id)


async def test_a_send_whose_answer_is_lost_is_not_repeated_where_the_card_does_not_offer_it(
    official: Official, tmp_path: Path
) -> None:
    """The SDK's server would make a second task."""
    context_id = f"c-{uuid4()}"
    async with (
        Proxy(official.address, loses_answer=lambda number: number == 1) as proxy,
        connect(official.http) as direct,
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"{official.http}/.well-known/agent-card.json") as response:
            card = await response.json()
        card["supportedInterfaces"][0]["url"] = proxy.address
        (tmp_path / "card.json").write_text(json.dumps(card))

        async with connect(str(tmp_path / "card.json"), retry_initial_s=0.01) as client:
            with pytest.raises(UnavailableError):
                await client.send("hello", context_id=context_id)

        assert proxy.answers_lost == 1
        assert len([task async for task in direct.list(context_id=context_id)]) == 1


@covers("P1")
@pytest.mark.long
async def test_a_slow_reader_whose_stream_the_sdk_ends_in_working_gets_the_right_task(
    pinned: Official, gate: str
) -> None:
    """Beyond 1,024 events the SDK ends the stream OK, with whatever was the last event sent."""
    drafts, chunks = {"drafts": {"count": 8, "size": 1_000_000}}, {"chunks": {"count": 1500}}
    sent = script({"status": "at it"}, {"wait": gate}, drafts, chunks, {"complete": "done"})
    async with (
        Proxy(pinned.address) as proxy,
        connect(proxy.address, retry_initial_s=0.01) as slow,
        connect(pinned.address) as direct,
        grpc.aio.insecure_channel(proxy.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
        slow.stream(sent) as events,
    ):
        seen = [await anext(events), await anext(events)]
        call = A2AServiceStub(channel).SendStreamingMessage(scripted(*sent["script"]), metadata=V1)
        raw = [await call.read(), await call.read()]
        proxy.stall()
        await pinned.open(gate)
        for task_id in (events.task_id, raw[0].task.id):
            await direct.wait(task_id, poll_s=0.1)
        proxy.resume()

        while (element := await call.read()) is not grpc.aio.EOF:
            raw.append(element)
        assert await call.code() is grpc.StatusCode.OK
        assert TaskState.TASK_STATE_COMPLETED not in [event_state(element) for element in raw]

        seen += [event async for event in events]
        assert shape(seen)[-1] == "status COMPLETED"
        assert events.task == await direct.get(events.task_id)
        assert [len(artifact.parts) for artifact in events.task.artifacts] == [1, 1500]


# -- on top of the client


async def test_a_remote_agent_on_the_sdk_is_called_like_a_function(official: Official) -> None:
    async with RemoteAgent(official.http) as agent:
        assert agent.name == "Official"
        assert agent.describe()["name"] == "Official"
        assert await agent.run("hello") == "hello"
        assert await agent.run(script({"message": "hi"})) == "hi"
        assert [piece async for piece in agent.stream(script({"chunks": {"count": 3}}))] == ["0 ", "1 ", "2 "]
        with pytest.raises(TaskNotCompletedError, match="FAILED: no luck"):
            await agent.run(script({"fail": "no luck"}))


async def test_a_remote_agent_that_asks_gets_its_answer(official: Official) -> None:
    async with RemoteAgent(official.http) as agent:
        with pytest.raises(TaskNotCompletedError) as asked:
            await agent.run(script({"input": "Which date?"}))
        assert text_of(asked.value.task.status.message) == "Which date?"
        assert await agent.run("tomorrow", task_id=asked.value.task.id) == "tomorrow"


async def test_canceling_who_runs_a_remote_agent_cancels_its_task(
    official: Official, client: Client, gate: str
) -> None:
    context_id = f"c-{uuid4()}"
    async with RemoteAgent(official.http) as agent:
        running = asyncio.create_task(agent.run(script({"status": "at it"}, {"wait": gate}), context_id=context_id))

        async def at_work() -> None:
            assert [state(task) async for task in client.list(context_id=context_id)] == ["WORKING"]

        await eventually(at_work, within_s=30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    [task] = [task async for task in client.list(context_id=context_id)]
    assert state(task) == "CANCELED"


async def test_a_manager_discovers_agents_on_the_sdk(official: Official) -> None:
    async with ClientManager() as manager:
        found = await manager.discover([official.http, f"{official.http}/bare", f"{official.http}/nowhere"])
    assert [each.card.name if each.card else "" for each in found] == ["Official", "Official, bare", ""]


@covers("WIRE-13")
async def test_messages_of_the_sdk_are_the_ones_of_this_client(pinned: Official) -> None:
    """Both contracts have one set of classes, in either direction."""
    theirs = official_types.Message(
        message_id="m-theirs",
        role=official_types.Role.ROLE_USER,
        parts=[official_types.Part(text="made by the SDK")],
    )
    async with connect(pinned.address) as client:
        task = await client.send(theirs)
        echoed = await client.send([official_types.Part(text="a part of theirs")])

    assert isinstance(task, official_types.Task)
    assert task.history[0].message_id == "m-theirs"
    assert text_of(task) == "made by the SDK"
    assert isinstance(echoed, Task)
    assert text_of(echoed) == "a part of theirs"


def check(holds: bool) -> None:
    assert holds
