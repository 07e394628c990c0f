"""Guarantee 11: nothing is unbounded. Over a limit: a clear error, nothing lost that was accepted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.parts import struct, text_of, value
from a2a_grpc.store import MemoryStore
from a2a_grpc.wire import Artifact, Message, Part, SendMessageRequest, Task
from tests.covers import covers
from tests.guarantees.rig import Asker, Workers, engine_of, following, records_of, serving_on, total_tasks, user_texts
from tests.harness import (
    Refusal,
    Served,
    elements,
    event_state,
    eventually,
    message,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
    texts,
)

pytestmark = covers("G11")


def assert_exhausted(refused: Refusal, text: str = "") -> None:
    """RESOURCE_EXHAUSTED, with a time after which to try again."""
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 0
    assert text in refused.text


def said_at_end(task: Task) -> str:
    return text_of(task.status.message)


# -- what an agent makes


@pytest.mark.parametrize(
    ("settings", "script", "kept", "said"),
    [
        ({"max_event_bytes": 1024}, [{"artifact": {"text": "small"}}, {"artifact": {"text": "x" * 2000}}],
         ["small"], "over the limit of 1024 bytes"),
        ({"max_event_bytes": 1024}, [{"artifact": {"text": "small"}}, {"status": "x" * 2000}],
         ["small"], "over the limit of 1024 bytes"),
        ({"max_event_bytes": 1024}, [{"artifact": {"text": "small"}}, {"input": "x" * 2000}],
         ["small"], "over the limit of 1024 bytes"),
        ({"max_task_bytes": 4000}, [{"chunks": {"count": 9, "text": "x" * 900}}], ["x" * 1800], "limit of 4000 bytes"),
        ({"max_task_records": 4}, [{"artifact": {"text": str(i)}} for i in range(5)], ["0", "1"], "limit of 4 events"),
        ({"max_artifacts": 3}, [{"artifact": {"text": str(i)}} for i in range(5)], ["0", "1", "2"],
         "limit of 3 artifacts"),
    ],
)  # fmt: skip
async def test_an_agent_over_a_limit_fails_with_the_limit_and_what_it_made_before_stays(
    settings: dict[str, int], script: list[Any], kept: list[str], said: str
) -> None:
    async with serving(scripted_agent(), **settings) as served:
        call = served.stream(scripted(*script))
        read = await elements(call)
        assert event_state(read[-1]) == FAILED
        assert await call.code() is grpc.StatusCode.OK
        task = await served.get(read[0].task.id)
        assert task.status.state == FAILED
        assert said in said_at_end(task)
        assert texts(task) == kept


async def test_what_is_exactly_at_its_limit_passes() -> None:
    async with serving(scripted_agent(), max_task_records=6, max_artifacts=2) as served:
        script = [{"artifact": {"id": "a", "text": "1"}}, {"artifact": {"id": "b", "text": "2"}},
                  {"artifact": {"id": "b", "text": "3", "append": True}}]  # fmt: skip
        task = (await served.send(scripted(*script))).task
        assert task.status.state == COMPLETED
        assert texts(task) == ["1", "23"]
        assert len(await records_of(engine_of(served).log, task.id)) == 6


async def test_an_outcome_over_a_limit_fails_the_task_with_the_limit() -> None:
    agent = Agent("Verbose", "Says too much.")

    @agent.skill()
    async def tell(turn: Turn) -> Artifact:
        """Tells."""
        return Artifact(artifact_id="a", parts=[Part(text="x" * 5000)])

    async with serving(agent, max_event_bytes=1024) as served:
        task = (await served.send(request())).task
        assert task.status.state == FAILED
        assert "limit of 1024 bytes" in said_at_end(task)
        assert not task.artifacts


# -- what users send to a task


@pytest.mark.parametrize("asks", [True, False])
async def test_a_follow_up_to_a_task_at_its_limit_is_refused_with_the_limit(asks: bool) -> None:
    """Whether the run waits in `ask` or has ended in INPUT_REQUIRED."""
    script = [{"input": "more?"}, {"complete": "x"}] if asks else [{"input": "more?"}]
    async with serving(scripted_agent(), max_task_records=3) as served:
        task = (await served.send(scripted(*script))).task
        assert task.status.state == INPUT_REQUIRED
        refused = await refusal(served.send(request(message("one too many", task_id=task.id))))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert "3 events" in refused.text
        assert await served.get(task.id) == task


async def test_the_messages_of_a_task_count_as_its_size() -> None:
    async with serving(scripted_agent(), max_task_bytes=50_000) as served:
        task = (await served.send(scripted({"input": "more?"}))).task
        sent = scripted({"input": "more?"}, task_id=task.id)
        sent.message.parts.append(Part(text="x" * 10_000))
        accepted = 0
        for _ in range(10):
            call = served.stub.SendMessage(sent, metadata=(("a2a-version", "1.0"),))
            if await call.code() is not grpc.StatusCode.OK or (await call).task.status.state != INPUT_REQUIRED:
                break
            accepted += 1
        assert 1 <= accepted < 5


async def test_messages_beyond_a_tasks_queue_are_refused_and_the_queued_ones_played() -> None:
    asker = Asker()
    async with serving(asker.agent, max_queued_turns=2) as served:
        task_id = (await served.send(request("first", immediately=True))).task.id
        await eventually(lambda: _assert_queued(served, 0))
        queued = []
        for text in ("second", "third"):
            queued.append(asyncio.create_task(served.send(request(message(text, task_id=task_id)))))
            await eventually(lambda: _assert_queued(served, len(queued)))
        assert_exhausted(await refusal(served.send(request(message("fourth", task_id=task_id)))), "2 messages waiting")
        for text in ("first", "second", "third"):
            asker.go[text].set()
        await asyncio.gather(*queued)
        task = await served.get(task_id)
        assert task.status.state == INPUT_REQUIRED
        assert asker.played == user_texts(task) == ["first", "second", "third"]


def _assert_queued(served: Served, count: int) -> None:
    stats = served.server.stats()
    assert (len(stats.tasks), stats.queued) == (1, count)


# -- how much at a time


async def test_unary_calls_over_their_number_are_refused_and_the_others_served() -> None:
    workers = Workers()
    async with serving(workers.agent, max_calls=2) as served:
        held = [asyncio.create_task(served.send(request(text))) for text in ("a", "b")]
        await eventually(lambda: _assert_at_work(workers, 2))
        assert_exhausted(await refusal(served.get("any")), "2 calls")
        stream = served.stream(request("c"))
        await following(stream)
        workers.go.set()
        assert [(await one).task.status.state for one in held] == [COMPLETED] * 2
        assert event_state((await elements(stream))[-1]) == COMPLETED
        assert await total_tasks(served) == 3


def _assert_at_work(workers: Workers, count: int) -> None:
    assert workers.at_work == count


async def test_streams_over_their_number_are_refused_and_the_others_served() -> None:
    workers = Workers()
    async with serving(workers.agent, max_streams=2) as served:
        held = [served.stream(request("a"))]
        task_id = (await following(held[0])).task.id
        held.append(served.subscribe(task_id))
        await following(held[1])
        assert_exhausted(await refusal(served.stream(request("b"))), "2 streams")
        assert_exhausted(await refusal(served.subscribe(task_id)), "2 streams")
        assert await total_tasks(served) == 1
        workers.go.set()
        assert [event_state((await elements(call))[-1]) for call in held] == [COMPLETED] * 2
        assert event_state((await elements(served.stream(request("b"))))[-1]) == COMPLETED


async def test_the_bytes_of_requests_in_flight_are_bounded() -> None:
    workers = Workers()
    async with serving(workers.agent, max_bytes_in_flight=4096, max_receive_bytes=4096) as served:
        held = asyncio.create_task(served.send(request("a" * 3000)))
        await eventually(lambda: _assert_at_work(workers, 1))
        assert_exhausted(await refusal(served.send(request("b" * 3000))), "requests being served")
        assert_exhausted(await refusal(served.stream(request("b" * 3000))), "requests being served")
        assert await total_tasks(served) == 1
        workers.go.set()
        assert texts((await held).task) == ["a" * 3000]
        assert texts((await served.send(request("b" * 3000))).task) == ["b" * 3000]


async def test_threads_are_bounded_and_what_waits_for_one_is_done() -> None:
    agent = Agent("Threaded", "Works in threads.")
    at_work, peak, go = 0, 0, asyncio.Event()
    loop = asyncio.get_running_loop()

    def count(change: int) -> None:
        nonlocal at_work, peak
        at_work += change
        peak = max(peak, at_work)

    async def wait_for_go() -> None:
        await go.wait()

    def block() -> None:
        loop.call_soon_threadsafe(count, 1)
        asyncio.run_coroutine_threadsafe(wait_for_go(), loop).result()
        loop.call_soon_threadsafe(count, -1)

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Works."""
        await turn.in_thread(block)
        return turn.text

    async with serving(agent, max_threads=2) as served, asyncio.timeout(60):
        sends = [asyncio.create_task(served.send(request(str(n)))) for n in range(6)]
        await eventually(lambda: _assert_equal(lambda: at_work, 2))
        go.set()
        assert [texts((await one).task) for one in sends] == [[str(n)] for n in range(6)]
        assert peak == 2


