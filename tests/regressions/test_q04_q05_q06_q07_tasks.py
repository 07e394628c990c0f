"""Q4 to Q7: subscribers that do not share, cancels that are real, readers that do not read, limits that do not lock."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, InputRequired, Task, TaskState, Turn
from a2a_grpc.lifecycle import CANCELED, COMPLETED, WORKING
from a2a_grpc.wire import CancelTaskRequest, ListTasksRequest, SubscribeToTaskRequest
from tests.covers import covers
from tests.harness import V1, Served, elements, event_state, eventually, request, serving, texts
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


@covers("Q4", "EVT-3", "G3")
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
