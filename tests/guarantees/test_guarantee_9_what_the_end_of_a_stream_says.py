"""Guarantee 9: a stream ends OK only after a terminal event (or INPUT_REQUIRED on a send's stream); everything else is
a non-OK status that tells the client what to do."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from a2a_grpc.engine import EngineSettings
from a2a_grpc.engine.sweep import sweep
from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    REJECTED,
    SUBMITTED,
    TERMINAL,
    WORKING,
)
from a2a_grpc.parts import text_of
from a2a_grpc.store import MemoryStore, TaskKey
from a2a_grpc.wire import StreamResponse
from tests.covers import covers
from tests.guarantees.rig import Asker, Workers, YieldingStore, engine_of, following, key_of, serving_on
from tests.harness import (
    Served,
    decoded,
    elements,
    event_state,
    eventually,
    message,
    request,
    scripted,
    scripted_agent,
    serving,
)

pytestmark = covers("G9")

BIG = {"chunks": {"count": 160, "text": "{i} " + "x" * 100_000}}
"""16 MB: more than flow control lets through to a client that does not read."""


async def read_to_end(call: Any) -> tuple[list[StreamResponse], Any]:
    """All elements, with the refusal in which the stream ended; None for OK."""
    read: list[StreamResponse] = []
    try:
        async for element in call:
            read.append(element)
    except grpc.aio.AioRpcError as error:
        return read, decoded(error)
    return read, None


@covers("OPEN-1")
@pytest.mark.parametrize(
    ("script", "state"),
    [
        ([{"complete": "x"}], COMPLETED), ([{"fail": "x"}], FAILED), ([{"reject": "x"}], REJECTED),
        ([{"raise": "x"}], FAILED), ([{"input": "x"}], INPUT_REQUIRED),
        ([{"input": "x"}, {"status": "y"}], INPUT_REQUIRED),
    ],
)  # fmt: skip
async def test_a_sends_stream_ends_ok_after_the_event_that_settles_it(
    served: Served, script: list[dict[str, str]], state: int
) -> None:
    read, error = await read_to_end(served.stream(scripted({"status": "at it"}, *script)))
    assert error is None
    assert [event_state(element) for element in read] == [SUBMITTED, WORKING, WORKING, state]


@covers("OPEN-1", "STRM-9")
async def test_a_sends_stream_goes_on_in_auth_required(served: Served) -> None:
    call = served.stream(scripted({"auth": "log in there"}))
    read = list(await elements(call, 3))
    assert event_state(read[-1]) == AUTH_REQUIRED
    await served.send(scripted({"status": "thanks"}, task_id=read[0].task.id))
    rest, error = await read_to_end(call)
    assert error is None
    assert [event_state(element) for element in rest] == [WORKING, WORKING, COMPLETED]


@covers("OPEN-1")
async def test_a_subscription_goes_on_through_input_required(served: Served) -> None:
    task = (await served.send(scripted({"input": "1"}))).task
    call = served.subscribe(task.id)
    await following(call)
    await served.send(scripted({"input": "2"}, task_id=task.id))
    await served.send(scripted({"complete": "3"}, task_id=task.id))
    rest, error = await read_to_end(call)
    assert error is None
    assert [event_state(element) for element in rest] == [WORKING, INPUT_REQUIRED, WORKING, COMPLETED]


async def test_a_sends_stream_does_not_end_at_the_question_of_an_earlier_turn() -> None:
    asker = Asker()
    async with serving(asker.agent) as served:
        first = served.stream(request("one"))
        task_id = (await elements(first, 2))[0].task.id
        second = served.stream(request(message("two", task_id=task_id)))
        assert event_state(await following(second)) == WORKING
        asker.go["one"].set()
        asker.go["two"].set()
        read, error = await read_to_end(second)
        assert error is None
        assert [event_state(element) for element in read] == [INPUT_REQUIRED, WORKING, INPUT_REQUIRED]
        assert text_of(read[-1].status_update.status.message) == "what after two?"
        read, error = await read_to_end(first)
        assert error is None
        assert [text_of(element.status_update.status.message) for element in read] == ["what after one?"]


async def test_a_repeated_send_whose_turn_waits_for_input_is_told_so_and_ends(served: Served) -> None:
    """The repeat joins after the event that ended the first one's stream: its first element says it already."""
    key = ("idempotency-key", "k-1")
    first, _ = await read_to_end(served.stream(scripted({"input": "which?"}), key))
    async with asyncio.timeout(30):
        again, error = await read_to_end(served.stream(scripted({"input": "which?"}), key))
    assert error is None
    assert [event_state(element) for element in again] == [INPUT_REQUIRED]
    assert again[0].task.id == first[0].task.id


@covers("OPEN-4")
@pytest.mark.parametrize("make_store", [MemoryStore, YieldingStore])
async def test_no_stream_ends_ok_before_the_terminal_event(make_store: Callable[[], MemoryStore]) -> None:
    async with serving_on(make_store(), scripted_agent()) as served:
        for length in range(40):
            read, error = await read_to_end(served.stream(scripted(*[{"sleep": 0}] * length, {"status": "x"})))
            assert error is None
            assert [event_state(element) for element in read] == [SUBMITTED, WORKING, WORKING, COMPLETED]


