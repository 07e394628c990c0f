"""`idempotency-key`: the same caller, tenant, key and request leads to what the first call led to, and to nothing
else."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Message, Turn
from a2a_grpc.engine import EngineSettings
from a2a_grpc.engine.sweep import sweep
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING
from a2a_grpc.parts import struct
from a2a_grpc.store import Binding, MemoryStore, Scope
from a2a_grpc.wire import Role
from tests.covers import covers
from tests.guarantees.rig import (
    Asker,
    Workers,
    YieldingStore,
    engine_of,
    following,
    seq_of,
    serving_on,
    total_tasks,
    user_texts,
)
from tests.harness import (
    Served,
    elements,
    event_state,
    eventually,
    message,
    refusal,
    request,
    scripted,
    serving,
    texts,
)

pytestmark = [pytest.mark.usefixtures("any_way"), covers("SEND-12", "OPEN-3")]

KEY = ("idempotency-key", "k-1")
STORES = pytest.mark.parametrize("make_store", [MemoryStore, YieldingStore])


def routed(agent: Agent) -> Agent:
    """The agent with a router that takes its time, so that calls overlap before anything is stored."""

    @agent.router
    async def choose(sent: Message) -> str:
        for _ in range(3):
            await asyncio.sleep(0)
        return next(iter(agent.skills))

    agent.skill("other")(_other)
    return agent


async def _other(turn: Turn) -> None:
    """Does nothing."""


class Replier:
    """An agent that answers with a message, after as many failures as told."""

    def __init__(self, failures: int = 0) -> None:
        self.agent = Agent("Replier", "Answers with a message.")
        self.played = 0
        self._failures = failures
        self.agent.skill("reply", answers="message")(self._reply)

    async def _reply(self, turn: Turn) -> str:
        """Replies."""
        self.played += 1
        for _ in range(5):
            await asyncio.sleep(0)
        if self.played <= self._failures:
            raise RuntimeError("not this time")
        return f"reply {self.played} to {turn.text}"


async def test_a_repeated_send_gives_the_task_of_the_first(served: Served) -> None:
    sent = scripted({"artifact": {"text": "made once"}})
    first = (await served.send(sent, KEY)).task
    again = (await served.send(sent, KEY)).task
    assert again == first
    assert texts(first) == ["made once"]
    assert await total_tasks(served) == 1


@covers("P16")
async def test_without_a_key_the_same_message_id_makes_another_task(served: Served) -> None:
    first, again = (await served.send(request())).task, (await served.send(request())).task
    assert first.id != again.id
    assert await total_tasks(served) == 2


@STORES
async def test_sends_that_come_together_make_one_task_and_run_it_once(make_store: Callable[[], MemoryStore]) -> None:
    workers = Workers()
    async with serving_on(make_store(), routed(workers.agent)) as served, asyncio.timeout(60):
        sends = [asyncio.create_task(served.send(request(), KEY)) for _ in range(10)]
        streams = [served.stream(request(), KEY) for _ in range(10)]
        firsts = [await following(call) for call in streams]
        workers.go.set()
        answers = [(await one).task for one in sends]
        ends = [(await elements(call))[-1] for call in streams]
        assert len({task.id for task in answers} | {first.task.id for first in firsts}) == 1
        assert {event_state(end) for end in ends} == {COMPLETED}
        assert all(task == answers[0] for task in answers)
        assert workers.started == ["hello"]
        assert await total_tasks(served) == 1


@pytest.mark.parametrize("streamed_first", [True, False])
async def test_a_key_holds_across_unary_and_streaming_sends(streamed_first: bool) -> None:
    workers = Workers()
    async with serving(workers.agent) as served:
        if streamed_first:
            stream = served.stream(request(), KEY)
            task_id = (await elements(stream, 2))[0].task.id
            sending = asyncio.create_task(served.send(request(), KEY))
        else:
            sending = asyncio.create_task(served.send(request(), KEY))
            await eventually(lambda: _assert_equal(lambda: workers.at_work, 1))
            stream = served.stream(request(), KEY)
            first = await following(stream)
            task_id = first.task.id
            assert await seq_of(stream) == 2
            assert first.task.status.state == WORKING
        workers.go.set()
        task = (await sending).task
        assert (task.id, task.status.state) == (task_id, COMPLETED)
        assert event_state((await elements(stream))[-1]) == COMPLETED
        assert workers.started == ["hello"]


def _assert_equal(number: Callable[[], int], expected: int) -> None:
    assert number() == expected


async def test_a_repeated_stream_of_an_ended_task_gives_it_and_ends(served: Served) -> None:
    first = await elements(served.stream(request(), KEY))
    (only,) = await elements(served.stream(request(), KEY))
    assert only.task == await served.get(first[0].task.id)
    assert only.task.status.state == COMPLETED


async def test_a_call_that_was_cut_is_repeated_without_a_second_run() -> None:
    workers = Workers()
    async with serving(workers.agent) as served:
        for _ in range(3):
            call = served.stream(request(), KEY)
            await elements(call, 1)
            call.cancel()
        sending = asyncio.create_task(served.send(request(), KEY))
        workers.go.set()
        assert texts((await sending).task) == ["hello"]
        assert workers.started == ["hello"]


@pytest.mark.parametrize("script", [[{"input": "?"}], [{"input": "?"}, {"input": "again?"}]])
async def test_a_repeated_follow_up_is_one_turn(served: Served, script: list[dict[str, str]]) -> None:
    task = (await served.send(scripted(*script))).task
    follow_up = scripted({"input": "and now?"}, task_id=task.id)
    answers = [(await served.send(follow_up, KEY)).task for _ in range(3)]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].status.state == INPUT_REQUIRED
    assert len(user_texts(await served.get(task.id))) == 2


@STORES
async def test_follow_ups_that_come_together_are_one_turn(make_store: Callable[[], MemoryStore]) -> None:
    asker = Asker()
    asker.go["first"].set()
    asker.go["second"].set()
    async with serving_on(make_store(), routed(asker.agent)) as served, asyncio.timeout(60):
        task = (await served.send(request("first"))).task
        sent = request(message("second", task_id=task.id))
        answers = await asyncio.gather(*(served.send(sent, KEY) for _ in range(10)))
        assert asker.played == ["first", "second"]
        assert {answer.task.id for answer in answers} == {task.id}
        assert user_texts(await served.get(task.id)) == ["first", "second"]


@STORES
async def test_messages_to_a_working_task_that_come_together_are_queued_once(
    make_store: Callable[[], MemoryStore],
) -> None:
    asker = Asker()
    async with serving_on(make_store(), asker.agent) as served, asyncio.timeout(60):
        task = (await served.send(request("first", immediately=True))).task
        sent = request(message("second", task_id=task.id))
        sends = [asyncio.create_task(served.send(sent, KEY)) for _ in range(10)]
        await eventually(lambda: _assert_equal(lambda: len(served.server._running.calls._running[False]), 10))
        asker.go["first"].set()
        asker.go["second"].set()
        answers = await asyncio.gather(*sends)
        assert {answer.task.status.state for answer in answers} == {INPUT_REQUIRED}
        assert asker.played == ["first", "second"]
        assert user_texts(await served.get(task.id)) == ["first", "second"]


async def test_a_repeated_send_to_a_message_agent_gives_the_same_reply() -> None:
    replier = Replier()
    async with serving(replier.agent) as served:
        first = (await served.send(request(), KEY)).message
        again = (await served.send(request(), KEY)).message
        (streamed,) = await elements(served.stream(request(), KEY))
        assert first == again == streamed.message
        assert first.role == Role.ROLE_AGENT
        assert replier.played == 1


@STORES
async def test_sends_to_a_message_agent_that_come_together_are_answered_once(
    make_store: Callable[[], MemoryStore],
) -> None:
    replier = Replier()
    async with serving_on(make_store(), replier.agent) as served, asyncio.timeout(60):
        sends = asyncio.gather(*(served.send(request(), KEY) for _ in range(8)))
        streams = asyncio.gather(*(elements(served.stream(request(), KEY)) for _ in range(8)))
        replies = [answer.message for answer in await sends] + [element.message for (element,) in await streams]
        assert all(reply == replies[0] for reply in replies)
        assert replier.played == 1


async def test_a_reply_that_failed_is_tried_again() -> None:
    replier = Replier(failures=1)
    async with serving(replier.agent) as served:
        refused = await refusal(served.send(request(), KEY))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
        assert (await served.send(request(), KEY)).message.parts[0].text == "reply 2 to hello"
        assert (await served.send(request(), KEY)).message.parts[0].text == "reply 2 to hello"


async def test_a_send_that_was_refused_has_not_used_its_key() -> None:
    workers = Workers()
    async with serving(workers.agent, max_runs=1, max_queued_runs=0) as served:
        blocker = asyncio.create_task(served.send(request("blocker")))
        await eventually(lambda: _assert_equal(lambda: workers.at_work, 1))
        assert (await refusal(served.send(request(), KEY))).reason == "RESOURCE_EXHAUSTED"
        workers.go.set()
        await blocker
        assert (await served.send(request("another"), KEY)).task.status.state == COMPLETED


DIFFERENT: list[Any] = [
    request("another text"),
    request(immediately=True),
    request(message(message_id="m-2")),
    request(message(context_id="c-1")),
    request(history_length=0),
    scripted({"message": "hi"}),
]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("different", DIFFERENT)
async def test_the_same_key_with_a_different_request_is_refused(
    served: Served, different: Any, streaming: bool
) -> None:
    task = (await served.send(request(), KEY)).task
    refused = await refusal(served.stream(different, KEY) if streaming else served.send(different, KEY))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == ["idempotency-key"]
    assert await total_tasks(served) == 1
    assert (await served.send(request(), KEY)).task == task


async def test_the_key_of_a_follow_up_is_not_that_of_another_task(served: Served) -> None:
    tasks = [(await served.send(scripted({"input": "?"}))).task for _ in range(2)]
    await served.send(scripted({"input": "on?"}, task_id=tasks[0].id), KEY)
    refused = await refusal(served.send(scripted({"input": "on?"}, task_id=tasks[1].id), KEY))
    assert refused.fields == ["idempotency-key"]
    assert await served.get(tasks[1].id) == tasks[1]


async def test_the_order_of_metadata_keys_makes_no_different_request(served: Served) -> None:
    one, other = request(), request()
    items = {f"k{n}": n for n in range(20)}
    one.metadata.CopyFrom(struct(dict(items)))
    other.metadata.CopyFrom(struct(dict(reversed(items.items()))))
    assert (await served.send(one, KEY)).task == (await served.send(other, KEY)).task


@pytest.mark.direct
async def test_a_key_belongs_to_its_tenant(served: Served) -> None:
    tasks = {
        tenant: (await served.send(request(f"for {tenant}", tenant=tenant), KEY)).task for tenant in ("", "a", "b")
    }
    assert len({task.id for task in tasks.values()}) == 3
    for tenant, task in tasks.items():
        assert (await served.send(request(f"for {tenant}", tenant=tenant), KEY)).task == task
        assert await total_tasks(served, tenant) == 1


async def test_different_keys_make_different_tasks(served: Served) -> None:
    one = (await served.send(request(), ("idempotency-key", "a"))).task
    other = (await served.send(request(), ("idempotency-key", "b"))).task
    assert one.id != other.id


@pytest.mark.parametrize("key", ["", "x" * 257])
async def test_a_key_of_no_or_too_many_characters_is_refused(served: Served, key: str) -> None:
    refused = await refusal(served.send(request(), ("idempotency-key", key)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == ["idempotency-key"]
    assert await total_tasks(served) == 0


async def test_a_key_is_forgotten_after_its_retention_and_not_before(served: Served) -> None:
    store = engine_of(served).log.store
    first = (await served.send(request(), KEY)).task
    await sweep(store, EngineSettings())
    assert (await served.send(request(), KEY)).task.id == first.id
    await sweep(store, EngineSettings(idempotency_retention_s=0.0))
    again = (await served.send(request(), KEY)).task
    assert again.id != first.id
    assert (await served.get(first.id)).status.state == COMPLETED


async def test_a_sweep_forgets_all_keys_past_their_retention_however_many() -> None:
    store = MemoryStore()
    for number in range(1200):
        await store.bind(Scope("", ""), f"k-{number}", Binding(b"f", "t"))
    await sweep(store, EngineSettings(idempotency_retention_s=0.0))
    left = [number for number in range(1200) if await store.bound(Scope("", ""), f"k-{number}") is not None]
    assert left == []
