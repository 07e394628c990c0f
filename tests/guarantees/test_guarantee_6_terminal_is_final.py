"""Guarantee 6: terminal is final. Of racing terminal writers exactly one wins, and the losers see its result."""

import asyncio
from collections.abc import Callable

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.bus import LocalBus
from a2a_grpc.engine import AcceptedTurn, EngineSettings
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import TaskNotCancelableError
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
    IllegalTransition,
)
from a2a_grpc.log import Log
from a2a_grpc.store import Append, MemoryStore, StaleAppend
from a2a_grpc.wire import CancelTaskRequest, Task, TaskState
from tests.covers import covers
from tests.guarantees.rig import (
    YieldingStore,
    engine_of,
    engine_on,
    following,
    records_of,
    send_call,
    serving_on,
    stored_task,
)
from tests.harness import V1, Served, elements, event_state, message, refusal, request, scripted

pytestmark = covers("G6")

STORES = pytest.mark.parametrize("make_store", [MemoryStore, YieldingStore])


def counting_agent() -> Agent:
    """Answers after as many turns of the event loop as its message says."""
    agent = Agent("Counter", "Counts, then ends.")

    @agent.skill()
    async def count(turn: Turn) -> None:
        """Counts."""
        for _ in range(int(turn.text)):
            await asyncio.sleep(0)

    return agent


@STORES
async def test_of_racing_terminal_writers_one_wins(make_store: Callable[[], MemoryStore]) -> None:
    log = Log(make_store(), LocalBus())
    for rounds in range(20):
        key = await stored_task(log.store, f"t-{rounds}")
        head = await log.head(key)
        ends: list[TaskState] = [COMPLETED, CANCELED, FAILED, REJECTED]
        ends = ends[rounds % 4 :] + ends[: rounds % 4]
        writers = [Writer(log, EngineSettings(), key, head) for _ in ends]
        results = await asyncio.gather(
            *(writer.status(end) for writer, end in zip(writers, ends, strict=True)), return_exceptions=True
        )
        winners = [end for end, result in zip(ends, results, strict=True) if result is None]
        assert len(winners) == 1
        assert [type(result) for result in results if result is not None] == [StaleAppend] * 3
        assert [record.state for record in await records_of(log, key.id)][1:] == winners


@pytest.mark.parametrize("end", sorted(TERMINAL))
async def test_nothing_is_appended_after_a_terminal_state(end: TaskState) -> None:
    log = Log(MemoryStore(), LocalBus())
    key = await stored_task(log.store, "t-1", end)
    before = await records_of(log, "t-1")
    writer = Writer(log, EngineSettings(), key, await log.head(key))
    for state in (SUBMITTED, WORKING, INPUT_REQUIRED, AUTH_REQUIRED, *sorted(TERMINAL)):
        with pytest.raises(IllegalTransition):
            await writer.status(state)
    with pytest.raises(StaleAppend):
        await log.write(Append(key, before[0]._replace(seq=2), writer.epoch))
    assert await records_of(log, "t-1") == before


async def test_a_writer_that_has_ended_its_task_writes_no_other_state() -> None:
    log = Log(MemoryStore(), LocalBus())
    writer = Writer(log, EngineSettings(), key := await stored_task(log.store, "t-1"), await log.head(key))
    await writer.status(COMPLETED)
    for state in (WORKING, INPUT_REQUIRED, *sorted(TERMINAL)):
        with pytest.raises(IllegalTransition):
            await writer.status(state)
    assert [record.state for record in await records_of(log, "t-1")] == [SUBMITTED, COMPLETED]


@STORES
async def test_a_cancel_that_races_the_end_sees_the_winner(make_store: Callable[[], MemoryStore]) -> None:
    won = set()
    async with engine_on(make_store(), counting_agent()) as engine:
        for length in range(8):
            for delay in range(30):
                accepted = await engine.accept(send_call(request(str(length))))
                assert isinstance(accepted, AcceptedTurn)
                waiting = asyncio.create_task(engine.settled(accepted))
                for _ in range(delay):
                    await asyncio.sleep(0)
                try:
                    seen = (await engine.cancel(accepted.key)).state
                except TaskNotCancelableError:
                    seen = COMPLETED
                settled = Task.FromString((await waiting).task).status.state
                states = [record.state for record in await records_of(engine.log, accepted.key.id)]
                assert seen == settled == states[-1]
                assert [state for state in states if state in TERMINAL] == [seen]
                won.add(seen)
    assert won == {CANCELED, COMPLETED}


@STORES
async def test_over_the_wire_every_caller_sees_the_same_end(make_store: Callable[[], MemoryStore]) -> None:
    async def race(length: int) -> None:
        call = served.stream(request(str(length)))
        first = await following(call)
        blocking = asyncio.create_task(_outcome(served, first.task.id))
        last = event_state((await elements(call))[-1])
        assert await blocking == last == (await served.get(first.task.id)).status.state

    async with serving_on(make_store(), counting_agent()) as served:
        for length in range(60):
            await race(length)


async def _outcome(served: Served, task_id: str) -> int:
    """The state in which a cancel finds the task."""
    call = served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
    if await call.code() is grpc.StatusCode.OK:
        return int((await call).status.state)
    refused = await refusal(call)
    assert refused.reason == "TASK_NOT_CANCELABLE"
    assert "COMPLETED" in refused.text
    return COMPLETED


async def test_cancels_that_come_together_have_one_effect(served: Served) -> None:
    task = await served.start({"sleep": 60})
    canceled = await asyncio.gather(
        *(served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1) for _ in range(10))
    )
    assert all(one == canceled[0] for one in canceled)
    assert canceled[0].status.state == CANCELED
    states = [record.state for record in await records_of(engine_of(served).log, task.id)]
    assert states.count(CANCELED) == 1
    assert states[-1] == CANCELED


@pytest.mark.parametrize(
    ("script", "state"),
    [([{"complete": "x"}], "COMPLETED"), ([{"fail": "x"}], "FAILED"), ([{"reject": "x"}], "REJECTED")],
)
async def test_an_ended_task_takes_no_message_and_no_cancel(
    served: Served, script: list[dict[str, str]], state: str
) -> None:
    task = (await served.send(scripted(*script))).task
    refused = await refusal(served.send(request(message(task_id=task.id))))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
    assert state in refused.text
    uncanceled = await refusal(served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1))
    assert (uncanceled.code, uncanceled.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_CANCELABLE")
    assert await served.get(task.id) == task


async def test_a_handler_that_outlives_its_cancel_changes_nothing() -> None:
    began, go, over = asyncio.Event(), asyncio.Event(), asyncio.Event()
    refused: list[str] = []
    agent = Agent("Stubborn", "Does not stop.")

    @agent.skill()
    async def persist(turn: Turn) -> str:
        """Goes on."""
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        for attempt in (turn.status("still here"), turn.artifact("mine"), turn.ask("well?")):
            try:
                await attempt
            except asyncio.CancelledError:
                refused.append("refused")
        over.set()
        return "finished"

    async with serving_on(MemoryStore(), agent, cancel_grace_s=0.0) as served, asyncio.timeout(60):
        task = (await served.send(request(immediately=True))).task
        await began.wait()
        canceled = await served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1)
        go.set()
        await over.wait()
        assert refused == ["refused"] * 3
        assert await served.get(task.id) == canceled
        assert canceled.status.state == CANCELED
