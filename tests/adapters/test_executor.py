"""An AgentExecutor of the official SDK runs unchanged: `Agent.of_executor`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from a2a.helpers import new_task_from_user_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.tasks import TaskUpdater
from a2a.utils.errors import UnsupportedOperationError

from a2a_grpc import Agent, Client, Part, Server, ServerSettings, Task, connect, text_of
from a2a_grpc.parts import to_dict
from a2a_grpc.wire import AgentCard, TaskState
from tests.harness import eventually


class Scripted(AgentExecutor):  # type: ignore[misc]  # the SDK is not checked
    """Does what the text of the message names, in the way of the SDK's examples."""

    def __init__(self) -> None:
        self.canceled: list[str] = []
        self.seen: list[RequestContext] = []

    async def execute(self, context: RequestContext, event_queue: Any) -> None:
        self.seen.append(context)
        if not context.current_task:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        say = updater.new_agent_message
        match context.get_user_input():
            case "ask":
                await updater.requires_input(say([Part(text="Which city?")]))
            case "sign in":
                await updater.requires_auth(say([Part(text="Sign in first.")]))
            case "refuse":
                await updater.reject(say([Part(text="No.")]))
            case "give up":
                await updater.cancel(say([Part(text="Stopped.")]))
            case "unsupported":
                raise UnsupportedOperationError("this agent cannot do that")
            case "break":
                raise RuntimeError("a secret of the program")
            case "twice":
                await updater.complete()
                await event_queue.enqueue_event(say([Part(text="late")]))
            case "message":
                await event_queue.enqueue_event(say([Part(text="only words")]))
            case "half":
                await updater.start_work()
            case "wait":
                await updater.start_work()
                await asyncio.Event().wait()
            case _:
                await updater.update_status(
                    TaskState.TASK_STATE_WORKING, say([Part(text="at work")], metadata={"step": "1"})
                )
                for word in ("a", "b", "c"):
                    await updater.add_artifact(
                        [Part(text=word)], artifact_id="x", name="letters", append=word != "a", last_chunk=word == "c"
                    )
                await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: Any) -> None:
        self.canceled.append(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def card() -> AgentCard:
    card = AgentCard(name="Executor", description="Plays scripts.", version="2.1.0")
    card.capabilities.streaming = True
    card.skills.add(id="play", name="Play", description="Plays a script.", tags=["test"])
    card.skills.add(id="other", name="Other", description="The same.", tags=["test"])
    return card


@asynccontextmanager
async def calling(executor: AgentExecutor) -> AsyncIterator[Client]:
    """A client of a server that runs the executor."""
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(Agent.of_executor(executor, card=card()), settings) as server:
        async with connect(server.grpc_address) as client:
            yield client


async def test_a_conversation_with_an_executor_streams_asks_and_ends_as_with_the_sdks_server() -> None:
    executor = Scripted()
    async with calling(executor) as client:
        async with client.stream("go") as events:
            kinds = [type(event).__name__ async for event in events]
            assert events.task is not None
            task = events.task
        assert kinds == [
            "Task",
            *["TaskStatusUpdateEvent"] * 2,
            *["TaskArtifactUpdateEvent"] * 3,
            "TaskStatusUpdateEvent",
        ]
        assert [part.text for part in task.artifacts[0].parts] == ["a", "b", "c"]
        assert task.artifacts[0].artifact_id == "x"
        assert task.artifacts[0].name == "letters"
        [said] = [message for message in task.history if text_of(message) == "at work"]
        assert to_dict(said.metadata) == {"step": "1"}

        asked = await client.send("ask")
        assert isinstance(asked, Task)
        assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        assert text_of(asked.status.message) == "Which city?"
        done = await client.send("Rome", task_id=asked.id, metadata={"skill": "other"})
        assert isinstance(done, Task)
        assert done.status.state == TaskState.TASK_STATE_COMPLETED
        first, second = executor.seen[-2:]
        assert first.current_task is None
        assert second.current_task is not None
        assert second.current_task.id == second.task_id == asked.id
        assert second.context_id == asked.context_id


@pytest.mark.parametrize(
    ("script", "state", "said"),
    [
        ("sign in", TaskState.TASK_STATE_AUTH_REQUIRED, "Sign in first."),
        ("refuse", TaskState.TASK_STATE_REJECTED, "No."),
        ("give up", TaskState.TASK_STATE_CANCELED, "Stopped."),
        ("unsupported", TaskState.TASK_STATE_FAILED, "this agent cannot do that"),
        ("break", TaskState.TASK_STATE_FAILED, "The agent failed"),
        ("twice", TaskState.TASK_STATE_COMPLETED, ""),
        ("message", TaskState.TASK_STATE_COMPLETED, "only words"),
    ],
)
async def test_each_end_of_an_executor_is_the_state_of_the_task(script: str, state: TaskState, said: str) -> None:
    async with calling(Scripted()) as client:
        task = await client.send(script)
    assert isinstance(task, Task)
    assert task.status.state == state
    assert said in text_of(task.status.message)


async def test_a_canceled_task_stops_execute_and_calls_cancel() -> None:
    executor = Scripted()
    async with calling(executor) as client:
        task = await client.start("wait")
        assert isinstance(task, Task)

        async def works() -> None:
            assert (await client.get(task.id)).status.state == TaskState.TASK_STATE_WORKING

        await eventually(works)
        canceled = await client.cancel(task.id)
        assert canceled.status.state == TaskState.TASK_STATE_CANCELED
        assert executor.canceled == [task.id]


def test_the_card_of_the_executor_gives_name_version_and_skills() -> None:
    agent = Agent.of_executor(Scripted(), card=card())
    assert (agent.name, agent.version, agent.streaming) == ("Executor", "2.1.0", True)
    assert list(agent.skills) == ["play", "other"]
    assert agent.default_skill == "play"


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(TypeError, match="is not an AgentExecutor of the official SDK"):
        Agent.of_executor(object(), card=card())
    with pytest.raises(TypeError, match="card is None; it must be an AgentCard"):
        Agent.of_executor(Scripted(), card=None)  # type: ignore[arg-type]