def _assert_equal(number: Callable[[], int], expected: int) -> None:
    assert number() == expected


# -- how much is kept


@pytest.mark.parametrize("limits", [{"max_tasks": 2}, {"max_bytes": 800}])
async def test_a_full_store_refuses_new_tasks_and_keeps_those_it_has(limits: dict[str, Any]) -> None:
    async with serving_on(MemoryStore(**limits), scripted_agent()) as served:
        kept = [await served.start({"input": "?"}) for _ in range(2)]
        assert_exhausted(await refusal(served.send(request("no room"))), "limited to")
        assert await total_tasks(served) == 2
        for task in kept:
            assert (await served.send(scripted({"complete": "x"}, task_id=task.id))).task.status.state == COMPLETED
        assert (await served.send(request("room again"))).task.status.state == COMPLETED


# -- how large a request may be

LIMITS: dict[str, int] = {
    "max_id_chars": 16, "max_parts": 3, "max_part_metadata_keys": 4, "max_metadata_bytes": 100,
    "max_metadata_keys": 3, "max_data_values": 5, "max_references": 2,
}  # fmt: skip


def with_message(change: Callable[[Message], Any]) -> Callable[[], SendMessageRequest]:
    def make() -> SendMessageRequest:
        sent = request()
        change(sent.message)
        return sent

    return make


