"""An agent whose handler calls other agents as if they worked here."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_grpc import Agent, InputRequired, RemoteAgent, Task, TaskStatusUpdateEvent, Turn, data_of, text_of
from a2a_grpc.client import TaskNotCompletedError
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.parts import Json
from a2a_grpc.wire import TaskArtifactUpdateEvent
from tests.agent.agents import GENERIC
from tests.client.local_agents import Sleeper, Writer, client_of, foreman, observer, script
from tests.covers import covers
from tests.harness import Served, eventually, serving
from tests.regressions.faults import open_streams, reaches

pytestmark = pytest.mark.usefixtures("any_way")


def address(served: Served) -> str:
    return served.server.grpc_address


def has(items: list[Any], count: int = 1) -> None:
    assert len(items) == count


async def told_by(agent: Agent, content: Json) -> tuple[Task, list[str]]:
    """The task of one message to this agent, and its updates in words."""
    told: list[str] = []
    async with serving(agent) as served, client_of(served) as client, client.stream(content) as events:
        async for event in events:
            match event:
                case TaskStatusUpdateEvent() if text := text_of(event.status.message):
                    told.append(f"says {text}")
                case TaskArtifactUpdateEvent():
                    content = data_of(event.artifact) or text_of(event.artifact)
                    told.append(f"{event.artifact.name or event.artifact.artifact_id}: {content}")
    assert events.task is not None
    return events.task, told


@covers("S1-48")
async def test_a_handler_runs_a_remote_agent_as_a_function(served: Served) -> None:
    async def lead(turn: Turn) -> str:
        return f"they say: {await RemoteAgent(address(served)).run(turn.text)}"

    task, _ = await told_by(foreman(lead), "hello")
    assert (task.status.state, text_of(task)) == (COMPLETED, "they say: hello")


@covers("S1-48")
async def test_canceling_the_parents_task_cancels_the_remote_one() -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as there:

        async def lead(turn: Turn) -> str:
            return await RemoteAgent(address(there)).run("sleep", turn=turn)

        async with serving(foreman(lead)) as here, client_of(here) as client, client_of(there) as other:
            async with client.stream("go") as events:
                async for event in events:
                    if isinstance(event, TaskStatusUpdateEvent) and text_of(event.status.message) == "asleep":
                        break
            assert (await client.cancel(events.task_id)).status.state == CANCELED
            assert sleeper.canceled == sleeper.started
            has(sleeper.canceled)
            assert (await other.get(sleeper.started[0])).status.state == CANCELED


@covers("S1-48")
async def test_a_cancel_goes_through_three_agents() -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as bottom:

        async def below(turn: Turn) -> str:
            return await RemoteAgent(address(bottom)).run("sleep", turn=turn)

        async with serving(foreman(below)) as middle:

            async def above(turn: Turn) -> str:
                return await RemoteAgent(address(middle)).run("go", turn=turn)

            async with serving(foreman(above)) as top, RemoteAgent(address(top)) as agent:
                heard = asyncio.Event()

                async def follow() -> None:
                    async with agent.events("go") as events:
                        async for event in events:
                            if isinstance(event, TaskStatusUpdateEvent) and text_of(event.status.message) == "asleep":
                                heard.set()

                running = asyncio.create_task(follow())
                await heard.wait()
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
                assert sleeper.canceled == sleeper.started
                for served in (top, middle, bottom):
                    async with client_of(served) as client:
                        assert [task.status.state async for task in client.list()] == [CANCELED]


async def test_the_remote_agents_words_and_progress_show_in_the_turn_that_it_works_for(served: Served) -> None:
    remote_script = script(
        {"status": "reading"},
        {"artifact": {"id": "p", "name": "progress", "data": {"progress": 0.5}}},
        {"artifact": {"id": "draft", "text": "a draft"}},
        {"artifact": {"id": "d", "data": {"count": 1}}},
        {"artifact": {"id": "p", "name": "progress", "data": {"progress": 1}}},
        {"status": "nearly done"},
        {"artifact": {"id": "answer", "text": "42"}},
        {"complete": "done over there"},
    )

    async def lead(turn: Turn) -> str:
        return await RemoteAgent(address(served)).run(remote_script, turn=turn)

    task, told = await told_by(foreman(lead), "go")
    assert task.status.state == COMPLETED
    assert told[:-1] == [
        "says reading",
        "progress: {'progress': 0.5}",
        "progress: {'progress': 1}",
        "says nearly done",
    ]
    assert told[-1].endswith(": a draft42")
    progress, answer = task.artifacts
    assert (progress.name, data_of(progress), text_of(answer)) == ("progress", {"progress": 1}, "a draft42")


async def test_without_the_turn_nothing_of_it_shows(served: Served) -> None:
    async def lead(turn: Turn) -> str:
        return await RemoteAgent(address(served)).run(
            script({"status": "reading"}, {"artifact": {"data": {"progress": 0.5}}}, {"complete": "done"})
        )

    task, told = await told_by(foreman(lead), "go")
    assert len(told) == 1
    assert text_of(task) == "done"


@covers("S1-40")
async def test_a_handler_passes_on_the_pieces_as_they_come() -> None:
    writer = Writer()
    async with serving(writer.agent) as there:

        async def lead(turn: Turn) -> AsyncIterator[str]:
            async for piece in RemoteAgent(address(there)).stream("a story"):
                yield piece.upper()

        agent = Agent("Loud", "Passes on.")
        agent.skill("lead")(lead)
        async with serving(agent) as here, RemoteAgent(address(here)) as loud:
            story = loud.stream("a story")
            assert await anext(story) == "ONCE "
            assert not writer.gate.opened.is_set()
            writer.gate.opened.set()
            assert [piece async for piece in story] == ["UPON A TIME"]


async def test_a_remote_failure_that_nobody_handles_fails_the_task_and_shows_no_internals(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def lead(turn: Turn) -> str:
        return await RemoteAgent(address(served)).run(script({"fail": "the disk is full"}))

    task, _ = await told_by(foreman(lead), "go")
    assert (task.status.state, text_of(task)) == (FAILED, GENERIC)
    assert "the disk is full" in caplog.text


async def test_a_remote_question_is_passed_on_and_the_answer_goes_back(served: Served) -> None:
    async def lead(turn: Turn) -> str:
        remote = RemoteAgent(address(served))
        try:
            return await remote.run(script({"input": "which one?"}))
        except TaskNotCompletedError as paused:
            answer = await turn.ask(text_of(paused.task.status.message))
            return await remote.run(answer, task_id=paused.task.id)

    async with serving(foreman(lead)) as here, client_of(here) as client:
        asked = await client.send("go")
        assert isinstance(asked, Task)
        assert (asked.status.state, text_of(asked.status.message)) == (INPUT_REQUIRED, "which one?")
        done = await client.send("the blue one", task_id=asked.id)
    assert isinstance(done, Task)
    assert (done.status.state, text_of(done)) == (COMPLETED, "the blue one")


async def test_a_remote_question_may_end_the_turn_and_the_next_one_goes_on(served: Served) -> None:
    remote_ids: list[str] = []

    async def lead(turn: Turn) -> str:
        remote = RemoteAgent(address(served))
        try:
            if remote_ids:
                return await remote.run(turn.text, task_id=remote_ids[0])
            return await remote.run(script({"input": "which one?"}))
        except TaskNotCompletedError as paused:
            remote_ids.append(paused.task.id)
            raise InputRequired(text_of(paused.task.status.message)) from paused

    async with serving(foreman(lead)) as here, RemoteAgent(address(here)) as agent:
        with pytest.raises(TaskNotCompletedError, match="which one") as asked:
            await agent.run("go")
        assert await agent.run("the red one", task_id=asked.value.task.id) == "the red one"


async def test_when_one_of_several_remote_agents_fails_the_tasks_of_the_others_are_canceled(served: Served) -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as there, client_of(there) as other:

        async def lead(turn: Turn) -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(RemoteAgent(address(there)).run("sleep", turn=turn))
                await eventually(lambda: has(sleeper.started, 3))
                group.create_task(RemoteAgent(address(served)).run(script({"fail": "no"})))

        task, _ = await told_by(foreman(lead), "go")
        assert task.status.state == FAILED
        assert sorted(sleeper.canceled) == sorted(sleeper.started)
        assert [one.status.state async for one in other.list()] == [CANCELED] * 3


async def test_a_handler_that_fails_beside_its_remote_agent_cancels_the_remote_task() -> None:
    sleeper = Sleeper()
    async with serving(sleeper.agent) as there:

        async def lead(turn: Turn) -> None:
            async with RemoteAgent(address(there)).events("sleep") as events:
                async for event in events:
                    if isinstance(event, TaskStatusUpdateEvent):
                        raise ZeroDivisionError

        task, _ = await told_by(foreman(lead), "go")
        assert task.status.state == FAILED
        has(sleeper.started)
        await reaches(there, sleeper.started[0], CANCELED)


async def test_leaving_the_parents_stream_leaves_the_remote_task_alone() -> None:
    """Only who cancels a task, or who awaits its agent, ends the remote one: not who stops watching."""
    writer = Writer()
    async with serving(writer.agent) as there:

        async def lead(turn: Turn) -> str:
            await turn.status("asking")
            return await RemoteAgent(address(there)).run("a story")

        async with serving(foreman(lead)) as here, client_of(here) as client:
            async with client.stream("go") as events:
                async for event in events:
                    if isinstance(event, TaskStatusUpdateEvent) and text_of(event.status.message) == "asking":
                        break
            await writer.gate.reached.wait()

            def left() -> None:
                assert open_streams(here) == 0

            await eventually(left)
            assert (await client.get(events.task_id)).status.state == WORKING
            writer.gate.opened.set()
            assert text_of(await client.wait(events.task_id)) == "Once upon a time"


@covers("S1-44")
async def test_context_and_references_are_carried_from_agent_to_agent() -> None:
    async with serving(observer()) as there, client_of(there) as other:

        async def lead(turn: Turn) -> dict[str, Json]:
            assert turn.task is not None
            async with client_of(there) as remote:
                done = await remote.send(turn.text, context_id=turn.context_id, reference_task_ids=[turn.task.id])
            told = data_of(done)
            assert isinstance(told, dict)
            return told

        task, _ = await told_by(foreman(lead), "go")
        told = data_of(task)
        assert isinstance(told, dict)
        assert (told["context_id"], told["references"]) == (task.context_id, [task.id])
        assert [one.context_id async for one in other.list()] == [task.context_id]