class EndingAfterRead(MemoryStore):
    """Lets `end` happen between an empty read and whatever comes next."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = asyncio.Event()
        self.go = asyncio.Event()

    async def read(self, key: TaskKey, after: int, limit: int) -> Any:
        records = await super().read(key, after, limit)
        if not records and not self.go.is_set():
            self.empty.set()
            await self.go.wait()
        return records


async def test_an_end_that_falls_between_two_looks_of_a_follower_is_not_skipped() -> None:
    store = EndingAfterRead()
    async with serving_on(store, scripted_agent()) as served, asyncio.timeout(60):
        task = (await served.send(scripted({"input": "?"}, immediately=True))).task
        await eventually(lambda: _assert_head(served, task.id, INPUT_REQUIRED))
        call = served.subscribe(task.id)
        await following(call)
        await store.empty.wait()
        await served.send(scripted({"complete": "x"}, task_id=task.id, immediately=True))
        await eventually(lambda: _assert_head(served, task.id, COMPLETED))
        store.go.set()
        rest, error = await read_to_end(call)
        assert error is None
        assert [event_state(element) for element in rest] == [WORKING, COMPLETED]


async def _assert_head(served: Served, task_id: str, state: int) -> None:
    assert (await engine_of(served).log.head(key_of(task_id))).state == state


async def test_a_drain_ends_the_stream_of_a_parked_task_with_unavailable() -> None:
    async with serving(scripted_agent()) as served:
        task = (await served.send(scripted({"input": "?"}))).task
        call = served.subscribe(task.id)
        await following(call)
        await served.server.stop()
        rest, error = await read_to_end(call)
    assert rest == []
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
    assert error.retry_after_s is not None
    assert error.retry_after_s > 0


async def test_a_drain_fails_a_working_task_with_the_reason() -> None:
    async with serving(scripted_agent(), cancel_grace_s=0.05) as served:
        call = served.stream(scripted({"sleep": 60}))
        sending = asyncio.create_task(served.send(scripted({"sleep": 60})))
        await elements(call, 2)
        await eventually(lambda: _assert_runs(served, 2))
        await served.server.stop()
        rest, error = await read_to_end(call)
    if error is None:
        assert event_state(rest[-1]) == FAILED
    else:
        assert error.code is grpc.StatusCode.UNAVAILABLE
    for element in rest:
        assert event_state(element) == FAILED
        assert text_of(element.status_update.status.message) == "The server shut down before the task was done."
    assert (await sending).task.status.state == FAILED


def _assert_runs(served: Served, count: int) -> None:
    assert len(served.server.stats().tasks) == count


async def test_a_drain_lets_runs_finish_within_its_grace() -> None:
    workers = Workers()
    async with serving(workers.agent, drain_grace_s=60.0) as served, asyncio.timeout(60):
        call = served.stream(request())
        await elements(call, 2)
        stopping = asyncio.create_task(served.server.stop())
        await eventually(lambda: _assert_draining(served))
        workers.go.set()
        rest, error = await read_to_end(call)
        await stopping
    assert [event_state(element) for element in rest] == [0, COMPLETED][: len(rest)]
    if error is None:
        assert event_state(rest[-1]) == COMPLETED
    else:
        assert error.code is grpc.StatusCode.UNAVAILABLE


def _assert_draining(served: Served) -> None:
    assert engine_of(served).is_draining


async def test_a_draining_server_refuses_a_send_with_unavailable_and_a_time() -> None:
    workers = Workers()
    async with serving(workers.agent, drain_grace_s=60.0) as served, asyncio.timeout(60):
        task = (await served.send(request(immediately=True))).task
        await eventually(lambda: _assert_at_work(workers))
        stopping = asyncio.create_task(served.server.stop())
        await eventually(lambda: _assert_draining(served))
        for sent in (request("new"), request(message(task_id=task.id))):
            read, error = await read_to_end(served.stream(sent))
            assert read == []
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
            assert error.retry_after_s == 1.0
        assert (await served.get(task.id)).status.state == WORKING
        workers.go.set()
        await stopping
    assert workers.started == ["hello"]


def _assert_at_work(workers: Workers) -> None:
    assert workers.at_work == 1


@pytest.mark.parametrize("script", [[BIG], [BIG, {"input": "?"}, {"complete": "x"}]])
async def test_a_client_that_does_not_read_during_a_drain_is_not_told_ok(script: list[Any]) -> None:
    async with serving(scripted_agent()) as served, asyncio.timeout(60):
        task = await served.start({"input": "go?"}, *script)
        call = served.subscribe(task.id)
        await following(call)
        await served.send(scripted(task_id=task.id, immediately=True))
        await eventually(lambda: _assert_seq(served, task.id, 164))
        await served.server.stop()
        rest, error = await read_to_end(call)
    assert 0 < len(rest) < 161
    assert all(event_state(element) not in TERMINAL for element in rest)
    assert error is not None
    assert error.code is not grpc.StatusCode.OK


async def _assert_seq(served: Served, task_id: str, seq: int) -> None:
    assert (await engine_of(served).log.head(key_of(task_id))).seq >= seq


async def test_a_stream_whose_task_is_purged_before_it_was_read_is_not_told_ok() -> None:
    async with serving(scripted_agent()) as served, asyncio.timeout(60):
        task = await served.start({"input": "go?"}, {"chunks": {"count": 800, "text": "x" * 30_000}})
        call = served.subscribe(task.id)
        await following(call)
        await served.send(scripted(task_id=task.id, immediately=True))
        await eventually(lambda: _assert_head(served, task.id, COMPLETED))
        await sweep(engine_of(served).log.store, EngineSettings(retention_s=0.0))
        rest, error = await read_to_end(call)
    assert 0 < len(rest) < 800
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