def with_parts(count: int, **metadata: Any) -> Callable[[Message], Any]:
    parts = [Part(text="x", metadata=struct(metadata)) for _ in range(count)]
    return lambda sent: sent.parts.extend(parts)


def with_data(*items: Any) -> Callable[[Message], Any]:
    return lambda sent: sent.parts.extend(Part(data=value(item)) for item in items)


def keys(count: int) -> dict[str, Any]:
    return {f"k{n}": n for n in range(count)}


REFUSED: list[tuple[Callable[[], SendMessageRequest], str, str]] = [
    (with_message(lambda sent: setattr(sent, "message_id", "x" * 17)), "message.message_id", "17"),
    (with_message(lambda sent: setattr(sent, "context_id", "x" * 17)), "message.context_id", "17"),
    (with_message(lambda sent: setattr(sent, "task_id", "x" * 17)), "message.task_id", "17"),
    (lambda: request(tenant="x" * 17), "tenant", "17"),
    (with_message(with_parts(3)), "message.parts", "4 parts; the limit is 3"),
    (with_message(with_parts(2, **keys(3))), "message.parts[2].metadata", "more than 4"),
    (with_message(lambda sent: sent.metadata.update({"a": "x" * 100})), "message.metadata", "limit is 100"),
    (with_message(lambda sent: sent.metadata.update(keys(4))), "message.metadata", "more than 3"),
    (with_message(lambda sent: sent.metadata.update({"a": keys(3)})), "message.metadata", "more than 3"),
    (with_message(with_data(list(range(6)))), "message.parts[1].data", "more than 5"),
    (with_message(with_data(keys(3), keys(3))), "message.parts[2].data", "more than 5"),
    (with_message(lambda sent: sent.reference_task_ids.extend("abc")), "message.reference_task_ids", "limit is 2"),
    (with_message(lambda sent: sent.reference_task_ids.append("x" * 17)), "message.reference_task_ids[0]", "17"),
    (with_message(lambda sent: sent.extensions.extend("abc")), "message.extensions", "limit is 2"),
    (lambda: request(accepted_output_modes=["a/a", "b/b", "c/c"]), "configuration.accepted_output_modes", "2"),
    (lambda: _with_request_metadata(keys(4)), "metadata", "more than 3"),
    (lambda: _with_request_metadata({"a": "x" * 100}), "metadata", "limit is 100"),
]


def _with_request_metadata(metadata: dict[str, Any]) -> SendMessageRequest:
    sent = request()
    sent.metadata.CopyFrom(struct(metadata))
    return sent


@pytest.mark.parametrize(("make", "field", "said"), REFUSED, ids=[f"{field}: {said}" for _, field, said in REFUSED])
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_request_over_a_limit_is_refused_by_its_field(
    make: Callable[[], SendMessageRequest], field: str, said: str, streaming: bool
) -> None:
    async with serving(scripted_agent(), **LIMITS) as served:
        sent: Awaitable[Any] = served.stream(make()) if streaming else served.send(make())
        refused = await refusal(sent)
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
        assert refused.fields == [field]
        assert said in refused.text
        assert await total_tasks(served) == 0


async def test_a_request_at_every_limit_passes() -> None:
    sent = request(message(message_id="i" * 16, context_id="c" * 16), tenant="t" * 16,
                   accepted_output_modes=["a/a", "b/b"])  # fmt: skip
    sent.message.parts[0].metadata.update(keys(3))
    with_data([1, 2, 3, 4, 5])(sent.message)
    sent.message.parts.append(Part(text="x", metadata=struct({"k": 1})))
    sent.message.metadata.update({"a": keys(2)})
    sent.metadata.update(keys(3))
    sent.message.reference_task_ids.extend(["x" * 16, "b"])
    sent.message.extensions.extend(["x" * 16, "b"])
    async with serving(scripted_agent(), **LIMITS) as served:
        task = (await served.send(sent)).task
        assert task.status.state == COMPLETED
        (stored,) = task.history
        assert stored.parts == sent.message.parts
