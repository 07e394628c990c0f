"""Waiting for a task that is at work: by its events, or by asking."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_grpc import Agent, Client, Message, Task, Turn, connect
from a2a_grpc.errors import TaskNotFoundError, UnsupportedOperationError
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, REJECTED, WORKING
from a2a_grpc.wire import TaskState
from tests.agent.agents import Gate, agent_of
from tests.client.local_agents import GUARD_S, Counted, Sleeper, client_of, script
from tests.covers import covers
from tests.harness import Served, eventually, serving, texts
from tests.regressions.faults import open_streams, reaches

pytestmark = pytest.mark.usefixtures("any_way")

WAYS = [None, 0.01]
"""By its events, and by asking every so many seconds."""

ENDS: list[tuple[dict[str, Any], TaskState]] = [
    ({"complete": "x"}, COMPLETED),
    ({"fail": "x"}, FAILED),
    ({"raise": "x"}, FAILED),
    ({"reject": "x"}, REJECTED),
    ({"input": "x"}, INPUT_REQUIRED),
    ({"auth": "x"}, AUTH_REQUIRED),
]


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    """A client of the scripted agent."""
    async with client_of(served) as connected:
        yield connected


class Held:
    """An agent whose only turn waits at a gate; declared with or without streaming."""

    def __init__(self, *, streaming: bool = True) -> None:
        self.gate = Gate()
        self.agent = Agent("Held", "Waits.", streaming=streaming)
        self.agent.skill("wait")(self.work)

    async def work(self, turn: Turn) -> str:
        await self.gate.passed()
        return "done"


async def started(client: Client) -> Task:
    task = await client.start("go")
    assert isinstance(task, Task)
    return task


def asked(counted: Counted, at_least: int) -> None:
    assert counted.calls["GetTask"] >= at_least


@covers("S2-2", "S2-27")
@pytest.mark.parametrize("poll_s", WAYS)
@pytest.mark.parametrize(("step", "state"), ENDS, ids=lambda shown: next(iter(shown)) if type(shown) is dict else "")
async def test_a_wait_ends_at_every_settled_state(
    client: Client, step: dict[str, Any], state: TaskState, poll_s: float | None
) -> None:
    task = await client.start(script({"status": "at work"}, {"sleep": 0.05}, step))
    assert isinstance(task, Task)
    settled = await client.wait(task.id, poll_s=poll_s)
    assert (settled.id, settled.status.state) == (task.id, state)
    assert settled == await client.get(task.id)


@covers("S2-27")
@pytest.mark.parametrize("poll_s", WAYS)
async def test_a_wait_ends_when_the_task_is_canceled(poll_s: float | None) -> None:
    sleeper = Sleeper()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served:
        counted = Counted()
        async with client_of(served, interceptors=[counted]) as client, client_of(served) as other:
            task = await started(client)
            waiting = asyncio.create_task(client.wait(task.id, poll_s=poll_s))
            if poll_s is None:
                await eventually(lambda: _streams(served, 1))
            else:
                await eventually(lambda: asked(counted, 2))
            await other.cancel(task.id)
            assert (await waiting).status.state == CANCELED


def _streams(served: Served, count: int) -> None:
    assert open_streams(served) == count


@pytest.mark.parametrize("poll_s", WAYS)
@pytest.mark.parametrize(("step", "state"), ENDS, ids=lambda shown: next(iter(shown)) if type(shown) is dict else "")
async def test_a_wait_for_a_task_that_is_settled_already_returns_it(
    client: Client, step: dict[str, Any], state: TaskState, poll_s: float | None
) -> None:
    task = await client.send(script(step))
    assert isinstance(task, Task)
    assert task.status.state == state
    assert await client.wait(task.id, poll_s=poll_s) == task


@covers("S1-13", "S2-1")
@pytest.mark.parametrize("poll_s", WAYS)
async def test_a_wait_goes_on_for_longer_than_the_timeout_of_a_call(poll_s: float | None) -> None:
    held = Held()
    async with asyncio.timeout(GUARD_S), serving(held.agent) as served:
        async with client_of(served, timeout_s=2) as client, client_of(served) as other:
            task = await started(other)
            waiting = asyncio.create_task(client.wait(task.id, poll_s=poll_s))
            await asyncio.wait([waiting], timeout=3)  # longer than a call may take
            assert not waiting.done()
            held.gate.opened.set()
            assert texts(await waiting) == ["done"]


@covers("S2-17")
async def test_a_wait_follows_the_events_and_asks_for_nothing() -> None:
    held, counted = Held(), Counted()
    async with asyncio.timeout(GUARD_S), serving(held.agent) as served:
        async with client_of(served, interceptors=[counted]) as client:
            task = await started(client)
            waiting = asyncio.create_task(client.wait(task.id))
            await eventually(lambda: _streams(served, 1))
            held.gate.opened.set()
            assert texts(await waiting) == ["done"]
        assert counted.calls == {"SendMessage": 1}


@covers("S2-2")
async def test_with_poll_s_a_wait_asks_again_and_again_and_opens_no_stream() -> None:
    held, counted = Held(), Counted()
    async with asyncio.timeout(GUARD_S), serving(held.agent) as served:
        async with client_of(served, interceptors=[counted]) as client:
            task = await started(client)
            waiting = asyncio.create_task(client.wait(task.id, poll_s=0.01))
            await eventually(lambda: asked(counted, 5))
            assert open_streams(served) == 0
            held.gate.opened.set()
            assert texts(await waiting) == ["done"]


@covers("S2-5")
async def test_a_wait_that_asks_seldom_asks_once_at_first_and_then_not_before_its_interval() -> None:
    held, counted = Held(), Counted()
    async with asyncio.timeout(GUARD_S), serving(held.agent) as served:
        async with client_of(served, interceptors=[counted]) as client:
            task = await started(client)
            waiting = asyncio.create_task(client.wait(task.id, poll_s=600))
            await eventually(lambda: asked(counted, 1))
            held.gate.opened.set()
            await reaches(served, task.id, COMPLETED)
            assert counted.calls["GetTask"] == 1
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting


@covers("S0-40")
@pytest.mark.parametrize("poll_s", WAYS)
async def test_waiting_for_an_unknown_task_is_not_found(client: Client, poll_s: float | None) -> None:
    with pytest.raises(TaskNotFoundError, match="t-none"):
        await client.wait("t-none", poll_s=poll_s)


@pytest.mark.parametrize("poll_s", WAYS)
async def test_canceling_who_waits_leaves_the_task_alone(poll_s: float | None) -> None:
    sleeper, counted = Sleeper(), Counted()
    async with asyncio.timeout(GUARD_S), serving(sleeper.agent) as served:
        async with client_of(served, interceptors=[counted]) as client:
            task = await started(client)
            waiting = asyncio.create_task(client.wait(task.id, poll_s=poll_s))
            if poll_s is None:
                await eventually(lambda: _streams(served, 1))
            else:
                await eventually(lambda: asked(counted, 2))
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await eventually(lambda: _streams(served, 0))
            assert (await client.get(task.id)).status.state == WORKING
            assert sleeper.canceled == []


@covers("CARD-10")
@pytest.mark.parametrize("knows_the_card", [False, True])
@pytest.mark.parametrize("operation", ["send", "wait"])
async def test_an_agent_that_does_not_stream_is_asked_until_its_task_is_settled(
    operation: str, knows_the_card: bool
) -> None:
    held, counted = Held(streaming=False), Counted()
    async with asyncio.timeout(GUARD_S), serving(held.agent, http_listen="127.0.0.1:0") as served:
        target = served.server.http_url if knows_the_card else served.server.grpc_address
        assert target
        async with connect(target, interceptors=[counted]) as client:
            sending = client.send("go") if operation == "send" else client.wait((await started(client)).id)
            waiting = asyncio.create_task(_task(sending))
            await eventually(lambda: asked(counted, 3))
            held.gate.opened.set()
            task = await waiting
            assert (task.status.state, texts(task)) == (COMPLETED, ["done"])
            assert counted.calls["SendMessage"] == 1
            assert [listed.id async for listed in client.list()] == [task.id]


async def _task(reply: Any) -> Task:
    task = await reply
    assert isinstance(task, Task)
    return task


async def test_a_send_to_an_agent_that_does_not_stream_ends_where_the_agent_asks() -> None:
    agent = Agent("Asks", "Asks.", streaming=False)

    @agent.skill()
    async def order(turn: Turn) -> str:
        await turn.status("at work")
        return f"ordered {await turn.ask('how many?')}"

    async with asyncio.timeout(GUARD_S), serving(agent) as served, client_of(served) as client:
        asked_back = await client.send("tea")
        assert isinstance(asked_back, Task)
        assert asked_back.status.state == INPUT_REQUIRED
        done = await client.send("two", task_id=asked_back.id)
    assert isinstance(done, Task)
    assert (done.id, done.status.state, texts(done)) == (asked_back.id, COMPLETED, ["ordered two"])


async def test_a_message_comes_from_an_agent_that_does_not_stream_too() -> None:
    agent = Agent("Greets", "Greets.", streaming=False)

    @agent.skill(answers="message")
    async def greet(turn: Turn) -> str:
        return "hello to you"

    async with serving(agent) as served, client_of(served) as client:
        reply = await client.send("hello")
    assert isinstance(reply, Message)
    assert reply.parts[0].text == "hello to you"


async def test_a_send_that_is_refused_for_its_task_is_not_sent_a_second_time() -> None:
    counted = Counted()
    async with serving(agent_of(_echo)) as served, client_of(served, interceptors=[counted]) as client:
        task = await client.send("hello")
        assert isinstance(task, Task)
        with pytest.raises(UnsupportedOperationError, match="COMPLETED"):
            await client.send("more", task_id=task.id)
    assert counted.calls["SendMessage"] == 0


async def _echo(turn: Turn) -> str:
    return turn.text


async def test_many_waits_for_one_task_all_end() -> None:
    held = Held()
    async with asyncio.timeout(GUARD_S), serving(held.agent) as served, client_of(served) as client:
        task = await started(client)
        waits = [asyncio.create_task(client.wait(task.id, poll_s=poll_s)) for poll_s in WAYS * 5]
        await eventually(lambda: _streams(served, 5))
        held.gate.opened.set()
        ended = await asyncio.gather(*waits)
    assert all(one == ended[0] for one in ended)
    assert ended[0].status.state == COMPLETED
