"""P1: a reader that is slow gets everything."""

from collections.abc import AsyncIterator

import grpc
import pytest

from a2a_grpc import Agent, TaskState, Turn
from a2a_grpc.parts import text_of
from a2a_grpc.wire import StreamResponse, SubscribeToTaskRequest
from tests.covers import covers
from tests.harness import V1, Served, elements, request, serving
from tests.regressions.faults import UNBUFFERED, blocked, connection, followers, open_streams, reaches

CHUNKS = 3999
EVENTS = 4003
"""The task, WORKING, the chunks, the seal of their artifact, COMPLETED."""


@pytest.fixture
async def chatty() -> AsyncIterator[Served]:
    agent = Agent("Chatty", "Says a lot.")

    @agent.skill()
    async def say(turn: Turn) -> AsyncIterator[str]:
        for i in range(CHUNKS):
            yield f"{i} ".ljust(400, ".")

    async with serving(agent) as served:
        yield served


def chunks(events: list[StreamResponse]) -> list[str]:
    said = [text_of(event.artifact_update.artifact) for event in events if event.HasField("artifact_update")]
    return [text.rstrip(".") for text in said]


@covers("P1", "EVT-7")
async def test_a_reader_that_sleeps_through_the_whole_task_gets_all_4003_events_in_order(chatty: Served) -> None:
    async with connection(chatty.server.grpc_address, UNBUFFERED) as slow:
        call = slow.SendStreamingMessage(request(), metadata=V1)
        [first] = await elements(call, 1)
        await reaches(chatty, first.task.id, TaskState.TASK_STATE_COMPLETED)
        await blocked(chatty, first.task.id)

        events = [first, *await elements(call)]

        assert await call.code() is grpc.StatusCode.OK
        assert len(events) == EVENTS
        assert chunks(events) == [*(f"{i} " for i in range(CHUNKS)), ""]
        assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED


@covers("P1")
async def test_a_reader_that_leaves_midway_gets_the_rest_when_it_resumes(chatty: Served) -> None:
    async with connection(chatty.server.grpc_address, UNBUFFERED) as slow:
        call = slow.SendStreamingMessage(request(), metadata=V1)
        first_part = list(await elements(call, 1000))
        seen = int(dict(await call.initial_metadata())["a2a-grpc-seq"]) + len(first_part) - 1
        call.cancel()
        task_id = first_part[0].task.id

        resumed = slow.SubscribeToTask(
            SubscribeToTaskRequest(id=task_id), metadata=(*V1, ("a2a-grpc-after", str(seen)))
        )
        events = [*first_part, *await elements(resumed)]

        assert await resumed.code() is grpc.StatusCode.OK
        assert dict(await resumed.initial_metadata())["a2a-grpc-after"] == "1000"
        assert len(events) == EVENTS
        assert chunks(events) == [*(f"{i} " for i in range(CHUNKS)), ""]
        assert (open_streams(chatty), followers(chatty)) == (0, 0)
