"""Q4 to Q7: subscribers that do not share, cancels that are real, readers that do not read, limits that do not lock."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, InputRequired, Task, TaskState, Turn
from a2a_grpc.lifecycle import CANCELED, COMPLETED, WORKING
from a2a_grpc.wire import CancelTaskRequest, ListTasksRequest, StreamResponse, SubscribeToTaskRequest
from tests.covers import covers
from tests.harness import V1, Served, elements, event_state, eventually, refusal, request, scripted, serving, texts
from tests.regressions.faults import UNBUFFERED, connection, followers, open_streams, reaches

CHUNKS = 48


async def cancel(served: Served, task_id: str) -> Task:
    canceled: Task = await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
    return canceled


class Gated:
    """An agent that says one chunk for each `go.release()`, five in all."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.agent = Agent("Gated", "Says a word when it may.")

        @self.agent.skill()
        async def say(turn: Turn) -> None:
            for i in range(5):
                await self.go.acquire()
                await turn.artifact(f"{i} ", id="words", append=True)

    def release(self, chunks: int) -> None:
        for _ in range(chunks):
            self.go.release()


def serialized(events: list[StreamResponse]) -> list[bytes]:
    return [event.SerializeToString() for event in events]


@covers("Q4")
async def test_two_subscribers_each_get_every_event() -> None:
    gated = Gated()
    async with serving(gated.agent) as served:
        sending = served.stream(request())
        head = list(await elements(sending, 2))
        subscriptions = [served.subscribe(head[0].task.id) for _ in range(2)]
        firsts = [(await elements(call, 1))[0] for call in subscriptions]
        assert [first.task.status.state for first in firsts] == [WORKING, WORKING]
        gated.release(5)

        whole, *both = [serialized(list(await elements(call))) for call in (sending, *subscriptions)]

        assert len(whole) == 6
        assert both == [whole, whole]


@covers("Q4")
@pytest.mark.parametrize("leaver", ["the sender", "a subscriber"])
async def test_one_stream_that_is_left_ends_no_other(leaver: str) -> None:
    gated = Gated()
    async with serving(gated.agent) as served:
        sending = served.stream(request())
        task_id = (await elements(sending, 2))[0].task.id
        subscription = served.subscribe(task_id)
        await elements(subscription, 1)
        gated.release(2)
        leaving, staying = (sending, subscription) if leaver == "the sender" else (subscription, sending)
        for call in (sending, subscription):
            await elements(call, 2)

        leaving.cancel()

        def gone() -> None:
            assert open_streams(served) == 1

        await eventually(gone)
        gated.release(3)
        rest = await elements(staying)
        assert [event.artifact_update.artifact.parts[0].text for event in rest[:3]] == ["2 ", "3 ", "4 "]
        assert event_state(rest[3]) == COMPLETED
        assert await staying.code() is grpc.StatusCode.OK


