"""CancelTask: what may be canceled, what it gives, who hears of it (spec §3.1.5)."""

import asyncio

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.parts import Json, struct
from a2a_grpc.wire import CancelTaskRequest, GetTaskRequest, StreamResponse, Task, TaskState
from tests.covers import covers
from tests.harness import (
    V1,
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
from tests.spec.required import faults

pytestmark = pytest.mark.usefixtures("any_way")


async def canceled(served: Served, task_id: str, *, tenant: str = "", metadata: dict[str, Json] | None = None) -> Task:
    sent = CancelTaskRequest(id=task_id, tenant=tenant)
    if metadata is not None:
        sent.metadata.CopyFrom(struct(metadata))
    task: Task = await served.stub.CancelTask(sent, metadata=V1)
    return task


@covers("CANC-1")
async def test_a_cancel_gives_the_updated_task(served: Served) -> None:
    started = await served.start({"artifact": {"text": "so far"}}, {"sleep": 60})

    async def has_artifact() -> None:
        assert texts(await served.get(started.id)) == ["so far"]

    await eventually(has_artifact)
    task = await canceled(served, started.id)
    assert task.status.state == CANCELED
    assert texts(task) == ["so far"]
    assert faults(task) == []
    assert task == await served.get(started.id)


@covers("CANC-2", "Q5")
async def test_an_unknown_task_is_not_found(served: Served) -> None:
    refused = await refusal(canceled(served, "t-0"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert refused.text == "task 't-0' was not found"


@covers("CANC-3", "OPEN-5", "Q5")
@pytest.mark.parametrize(
    ("step", "state"),
    [
        ({"complete": "x"}, "COMPLETED"),
        ({"fail": "x"}, "FAILED"),
        ({"reject": "x"}, "REJECTED"),
        ({"raise": "x"}, "FAILED"),
    ],
)
async def test_a_task_that_has_ended_otherwise_is_not_cancelable(
    served: Served, step: dict[str, str], state: str
) -> None:
    ended = (await served.send(scripted(step))).task
    refused = await refusal(canceled(served, ended.id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_CANCELABLE")
    assert refused.text == f"task '{ended.id}' is {state}; it cannot be canceled any more"
    assert await served.get(ended.id) == ended


@covers("CANC-4", "CANC-5", "OPEN-5")
async def test_a_repeated_cancel_gives_the_same_task(served: Served) -> None:
    started = await served.start({"sleep": 60})
    once = await canceled(served, started.id)
    again = await canceled(served, started.id, metadata={"reason": "impatience"})
    assert once.status.state == CANCELED
    assert once == again


@covers("CANC-4")
async def test_cancels_at_the_same_time_all_give_the_one_canceled_task(served: Served) -> None:
    started = await served.start({"sleep": 60})
    tasks = await asyncio.gather(*(canceled(served, started.id) for _ in range(5)))
    assert {task.SerializeToString(deterministic=True) for task in tasks} == {
        tasks[0].SerializeToString(deterministic=True)
    }
    assert tasks[0].status.state == CANCELED


@covers("CANC-1")
@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([{"input": "Which?"}], INPUT_REQUIRED),
        ([{"input": "Which?"}, {"status": "going on"}], INPUT_REQUIRED),
        ([{"auth": "Sign in"}], AUTH_REQUIRED),
    ],
    ids=["input required, turn over", "input required, handler asks", "auth required"],
)
async def test_an_interrupted_task_is_cancelable(served: Served, steps: list[dict[str, str]], state: TaskState) -> None:
    waiting = (await served.send(scripted(*steps))).task
    assert waiting.status.state == state
    task = await canceled(served, waiting.id)
    assert task.status.state == CANCELED
    assert await served.get(waiting.id) == task


@covers("CANC-1")
async def test_a_task_that_waits_for_its_place_is_cancelable() -> None:
    async with serving(scripted_agent(), max_runs=1) as served:
        first = await served.start({"sleep": 60})
        second = await served.start({"artifact": {"text": "never"}})
        assert (await served.get(second.id)).status.state == SUBMITTED
        task = await canceled(served, second.id)
        assert (task.status.state, texts(task)) == (CANCELED, [])
        assert (await canceled(served, first.id)).status.state == CANCELED


@covers("CANC-6")
async def test_the_metadata_of_the_cancel_reaches_the_agent() -> None:
    agent, seen = Agent("Listener", "Hears why it is stopped."), list[dict[str, Json]]()

    @agent.skill()
    async def listen(turn: Turn) -> None:
        seen.append(turn.cancel_metadata)
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(turn.cancel_metadata)

    async with serving(agent) as served:
        started = (await served.send(request(immediately=True))).task

        def is_running() -> None:
            assert seen == [{}]

        await eventually(is_running)
        await canceled(served, started.id, metadata={"reason": "too slow", "by": {"user": 7}})
    assert seen == [{}, {"reason": "too slow", "by": {"user": 7}}]


@covers("CANC-7", "G6")
async def test_of_a_cancel_and_a_completion_one_wins_and_both_callers_see_it() -> None:
    agent, gates = Agent("Racer", "Completes when it may."), dict[str, asyncio.Event]()

    @agent.skill()
    async def race(turn: Turn) -> str:
        assert turn.task is not None
        await gates.setdefault(turn.task.id, asyncio.Event()).wait()
        return "finished"

    async def run(served: Served, head_start: int) -> TaskState:
        call = served.stream(request())
        first = await anext(aiter(call))
        task_id = first.task.id
        assert (await anext(aiter(call))).status_update.status.state == WORKING

        async def complete() -> None:
            for _ in range(head_start):
                await asyncio.sleep(0)
            gates.setdefault(task_id, asyncio.Event()).set()

        asked, _ = await asyncio.gather(canceled(served, task_id), complete(), return_exceptions=True)
        rest = await elements(call)
        final = await served.get(task_id)
        ends = [state for state in map(event_state, rest) if state in (CANCELED, COMPLETED)]
        assert ends == [final.status.state]
        if final.status.state == CANCELED:
            assert asked == final
        else:
            assert isinstance(asked, grpc.aio.AioRpcError)
            assert asked.code() == grpc.StatusCode.FAILED_PRECONDITION
        return final.status.state

    async with serving(agent) as served:
        for head_start in range(20):
            assert await run(served, head_start) in (CANCELED, COMPLETED)


@covers("CANC-8", "G8", "P5")
async def test_every_stream_of_the_task_gets_the_canceled_event_and_ends_ok(served: Served) -> None:
    send_stream = served.stream(scripted({"sleep": 60}))
    sent = await elements(send_stream, 2)
    task_id = sent[0].task.id
    assert event_state(sent[1]) == WORKING
    subscriptions = [served.subscribe(task_id) for _ in range(2)]
    for subscription in subscriptions:
        assert (await elements(subscription, 1))[0].task.status.state == WORKING
    task = await canceled(served, task_id)
    rests = [await elements(call) for call in (send_stream, *subscriptions)]
    assert [[event_state(event) for event in rest] for rest in rests] == [[CANCELED]] * 3
    assert [await call.code() for call in (send_stream, *subscriptions)] == [grpc.StatusCode.OK] * 3
    assert {rest[0].SerializeToString() for rest in rests} == {
        StreamResponse(status_update=rests[0][0].status_update).SerializeToString()
    }
    assert rests[0][0].status_update.status == task.status


@covers("CANC-8")
async def test_a_blocking_send_gives_the_canceled_task(served: Served) -> None:
    started = (await served.send(scripted({"input": "Which?"}, {"sleep": 60}))).task
    sending = asyncio.ensure_future(served.send(request(message("red", task_id=started.id))))

    async def is_working() -> None:
        task = await served.stub.GetTask(GetTaskRequest(id=started.id), metadata=V1)
        assert task.status.state == WORKING

    await eventually(is_working)
    task = await canceled(served, started.id)
    assert (await sending).task == task


@covers("CANC-1")
async def test_a_cancel_that_lets_a_draining_server_end_still_gives_the_canceled_task() -> None:
    async with serving(scripted_agent()) as served:
        task_id = (await elements(served.stream(scripted({"sleep": 60})), 2))[0].task.id
        stopping = asyncio.ensure_future(served.server.stop(grace_s=60))

        def is_draining() -> None:
            assert not served.server.is_ready

        await eventually(is_draining)
        task = await canceled(served, task_id)
        assert task.status.state == CANCELED
        await stopping
