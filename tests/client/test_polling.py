"""Agents that do not stream work with every operation: by a send, and by asking for the task."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Client, Message, RemoteAgent, Task, Turn, connect
from a2a_grpc.client import TaskNotCompletedError
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, WORKING, Event
from a2a_grpc.wire import TaskStatusUpdateEvent
from tests.agent.agents import Gate
from tests.cli.terminal import at, run
from tests.client.foreign import Foreign, Play, breaks_off, chunk, foreign, plays, status, task
from tests.client.local_agents import GUARD_S, client_of
from tests.client.peers import Page, Site
from tests.client.test_resume import SOON
from tests.covers import covers
from tests.harness import eventually, message, serving
from tests.regressions.faults import reaches

REFUSALS: dict[str, Play] = {
    "unsupported": breaks_off(grpc.StatusCode.FAILED_PRECONDITION, reason="UNSUPPORTED_OPERATION"),
    "unsupported, 1.0.0": breaks_off(grpc.StatusCode.UNIMPLEMENTED, reason="UNSUPPORTED_OPERATION"),
    "unimplemented": breaks_off(grpc.StatusCode.UNIMPLEMENTED),
}
WAYS = [*REFUSALS, "card"]
"""How a client learns that an agent does not stream."""


@asynccontextmanager
async def plain(way: str, *snapshots: Task) -> AsyncIterator[tuple[Foreign, Client]]:
    """An agent that does not stream, whose task is these snapshots one after the other."""
    first, *rest = snapshots
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(foreign(answers=[first], gets=rest))
        target = agent.address
        if way in REFUSALS:
            agent.sends, agent.subscriptions = [REFUSALS[way]], [REFUSALS[way]]
        else:
            page = Page.card(agent.address, capabilities={"streaming": False})
            target = (await stack.enter_async_context(Site(page))).url
        yield agent, await stack.enter_async_context(connect(target, **SOON))


GROWING = (task(WORKING), task(WORKING, "one "), task(WORKING, "one ", "two"), task(COMPLETED, "one ", "two"))
EVENTS: list[Event] = [task(WORKING), chunk("one ", append=False), chunk("two"), status(COMPLETED)]


@covers("CARD-10")
@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_of_an_agent_that_does_not_stream_gives_the_same_events(way: str) -> None:
    async with plain(way, *GROWING) as (agent, client), client.stream("go") as events:
        assert [event async for event in events] == EVENTS
        assert events.task == GROWING[-1]
    assert agent.calls[way in REFUSALS :] == ["SendMessage", "GetTask", "GetTask", "GetTask"]


@covers("CARD-10")
@pytest.mark.parametrize("way", WAYS)
async def test_so_does_a_subscription(way: str) -> None:
    async with plain(way, task(WORKING), *GROWING) as (agent, client), client.subscribe("t-1") as events:
        assert [event async for event in events] == EVENTS
    assert agent.calls[way in REFUSALS :] == ["GetTask"] * 4


@covers("CARD-10")
@pytest.mark.parametrize("way", WAYS)
async def test_a_remote_agent_that_does_not_stream_runs_and_streams(way: str) -> None:
    async with plain(way, *GROWING) as (_, client):
        assert await RemoteAgent(client=client).run("go") == "one two"
    async with plain(way, *GROWING) as (_, client):
        assert [piece async for piece in RemoteAgent(client=client).stream("go")] == ["one ", "two"]


@covers("CARD-10")
@pytest.mark.parametrize("way", WAYS)
async def test_waiting_and_sending_work(way: str) -> None:
    async with plain(way, *GROWING) as (_, client):
        assert await client.send("go") == GROWING[-1]
    async with plain(way, *GROWING) as (_, client):
        assert await client.wait("t-1") == GROWING[-1]


async def test_an_agent_that_does_not_stream_may_answer_with_a_message() -> None:
    reply = Message(message_id="m-9")
    async with foreign(sends=[REFUSALS["unimplemented"]], answers=[reply]) as agent:
        async with connect(agent.address, **SOON) as client:
            assert await client.send("go") == reply


async def test_that_an_agent_does_not_stream_is_told_once_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "a2a_grpc.client")
    async with plain("unsupported", *GROWING) as (agent, client):
        agent.answers.append(GROWING[-1])
        await client.send("go")
        await client.send("go")
        await client.wait("t-1")
        assert agent.calls.count("SendStreamingMessage") == 1
    told = [record for record in caplog.records if "does not stream" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.DEBUG]
    assert agent.address in told[0].getMessage()


async def test_an_ended_task_is_no_sign_that_its_agent_does_not_stream() -> None:
    async with foreign(subscriptions=[REFUSALS["unsupported"]] * 2, gets=[task(COMPLETED)]) as agent:
        async with connect(agent.address, **SOON) as client:
            for _ in range(2):
                async with client.subscribe("t-1") as events:
                    assert [event async for event in events] == [task(COMPLETED)]
    assert agent.calls == ["SubscribeToTask", "GetTask"] * 2


async def test_an_agent_that_refuses_only_subscriptions_goes_on_streaming_its_answers() -> None:
    cut = breaks_off(grpc.StatusCode.UNAVAILABLE, GROWING[0])
    async with foreign(
        sends=[cut, plays(task(COMPLETED, "at once"))], subscriptions=[REFUSALS["unimplemented"]], gets=[*GROWING[1:]]
    ) as agent, connect(agent.address, **SOON) as client:  # fmt: skip
        async with client.stream("go") as events:
            assert [event async for event in events] == EVENTS
        assert await client.send("go") == task(COMPLETED, "at once")
    assert agent.calls[-1] == "SendStreamingMessage"


# -- questions


def asking(said: str, seconds: int, *history: str, question: str = "q") -> Task:
    asked = task(INPUT_REQUIRED, said=said)
    asked.status.timestamp.seconds = seconds
    asked.status.message.message_id = question
    asked.history.extend(message(message_id=name) for name in history)
    return asked


LATER = task(COMPLETED, "booked")
OLD = asking("which date?", 1, "m-1")
NEXT = asking("at what time?", 2, "m-1", "q", "mine", question="q-2")
SHOWN = asking("which date?", 1, "m-1", "q", "mine")
TAKEN_OUT = asking("", 1, "m-1", "q", "mine", question="")


@pytest.mark.parametrize(
    ("looks", "end"),
    [
        ([OLD, OLD, OLD, LATER], LATER),
        ([OLD, SHOWN, SHOWN, LATER], LATER),
        ([OLD, TAKEN_OUT, TAKEN_OUT, NEXT], NEXT),
        ([OLD, OLD, NEXT], NEXT),
        ([OLD, NEXT], NEXT),
        ([NEXT, NEXT], NEXT),
    ],
    ids=["late", "told at once", "taken out", "the next", "soon", "sent again"],
)
async def test_a_follow_up_does_not_take_the_question_it_answers_for_an_answer(looks: list[Task], end: Task) -> None:
    before, reply, *gets = looks
    async with foreign(sends=[REFUSALS["unsupported"]], answers=[reply], gets=[before, *gets]) as agent:
        async with asyncio.timeout(GUARD_S), connect(agent.address, **SOON) as client:
            assert await client.send(message(message_id="mine", task_id="t-1")) == end


async def test_a_handler_that_asks_is_answered_although_it_does_not_stream() -> None:
    agent = Agent("Booker", "Books.", streaming=False)

    @agent.skill()
    async def book(turn: Turn) -> str:
        return f"booked for {await turn.ask('which date?')} at {await turn.ask('what time?')}"

    async with asyncio.timeout(GUARD_S), serving(agent) as served, client_of(served) as client:
        remote = RemoteAgent(client=client)
        with pytest.raises(TaskNotCompletedError, match="which date") as asked:
            await remote.run("book")
        with pytest.raises(TaskNotCompletedError, match="what time"):
            await remote.run("today", task_id=asked.value.task.id)
        assert await remote.run("noon", task_id=asked.value.task.id) == "booked for today at noon"


# -- leaving


def held(gate: Gate) -> Agent:
    agent = Agent("Slow", "Takes its time.", streaming=False)

    @agent.skill()
    async def work(turn: Turn) -> AsyncIterator[str]:
        yield "one "
        await gate.passed()
        yield "two"

    return agent


async def test_canceling_a_run_cancels_the_task_of_an_agent_that_does_not_stream() -> None:
    gate = Gate()
    async with asyncio.timeout(GUARD_S), serving(held(gate)) as served, client_of(served) as client:
        stream = RemoteAgent(client=client).stream("go")
        assert await anext(stream) == "one "
        await stream.aclose()
        [listed] = [listed async for listed in client.list()]
        await reaches(served, listed.id, CANCELED)


async def test_a_stream_that_is_closed_while_it_waits_for_a_change_ends() -> None:
    gate = Gate()
    async with asyncio.timeout(GUARD_S), serving(held(gate)) as served, client_of(served) as client:
        events = client.stream("go")
        seen: list[Event] = []

        async def read() -> None:
            async for event in events:
                seen.append(event)

        reading = asyncio.create_task(read())
        await gate.reached.wait()
        await eventually(lambda: no_more_than(2, seen))
        events.close()
        await reading
        gate.opened.set()
        assert await client.wait(events.task_id)


def no_more_than(count: int, seen: list[Any]) -> None:
    assert len(seen) >= count


async def test_a_read_that_is_canceled_goes_on() -> None:
    gate = Gate()
    async with asyncio.timeout(GUARD_S), serving(held(gate)) as served, client_of(served) as client:
        async with client.stream("go") as events:
            await anext(events)
            await gate.reached.wait()
            reading = asyncio.ensure_future(collect(events))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            gate.opened.set()
            *_, last = await collect(events)
            assert isinstance(last, TaskStatusUpdateEvent)
            assert last.status.state == COMPLETED


async def collect(events: Any) -> list[Event]:
    return [event async for event in events]


# -- the command line


async def test_the_verbs_of_the_command_line_work_with_an_agent_that_does_not_stream() -> None:
    gate = Gate()
    gate.opened.set()
    async with serving(held(gate)) as served:
        streamed = await run("stream", at(served), "go")
        assert (streamed.code, streamed.out) == (0, "one two\n"), streamed
        subscribed = await run("subscribe", at(served), streamed.err.split()[-1])
        assert (subscribed.code, subscribed.out) == (0, "one two\n"), subscribed