@covers("Q5")
async def test_a_cancel_of_an_unknown_id_is_not_found(served: Served) -> None:
    refused = await refusal(cancel(served, "no-such-task"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert refused.text == "task 'no-such-task' was not found"


@covers("Q5")
async def test_a_cancel_stops_the_agents_code_at_its_next_await() -> None:
    stopped = asyncio.get_running_loop().create_future()
    agent = Agent("Sleeper", "Sleeps.")

    @agent.skill()
    async def sleep(turn: Turn) -> None:
        try:
            await turn.status("asleep")
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            stopped.set_result(turn.canceled)
            raise

    async with serving(agent) as served:
        stream = served.stream(request())
        task_id = (await elements(stream, 3))[0].task.id
        canceled = await cancel(served, task_id)
        assert stopped.done()
        assert stopped.result() is True
        assert canceled.status.state == CANCELED
        assert (await served.get(task_id)).status.state == CANCELED


@covers("Q5")
@pytest.mark.parametrize(
    ("step", "state"), [("complete", "COMPLETED"), ("fail", "FAILED"), ("reject", "REJECTED"), ("raise", "FAILED")]
)
async def test_a_cancel_after_the_end_is_refused_and_changes_nothing(served: Served, step: str, state: str) -> None:
    ended = (await served.send(scripted({step: "that was it"}))).task
    assert ended.status.state == TaskState.Value(f"TASK_STATE_{state}")

    refused = await refusal(cancel(served, ended.id))

    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_CANCELABLE")
    assert refused.text == f"task '{ended.id}' is {state}; it cannot be canceled any more"
    assert await served.get(ended.id) == ended


@pytest.fixture
async def flooding() -> AsyncIterator[Served]:
    """An agent that says 3 MB, then waits."""
    agent = Agent("Flood", "Says more than a connection holds.")

    @agent.skill()
    async def flood(turn: Turn) -> None:
        if turn.text == "flood":
            for _ in range(CHUNKS):
                await turn.artifact("x" * 65_536, id="flood", append=True)
            await turn.status("said")
            await asyncio.sleep(600)

    async with serving(agent) as served:
        yield served


@covers("Q6")
async def test_a_reader_that_never_reads_stops_neither_the_agent_nor_a_cancel_nor_another_task(
    flooding: Served,
) -> None:
    async with connection(flooding.server.grpc_address, UNBUFFERED) as idle:
        stream: Any = idle.SendStreamingMessage(request("flood"), metadata=V1)
        task_id = (await elements(stream, 1))[0].task.id

        async def said() -> None:
            status = (await flooding.get(task_id)).status
            assert [part.text for part in status.message.parts] == ["said"]

        await eventually(said)
        other = await flooding.send(request("another"))
        assert other.task.status.state == COMPLETED
        canceled = await cancel(flooding, task_id)
        assert canceled.status.state == CANCELED
        assert [len(text) for text in texts(canceled)] == [CHUNKS * 65_536]
        assert open_streams(flooding) == 1

        events = await elements(stream)
        assert await stream.code() is grpc.StatusCode.OK
        assert sum(event.HasField("artifact_update") for event in events) == CHUNKS
        assert event_state(events[-1]) == CANCELED


@covers("Q6")
@pytest.mark.long
async def test_twenty_readers_that_never_read_hold_up_nobody_else(flooding: Served) -> None:
    async with connection(flooding.server.grpc_address, UNBUFFERED) as idle:
        task_id = (await flooding.send(request("flood", immediately=True))).task.id
        await reaches(flooding, task_id, WORKING)
        subscriptions = [flooding.subscribe(task_id)]
        for _ in range(20):
            subscription: Any = idle.SubscribeToTask(SubscribeToTaskRequest(id=task_id), metadata=V1)
            await subscription.initial_metadata()
            subscriptions.append(subscription)
        reader = subscriptions[0]
        await elements(reader, 1)
        await cancel(flooding, task_id)
        assert event_state((await elements(reader))[-1]) == CANCELED
        for subscription in subscriptions[1:]:
            subscription.cancel()

        def nothing() -> None:
            assert (open_streams(flooding), followers(flooding)) == (0, 0)

        await eventually(nothing)


@covers("Q7")
async def test_with_a_limit_of_2_all_tasks_finish_two_at_a_time_never_more() -> None:
    agent, pair = Agent("Pairs", "Works in pairs."), asyncio.Barrier(2)
    at_work, most = 0, 0

    @agent.skill()
    async def work(turn: Turn) -> str:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await pair.wait()  # only two that are at work at a time get past here
        await turn.status("going on")
        at_work -= 1
        return "done"

    async with serving(agent, max_runs=2) as served:
        sent = await asyncio.gather(*[served.send(request()) for _ in range(30)])
        assert [response.task.status.state for response in sent] == [COMPLETED] * 30
        assert most == 2


@covers("Q7")
async def test_with_a_limit_of_2_a_task_gives_its_place_back_however_it_ends() -> None:
    agent = Agent("Ends", "Ends in many ways.")
    at_work, most = 0, 0

    @agent.skill()
    async def end(turn: Turn) -> str | InputRequired:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        try:
            await turn.status("at work")
            match turn.text:
                case "raise":
                    raise RuntimeError("broken")
                case "ask":
                    return InputRequired("Which?")
                case "sleep":
                    await asyncio.sleep(600)
            return "done"
        finally:
            at_work -= 1

    async with serving(agent, max_runs=2) as served:
        sleepers = [(await served.send(request("sleep", immediately=True))).task.id for _ in range(6)]
        waiting = asyncio.gather(*[served.send(request(how)) for how in ("raise", "ask", "return") * 6])
        states = {task.id: task.status.state for task in await listed(served, 6)}
        assert sorted(states.values()) == sorted([WORKING] * 2 + [TaskState.TASK_STATE_SUBMITTED] * 22)

        for task_id in reversed(sleepers):  # those that have not begun come first
            assert (await cancel(served, task_id)).status.state == CANCELED

        ended = [response.task.status.state for response in await waiting]
        assert ended == [TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_INPUT_REQUIRED, COMPLETED] * 6
        assert (most, at_work) == (2, 0)


async def listed(served: Served, atleast: int) -> list[Task]:
    """All tasks, once two of them are at work and the others wait."""
    found = list[Task]()

    async def check() -> None:
        found[:] = (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).tasks
        assert len(found) == atleast + 18
        assert sum(task.status.state == WORKING for task in found) == 2

    await eventually(check)
    return found
