"""The strategies of a wait: which calls they make, and that no result is lost."""

import asyncio
import math

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import Agent, Message, RemoteAgent, Task, Turn, connect
from a2a_grpc.client import ClientSettings, RemoteTask, TaskNotCompletedError
from a2a_grpc.client.errors import ConnectionLostError
from a2a_grpc.client.origin import Origin
from a2a_grpc.client.resumption import Resumption
from a2a_grpc.client.waiting import Ticks
from a2a_grpc.lifecycle import CANCELED, COMPLETED, WORKING
from tests.agent.agents import agent_of
from tests.cli.terminal import at, error_of, run, run_all
from tests.client.foreign import breaks_off, foreign, plays, task
from tests.client.local_agents import GUARD_S, Counted, Sleeper, client_of
from tests.client.test_resume import SOON
from tests.covers import covers
from tests.harness import serving, texts
from tests.proxy import Proxy

CUT = breaks_off(grpc.StatusCode.UNAVAILABLE, task(WORKING))
DONE = task(COMPLETED, "x")


# -- auto


@covers("S2-18")
async def test_a_wait_polls_its_task_once_it_has_lost_enough_streams() -> None:
    async with foreign(subscriptions=[CUT] * 3, gets=[task(WORKING), task(WORKING), DONE]) as agent:
        async with asyncio.timeout(GUARD_S), connect(agent.address, **SOON, max_lost_streams=3) as client:
            assert await client.wait("t-1") == DONE
            assert agent.calls == ["SubscribeToTask"] * 3 + ["GetTask"] * 3
            agent.subscriptions = [plays(DONE)]
            assert await client.wait("t-1") == DONE
            assert agent.calls[6:] == ["SubscribeToTask"], "the next wait does not know of the lost streams"


@covers("S2-15")
async def test_the_strategy_subscribe_begins_a_stream_again_as_often_as_needed() -> None:
    async with foreign(subscriptions=[*[CUT] * 8, plays(DONE)]) as agent:
        async with asyncio.timeout(GUARD_S), connect(agent.address, **SOON, max_lost_streams=3) as client:
            ended = await client.wait("t-1", strategy="subscribe")
    assert ended == DONE
    assert agent.calls == ["SubscribeToTask"] * 9


@covers("S2-18")
@pytest.mark.usefixtures("any_way")
async def test_no_result_is_lost_when_a_wait_turns_to_polling() -> None:
    agent = Agent("Counter", "Counts slowly.")

    @agent.skill()
    async def count(turn: Turn) -> None:
        for number in range(40):
            await turn.artifact(f"{number} ", id="numbers", append=number > 0)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(GUARD_S), serving(agent) as served:
        proxy = Proxy(served.server.grpc_address)
        async with proxy, connect(proxy.address, **SOON, max_lost_streams=2) as client:
            started = await client.start("go")
            assert isinstance(started, Task)
            proxy.cut_after([700, 600])
            ended = await client.wait(started)
            assert proxy.cuts == 2
        assert texts(ended) == ["".join(f"{number} " for number in range(40))]
        assert ended == await served.get(started.id)


def machine() -> Resumption:
    made = Resumption(ClientSettings(), "somebody", task_id="t-1", max_lost=1)
    made.begun(is_polled=False)
    return made


def test_a_connection_that_could_not_be_made_is_no_lost_stream() -> None:
    resumption = machine()
    resumption.failed(ConnectionLostError("no connection", origin=Origin.UNREACHED))
    assert not resumption.is_polled
    resumption.waited(may_go_on=True)
    resumption.begun(is_polled=False)
    resumption.failed(ConnectionLostError("cut", origin=Origin.LOST))
    assert resumption.is_polled
    assert not resumption.is_refused


# -- poll


@covers("S2-5")
@given(
    job=st.floats(0.01, 600, allow_nan=False),
    interval=st.sampled_from([0.1, 0.7, 1.0, 30.0]),
    look=st.floats(0, 0.09),
    early=st.floats(0, 0.001),
    begun=st.floats(0, 1e6),
)
def test_a_job_takes_exactly_as_many_looks_as_it_has_intervals(
    job: float, interval: float, look: float, early: float, begun: float
) -> None:
    ticks, now, looks = Ticks(interval, begun), begun, 0
    while True:
        due = ticks.next_after(now)
        assert due > now
        looks += 1
        if due - begun >= job:
            break
        now = max(now, due - early) + look
    exact = job / interval
    nearly = {math.ceil(exact - 1e-6), math.ceil(exact), math.ceil(exact + 1e-6)}  # at 1e6 s a float has 1e-10 s
    assert looks in nearly


