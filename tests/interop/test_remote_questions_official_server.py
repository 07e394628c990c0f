"""Questions of an agent on the official SDK's server, passed to the user of a task here."""

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_grpc import RemoteAgent, Task, Turn, connect, text_of
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, INPUT_REQUIRED
from a2a_grpc.parts import to_dict
from a2a_grpc.protocol import REMOTE
from tests.client.local_agents import client_of, foreman, script
from tests.covers import covers
from tests.harness import Served, eventually, serving
from tests.interop.test_our_client_official_server import Official

STEPS: list[dict[str, Any]] = [
    {"chunks": {"count": 2}},
    {"input": "which?"},
    {"artifact": {"id": "end", "text": "so "}},
    {"input": "sure?"},
    {"echo": True},
]


@pytest.fixture(scope="module")
async def official() -> AsyncIterator[Official]:
    async with Official(sys.executable) as server:
        yield server


async def let_go(here: Served) -> None:
    [run] = here.server._running.engine._resources.held._since
    await here.server._running.engine._runs.let_go(run)


async def sent(client: Any, content: Any, **options: Any) -> Task:
    task = await client.send(content, **options)
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize("lets_go", [False, True])
@pytest.mark.parametrize("way", ["run", "stream", "bare"])
async def test_questions_go_to_the_user_and_answers_back(official: Official, way: str, lets_go: bool) -> None:
    async def lead(turn: Turn) -> str:
        remote = RemoteAgent(official.bare if way == "bare" else official.address)
        if way == "stream":
            return "".join([piece async for piece in remote.stream(script(*STEPS), turn=turn)])
        return await remote.run(script(*STEPS), turn=turn)

    async with serving(foreman(lead)) as here, client_of(here) as client:
        task = await sent(client, "go")
        for question, answer in (("which?", "this "), ("sure?", "yes")):
            assert (task.status.state, text_of(task.status.message)) == (INPUT_REQUIRED, question)
            if lets_go:
                await let_go(here)
            task = await sent(client, answer, task_id=task.id)
        assert (task.status.state, text_of(task)) == (COMPLETED, "0 1 so yes")


@covers("AUTHT-5")
@pytest.mark.parametrize("lets_go", [False, True])
async def test_an_authorization_goes_to_the_user_and_the_task_ends_with_the_message_after_it(
    official: Official, lets_go: bool
) -> None:
    async def lead(turn: Turn) -> str:
        return await RemoteAgent(official.address).run(script({"auth": "sign in"}), turn=turn)

    async with serving(foreman(lead)) as here, client_of(here) as client:
        task = await sent(client, "go")
        assert (task.status.state, text_of(task.status.message)) == (AUTH_REQUIRED, "sign in")
        if lets_go:
            await let_go(here)
        task = await sent(client, "done", task_id=task.id)
        assert (task.status.state, text_of(task)) == (COMPLETED, "done")


@pytest.mark.parametrize("lets_go", [False, True])
async def test_to_cancel_the_task_here_cancels_the_one_there(official: Official, lets_go: bool) -> None:
    async def lead(turn: Turn) -> str:
        return await RemoteAgent(official.address).run(script({"input": "which?"}), turn=turn)

    async with serving(foreman(lead)) as here, client_of(here) as client:
        task = await sent(client, "go")
        noted: Any = to_dict(task.status.message.metadata)[REMOTE]
        if lets_go:
            await let_go(here)
        assert (await client.cancel(task.id)).status.state == CANCELED
        async with connect(official.address) as there:

            async def is_canceled() -> None:
                assert (await there.get(noted["task"])).status.state == CANCELED

            await eventually(is_canceled)
