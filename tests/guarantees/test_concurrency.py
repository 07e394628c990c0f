"""So many runs at a time; the rest waits in SUBMITTED, in order, cancelable, bounded; a question gives up its place."""

import asyncio

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.wire import CancelTaskRequest
from tests.covers import covers
from tests.guarantees.rig import Workers, following, total_tasks, user_texts
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


def _assert_at_work(workers: Workers, count: int) -> None:
    assert workers.at_work == count


async def state_of(served: Served, task_id: str) -> int:
    return int((await served.get(task_id)).status.state)


async def _assert_state(served: Served, task_id: str, state: int) -> None:
    assert await state_of(served, task_id) == state


@covers("Q7")
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_no_more_runs_than_the_limit_are_at_work_and_all_get_done(limit: int) -> None:
    workers = Workers()
    async with serving(workers.agent, max_runs=limit) as served, asyncio.timeout(60):
        sends = [asyncio.create_task(served.send(request(str(n)))) for n in range(20)]
        await eventually(lambda: _assert_taken(served, 20))
        await eventually(lambda: _assert_at_work(workers, limit))
        workers.go.set()
        assert [texts((await one).task) for one in sends] == [[str(n)] for n in range(20)]
        assert workers.peak == limit
        assert served.server.stats().runs == 0


def _assert_taken(served: Served, count: int) -> None:
    assert served.server.stats().runs == count


async def test_tasks_over_the_limit_wait_in_submitted_and_begin_in_the_order_in_which_they_came() -> None:
    workers = Workers()
    async with serving(workers.agent, max_runs=2) as served, asyncio.timeout(60):
        tasks = [(await served.send(request(str(n), immediately=True))).task for n in range(10)]
        await eventually(lambda: _assert_at_work(workers, 2))
        states = [await state_of(served, task.id) for task in tasks]
        assert states == [WORKING] * 2 + [SUBMITTED] * 8
        workers.go.set()
        await eventually(lambda: _assert_state(served, tasks[-1].id, COMPLETED))
        assert workers.started == [str(n) for n in range(10)]


@covers("CANC-1")
async def test_a_waiting_task_is_canceled_without_ever_running_and_the_others_move_up() -> None:
    workers = Workers()
    async with serving(workers.agent, max_runs=1) as served, asyncio.timeout(60):
        tasks = [(await served.send(request(str(n), immediately=True))).task for n in range(5)]
        await eventually(lambda: _assert_at_work(workers, 1))
        for place in (1, 3):
            canceled = await served.stub.CancelTask(CancelTaskRequest(id=tasks[place].id), metadata=V1)
            assert canceled.status.state == CANCELED
        workers.go.set()
        await eventually(lambda: _assert_state(served, tasks[4].id, COMPLETED))
        assert workers.started == ["0", "2", "4"]
        states = [await state_of(served, task.id) for task in tasks]
        assert states == [COMPLETED, CANCELED, COMPLETED, CANCELED, COMPLETED]
        _assert_taken(served, 0)


@covers("G11")
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(("runs", "queue"), [(1, 0), (1, 2), (2, 1)])
async def test_over_the_bound_of_the_queue_a_send_is_refused_and_nothing_stored(
    runs: int, queue: int, streaming: bool
) -> None:
    workers = Workers()
    async with serving(workers.agent, max_runs=runs, max_queued_runs=queue) as served, asyncio.timeout(60):
        held = [asyncio.create_task(served.send(request(str(n)))) for n in range(runs + queue)]
        await eventually(lambda: _assert_taken(served, runs + queue))
        refused = await refusal(served.stream(request("over")) if streaming else served.send(request("over")))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert refused.retry_after_s is not None
        assert refused.retry_after_s > 0
        assert f"{runs + queue} runs" in refused.text
        assert await total_tasks(served) == runs + queue
        workers.go.set()
        assert [(await one).task.status.state for one in held] == [COMPLETED] * (runs + queue)
        assert (await served.send(request("again"))).task.status.state == COMPLETED
        assert "over" not in workers.started


