"""P5: a cancel is seen by everybody, and waits for nobody."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from a2a_grpc import Agent, Message, TaskState, Turn
from a2a_grpc.lifecycle import CANCELED
from a2a_grpc.parts import text_of
from a2a_grpc.wire import CancelTaskRequest
from tests.covers import covers
from tests.harness import V1, elements, event_state, request, serving

pytestmark = covers("P5")


class Stubborn:
    """An agent that swallows every cancellation until it is released, then writes and answers all the same."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.swallowed = 0
        self.wrote = asyncio.get_running_loop().create_future()
        self.agent = Agent("Stubborn", "Does not stop.")

        @self.agent.skill()
        async def ignore(turn: Turn) -> str:
            while not self.release.is_set():
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.swallowed += 1
            try:
                await turn.artifact("too late")
            except asyncio.CancelledError:
                self.wrote.set_result(False)
                raise
            self.wrote.set_result(True)
            return "too late"


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    agent = Stubborn()
    yield agent
    agent.release.set()


async def test_a_cancel_ends_within_its_grace_though_agent_code_swallows_its_cancellation(
    stubborn: Stubborn,
) -> None:
    async with serving(stubborn.agent, cancel_grace_s=0.05) as served:
        stream = served.stream(request())
        task_id = (await elements(stream, 2))[0].task.id
        async with asyncio.timeout(30):
            canceled = await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
            assert canceled.status.state == CANCELED
            assert [event_state(event) for event in await elements(stream)] == [CANCELED]
        assert stubborn.swallowed >= 1
        assert not stubborn.wrote.done()

        stubborn.release.set()
        assert await stubborn.wrote is False
        task = await served.get(task_id)
        assert (task.status.state, list(task.artifacts)) == (CANCELED, [])


@covers("G8")
async def test_a_shutdown_is_bounded_though_agent_code_swallows_its_cancellation(stubborn: Stubborn) -> None:
    async with serving(stubborn.agent, cancel_grace_s=0.05) as served:
        stream = served.stream(request())
        await elements(stream, 2)
        last: asyncio.Task[list[tuple[int, Message]]] = asyncio.create_task(_statuses(stream))
        async with asyncio.timeout(30):
            await served.server.stop()
            [(state, said)] = await last
        assert state == TaskState.TASK_STATE_FAILED
        assert text_of(said) == "The server shut down before the task was done."
        assert stubborn.swallowed >= 1
        assert not stubborn.wrote.done()

        stubborn.release.set()
        assert await stubborn.wrote is False


async def _statuses(stream: "grpc.aio.UnaryStreamCall[object, object]") -> list[tuple[int, Message]]:
    statuses = [event.status_update.status for event in await elements(stream)]
    return [(status.state, status.message) for status in statuses]
