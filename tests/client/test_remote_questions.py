"""What a remote agent asks while a handler here has it work (`turn=turn`), in one life of this agent's server."""

import asyncio
from typing import Any

import pytest

from a2a_grpc import Message, Part, RemoteAgent, Task, Turn, data_of, text_of
from a2a_grpc.client import Client, TaskNotCompletedError
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, INPUT_REQUIRED
from a2a_grpc.parts import Json
from tests.agent.agents import agent_of
from tests.client.local_agents import client_of, foreman, script
from tests.covers import covers
from tests.harness import Served, serving

pytestmark = pytest.mark.usefixtures("any_way")


async def sent(client: Client, content: Any, **options: Any) -> Task:
    task = await client.send(content, **options)
    assert isinstance(task, Task)
    return task


def seen(task: Task) -> tuple[Any, str]:
    return task.status.state, text_of(task.status.message)


async def test_several_questions_go_through_two_agents_with_their_parts() -> None:
    async def ask(turn: Turn) -> Json:
        first = await turn.ask([Part(text="Which?"), {"choices": [1, 2]}])
        second = await turn.ask("How often?")
        return {"first": first.data, "second": str(second), "turn": turn.text}

    async with serving(agent_of(ask)) as bottom:

        async def below(turn: Turn) -> Json:
            return await RemoteAgent(bottom.server.grpc_address).run(turn.text, turn=turn)

        async with serving(foreman(below)) as middle:

            async def above(turn: Turn) -> None:
                remote = RemoteAgent(middle.server.grpc_address)
                assert [piece async for piece in remote.stream(turn.text, turn=turn)] == []
                await turn.status("there")

            async with serving(foreman(above)) as top, client_of(top) as client, client_of(bottom) as other:
                asked = await sent(client, "go")
                assert seen(asked) == (INPUT_REQUIRED, "Which?")
                assert data_of(asked.status.message) == {"choices": [1, 2]}
                asked = await sent(client, {"choice": 2}, task_id=asked.id)
                assert seen(asked) == (INPUT_REQUIRED, "How often?")
                assert (await sent(client, "twice", task_id=asked.id)).status.state == COMPLETED
                [task] = [task async for task in other.list(include_artifacts=True)]
                assert data_of(task) == {"first": {"choice": 2}, "second": "twice", "turn": "go"}


@covers("AUTHT-5")
async def test_an_authorization_that_the_other_agent_noticed_itself_takes_the_question_back() -> None:
    granted = asyncio.Event()

    async def guard(turn: Turn) -> str:
        asking = asyncio.create_task(turn.ask("sign in", auth=True))
        await granted.wait()
        asking.cancel()
        await turn.status("you are in")
        return "the treasure"

    async with serving(agent_of(guard)) as there:

        async def lead(turn: Turn) -> str:
            return await RemoteAgent(there.server.grpc_address).run("open", turn=turn)

        async with serving(foreman(lead)) as here, client_of(here) as client:
            asked = await sent(client, "go")
            assert seen(asked) == (AUTH_REQUIRED, "sign in")
            granted.set()
            async with client.subscribe(asked.id) as events:
                async for _ in events:
                    pass
            assert events.task is not None
            assert (events.task.status.state, text_of(events.task)) == (COMPLETED, "the treasure")


async def test_a_handler_that_gives_up_on_the_answer_goes_on_and_cancels_the_remote_task(served: Served) -> None:
    gives_up = asyncio.Event()

    async def lead(turn: Turn) -> str:
        running = asyncio.create_task(
            RemoteAgent(served.server.grpc_address).run(script({"input": "which?"}), turn=turn)
        )
        await gives_up.wait()
        running.cancel()
        await asyncio.wait([running])
        return "without it"

    async with serving(foreman(lead)) as here, client_of(here) as client, client_of(served) as other:
        asked = await sent(client, "go")
        assert seen(asked) == (INPUT_REQUIRED, "which?")
        gives_up.set()
        async with client.subscribe(asked.id) as events:
            async for _ in events:
                pass
        assert events.task is not None
        assert (events.task.status.state, text_of(events.task)) == (COMPLETED, "without it")
        assert [task.status.state async for task in other.list()] == [CANCELED]