async def test_a_follow_up_over_the_bound_leaves_the_parked_task_as_it_is() -> None:
    async with serving(scripted_agent(), max_runs=1, max_queued_runs=0) as served:
        parked = (await served.send(scripted({"input": "?"}))).task
        blocker = await served.start({"sleep": 60})
        refused = await refusal(served.send(request(message("too early", task_id=parked.id))))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert refused.retry_after_s is not None
        assert await served.get(parked.id) == parked
        await served.stub.CancelTask(CancelTaskRequest(id=blocker.id), metadata=V1)
        done = (await served.send(request(message("now", task_id=parked.id)))).task
        assert done.status.state == COMPLETED
        assert user_texts(done)[1:] == ["now"]


async def test_message_agents_count_among_the_runs() -> None:
    agent, at_work, peak, go = Agent("Replier", "Answers with a message."), 0, 0, asyncio.Event()

    @agent.skill(answers="message")
    async def reply(turn: Turn) -> str:
        """Replies."""
        nonlocal at_work, peak
        at_work += 1
        peak = max(peak, at_work)
        try:
            await go.wait()
        finally:
            at_work -= 1
        return turn.text

    async with serving(agent, max_runs=2, max_queued_runs=2) as served, asyncio.timeout(60):
        held = [asyncio.create_task(served.send(request(str(n)))) for n in range(4)]
        await eventually(lambda: _assert_taken(served, 4))
        refused = await refusal(served.send(request("over")))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.reason == "RESOURCE_EXHAUSTED"
        leaving = held.pop()
        leaving.cancel()
        await eventually(lambda: _assert_taken(served, 3))
        go.set()
        assert [(await one).message.parts[0].text for one in held] == ["0", "1", "2"]
        assert peak == 2


async def test_a_question_gives_its_place_to_others_and_takes_one_again_for_the_answer() -> None:
    async with serving(scripted_agent(), max_runs=1, max_queued_runs=1) as served, asyncio.timeout(60):
        asking = [(await served.send(scripted({"input": "?"}, {"artifact": {"text": "done"}}))).task for _ in range(5)]
        assert [task.status.state for task in asking] == [INPUT_REQUIRED] * 5
        _assert_taken(served, 0)
        assert texts((await served.send(request("meanwhile"))).task) == ["meanwhile"]
        for task in reversed(asking):
            answered = (await served.send(request(message("go on", task_id=task.id)))).task
            assert (answered.status.state, texts(answered)) == (COMPLETED, ["done"])


async def test_an_answer_waits_for_a_place_behind_those_who_came_before() -> None:
    async with serving(scripted_agent(), max_runs=1) as served, asyncio.timeout(60):
        asking = (await served.send(scripted({"input": "?"}, {"artifact": {"text": "done"}}))).task
        blocker = await served.start({"sleep": 60})
        call = served.stream(request(message("go on", task_id=asking.id)))
        first = await following(call)
        assert first.task.status.state == WORKING
        assert user_texts(first.task)[-1:] == ["go on"]
        assert not (await served.get(asking.id)).artifacts
        await served.stub.CancelTask(CancelTaskRequest(id=blocker.id), metadata=V1)
        assert event_state((await elements(call))[-1]) == COMPLETED


@pytest.mark.parametrize("limit", [1, 2])
async def test_many_tasks_that_work_ask_fail_and_are_canceled_all_end_at_a_small_limit(limit: int) -> None:
    async def one(number: int) -> int:
        script = ({"status": "a"}, {"sleep": 0}, {"chunks": {"count": 3}})
        match number % 5:
            case 0:
                return int((await served.send(scripted(*script))).task.status.state)
            case 1:
                task = (await served.send(scripted(*script, {"input": "?"}, *script))).task
                return int((await served.send(request(message(task_id=task.id)))).task.status.state)
            case 2:
                task = (await served.send(scripted(*script, {"input": "?"}))).task
                return int((await served.send(request(message(task_id=task.id)))).task.status.state)
            case 3:
                task = await served.start(*script, {"sleep": 60})
                canceled = await served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1)
                return int(canceled.status.state)
            case _:
                return int((await served.send(scripted(*script, {"raise": "x"}, *script))).task.status.state)

    async with serving(scripted_agent(), max_runs=limit) as served, asyncio.timeout(30):
        states = await asyncio.gather(*(one(number) for number in range(60)))
        expected = [COMPLETED, COMPLETED, COMPLETED, CANCELED, FAILED]
        assert states == expected * 12
        _assert_taken(served, 0)
        assert served.server.stats().tasks == ()