def test_a_look_that_takes_several_intervals_is_not_made_up_for() -> None:
    ticks = Ticks(10, 100)
    assert [ticks.next_after(now) for now in (100, 110, 145, 150, 159.9999)] == [110, 120, 150, 160, 170]


@covers("S2-5")
async def test_a_task_that_was_just_started_is_not_read_before_the_first_interval_is_over() -> None:
    async with foreign(answers=[task(WORKING)], gets=[task(WORKING), task(WORKING), DONE]) as agent:
        async with asyncio.timeout(GUARD_S), connect(agent.address, **SOON) as client:
            started = await client.start("go")
            assert isinstance(started, Task)
            waiting = asyncio.create_task(client.wait(started, strategy="poll", poll_s=600))
            await client.get("t-1")
            assert not waiting.done()
            assert agent.calls == ["SendMessage", "GetTask"]
            waiting.cancel()
            await asyncio.wait([waiting])
            assert await client.wait(started, strategy="poll", poll_s=0.05) == DONE
            assert agent.calls == ["SendMessage"] + ["GetTask"] * 3


@covers("S2-2")
async def test_the_strategy_poll_needs_no_interval_and_opens_no_stream() -> None:
    async with foreign(gets=[task(WORKING), task(WORKING), DONE]) as agent:
        async with asyncio.timeout(GUARD_S), connect(agent.address, **SOON) as client:
            assert await client.wait("t-1", strategy="poll") == DONE
    assert agent.calls == ["GetTask"] * 3


@pytest.mark.parametrize(("strategy", "poll_s"), [("subscribe", 1.0), ("poll", 0.0), ("auto", -1.0)])
async def test_an_interval_that_does_not_fit_is_refused_before_any_call(strategy: str, poll_s: float) -> None:
    async with foreign() as agent, connect(agent.address) as client:
        with pytest.raises(ValueError, match=f"poll_s is {poll_s:g}"):
            await client.wait("t-1", strategy=strategy, poll_s=poll_s)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="'auto' or 'subscribe' or 'poll'"):
            await client.wait("t-1", strategy="guess")  # type: ignore[arg-type]
    assert agent.calls == []


# -- a started task


async def _echo(turn: Turn) -> str:
    return turn.text


@pytest.mark.usefixtures("any_way")
async def test_a_remote_task_is_waited_for_by_any_strategy() -> None:
    async with serving(agent_of(_echo)) as served:
        remote = RemoteAgent(served.server.grpc_address)
        for strategy in ("auto", "subscribe", "poll"):
            started = await remote.start(f"by {strategy}")
            assert isinstance(started, RemoteTask)
            assert await started.result(strategy=strategy) == f"by {strategy}"
            assert started.task == await served.get(started.id)


async def test_a_remote_task_goes_on_until_it_is_canceled() -> None:
    sleeper, counted = Sleeper(), Counted()
    async with serving(sleeper.agent) as served, client_of(served, interceptors=[counted]) as client:
        started = await RemoteAgent(client=client).start("go")
        assert isinstance(started, RemoteTask)
        waiting = asyncio.create_task(started.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await started.get()).status.state in (WORKING, started.task.status.state)
        assert sleeper.canceled == []
        assert (await started.cancel()).status.state == CANCELED
        with pytest.raises(TaskNotCompletedError, match="CANCELED"):
            await started.result()


async def test_a_message_is_the_whole_answer_of_an_agent_without_tasks() -> None:
    agent = Agent("Greets", "Greets.")
    agent.skill("greet", answers="message")(_echo)
    async with serving(agent) as served:
        reply = await RemoteAgent(served.server.grpc_address).start("hello")
    assert isinstance(reply, Message)


# -- the command line


async def test_the_command_line_waits_by_any_strategy() -> None:
    async with serving(agent_of(_echo)) as served, client_of(served) as client:
        done = await client.send("hello")
        assert isinstance(done, Task)
        ways = ("auto", "subscribe", "poll")
        shown = await run_all(*(("wait", done.id, at(served), f"--strategy={way}") for way in ways))
        assert [(one.code, one.out) for one in shown] == [(0, "hello\n")] * 3
        refused = await run("wait", done.id, at(served), "--strategy=subscribe", "--poll=1")
        assert "exclude each other" in error_of(refused, 2)


async def test_the_command_line_turns_to_polling_too() -> None:
    async with foreign(subscriptions=[CUT] * 2, gets=[task(WORKING), DONE]) as agent:
        done = await run("wait", "t-1", f"--agent={agent.address}", "--max-lost-streams=2")
    assert (done.code, done.out) == (0, "x\n")
    assert agent.calls == ["SubscribeToTask"] * 2 + ["GetTask"] * 2