@pytest.mark.parametrize("restart", [False, True])
async def test_two_agents_that_ask_at_the_same_time_are_answered_one_after_the_other(restart: bool) -> None:
    async def quiz(turn: Turn) -> str:
        await turn.status(f"{turn.text} begins")
        return f"{turn.text}={await turn.ask(f'{turn.text}?')}"

    async with serving(agent_of(quiz)) as there:

        async def lead(turn: Turn) -> str:
            remote = RemoteAgent(there.server.grpc_address)
            return " ".join(await asyncio.gather(*(remote.run(name, turn=turn) for name in "abc")))

        async with serving(foreman(lead)) as here, client_of(here) as client, client_of(there) as other:
            task = await sent(client, "go")
            for _ in range(3):
                assert task.status.state == INPUT_REQUIRED
                if restart:
                    held = here.server._running.engine._resources.held
                    [run] = held._since
                    await here.server._running.engine._runs.let_go(run)
                task = await sent(client, text_of(task.status.message)[0] * 2, task_id=task.id)
            assert (task.status.state, text_of(task)) == (COMPLETED, "a=aa b=bb c=cc")
            assert len([one async for one in other.list()]) == 3


async def test_a_skill_that_answers_with_a_message_has_no_user_to_ask_and_leaves_no_question_open(
    served: Served,
) -> None:
    told: list[str] = []

    async def lead(turn: Turn) -> str:
        try:
            return await RemoteAgent(served.server.grpc_address).run(script({"input": "which?"}), turn=turn)
        except TaskNotCompletedError as error:
            told.append(str(error))
            return "no answer"

    async with serving(agent_of(lead, answers="message")) as here, client_of(here) as client:
        reply = await client.send("go")
        assert isinstance(reply, Message)
        assert text_of(reply) == "no answer"
        assert "which?" in told[0]
    async with client_of(served) as other:
        assert [task.status.state async for task in other.list()] == [CANCELED]


async def test_questions_of_the_handler_and_of_the_other_agent_are_repeated_in_their_order(served: Served) -> None:
    async def lead(turn: Turn) -> str:
        remote = RemoteAgent(served.server.grpc_address)
        first = await turn.ask("mine?")
        second = await remote.run(script({"input": "theirs?"}), turn=turn)
        third = await turn.ask("mine again?")
        return f"{first} {second} {third}"

    async with serving(foreman(lead)) as here, client_of(here) as client, client_of(served) as other:
        task = await sent(client, "go")
        for question, answer in (("mine?", "1"), ("theirs?", "2"), ("mine again?", "3")):
            assert seen(task) == (INPUT_REQUIRED, question)
            [run] = here.server._running.engine._resources.held._since
            await here.server._running.engine._runs.let_go(run)
            task = await sent(client, answer, task_id=task.id)
        assert (task.status.state, text_of(task)) == (COMPLETED, "1 2 3")
        assert len([one async for one in other.list()]) == 1


async def test_a_task_there_that_ends_while_the_user_thinks_is_an_error_that_holds_it(served: Served) -> None:
    held: list[TaskNotCompletedError] = []

    async def lead(turn: Turn) -> str:
        try:
            return await RemoteAgent(served.server.grpc_address).run(script({"input": "which?"}), turn=turn)
        except TaskNotCompletedError as error:
            held.append(error)
            return "too late"

    async with serving(foreman(lead)) as here, client_of(here) as client, client_of(served) as other:
        asked = await sent(client, "go")
        [remote] = [task async for task in other.list()]
        await other.cancel(remote.id)
        ended = await sent(client, "this one", task_id=asked.id)
        assert (ended.status.state, text_of(ended)) == (COMPLETED, "too late")
        assert [error.task.status.state for error in held] == [CANCELED]


async def test_a_server_that_stops_and_keeps_no_tasks_cancels_the_remote_task(served: Served) -> None:
    async def lead(turn: Turn) -> str:
        return await RemoteAgent(served.server.grpc_address).run(script({"input": "which?"}), turn=turn)

    async with serving(foreman(lead)) as here, client_of(here) as client:
        assert seen(await sent(client, "go")) == (INPUT_REQUIRED, "which?")
    async with client_of(served) as other:
        assert [task.status.state async for task in other.list()] == [CANCELED]
