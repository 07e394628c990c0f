"""`a2a_grpc.testing`: servers, clocks, scripted agents and assertions for authors of agents."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from a2a_grpc import Agent, Failed, InputRequired, Rejected, Task, Turn, connect, text_of
from a2a_grpc.agent import Completed
from a2a_grpc.auth import CallCredentials
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import InvalidRequestError, ResourceExhaustedError, UnauthenticatedError
from a2a_grpc.principal import Principal
from a2a_grpc.testing import (
    Ask,
    Clock,
    Pause,
    Pieces,
    ScriptedAgent,
    Status,
    assert_events,
    assert_state,
    collect,
    described,
    running,
)
from a2a_grpc.wire import Message, Part
from tests.docs.pages import blocks
from tests.docs.shell import matches
from tests.harness import ROOT

HOUR = 3600.0


def slow_agent() -> Agent:
    agent = Agent("Slow", "Needs an hour.")

    @agent.skill("work")
    async def work(turn: Turn) -> AsyncIterator[str]:
        for number in range(60):
            await asyncio.sleep(60)
            if number % 20 == 19:
                yield f"{number + 1} minutes. "

    @agent.skill("ask")
    async def ask(turn: Turn) -> str:
        return f"You said {await turn.ask('What?')}, run {1 + turn.is_replaying}."

    @agent.router
    def route(message: Message) -> str:
        return text_of(message)

    return agent


async def by_name(credentials: CallCredentials) -> Principal | None:
    names = credentials.metadata.get("x-name")
    return Principal(str(names[0])) if names else None


async def test_an_agent_runs_with_the_settings_of_the_test_and_without_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A2A_GRPC_AUTH", "/there/is/no/such.toml")
    monkeypatch.setenv("A2A_GRPC_STORE", "postgresql://nobody@127.0.0.1:1/none")
    agent = ScriptedAgent("one", "two", "three")
    async with running(agent, authenticators=[by_name], headers=[("x-name", "ada")], max_parts=1) as client:
        assert_state(await client.send("hi"), "COMPLETED", "one")
        with pytest.raises(InvalidRequestError):
            await client.send([Part(text="a"), Part(text="b")])
        async with connect(client.target) as stranger:
            with pytest.raises(UnauthenticatedError):
                await stranger.send("hi")
    async with running(agent) as client, running(agent) as other:  # of one agent, two servers
        assert client.target != other.target
        assert_state(await other.send("hi"), "COMPLETED", "two")
    with pytest.raises(TypeError, match="no such setting"):
        async with running(agent, max_part=1):
            pass
    with pytest.raises(ConfigurationError, match="memory"):
        async with running(agent, clock=Clock(), store="sqlite:///tasks.db"):
            pass


@pytest.mark.long
async def test_a_clock_makes_an_hour_pass_in_order_and_at_once() -> None:
    clock, loop = Clock(), asyncio.get_running_loop()
    with clock, pytest.raises(RuntimeError, match="another clock moves the time"), Clock():
        pass
    began, before = time.monotonic(), loop.time()
    async with running(slow_agent(), clock=clock) as client:
        working = asyncio.create_task(collect(client.stream("work")))
        await asyncio.sleep(0)  # the message goes out while the clock moves, and arrives before
        await clock.advance(HOUR - 1)
        assert not working.done()
        await clock.advance(1)
        events = await working
        lines = ("artifact: 20 minutes.", "artifact: 40 minutes.", "artifact: 60 minutes.")
        assert_events(events, "SUBMITTED", "WORKING", *lines, "COMPLETED")
        assert loop.time() - before >= HOUR
    assert loop.time() - before == pytest.approx(time.monotonic() - began, abs=1)
    with pytest.raises(RuntimeError, match="not in use"):
        await clock.advance(1)
    with pytest.raises(ValueError, match="seconds is -1"):
        await clock.advance(-1)


async def test_a_clock_moves_the_limits_of_tasks() -> None:
    clock = Clock()
    async with running(slow_agent(), clock=clock, ask_hold_s=60, waiting_retention_s=HOUR) as client:
        held, let_go, expired = [await client.start("ask") for _ in range(3)]
        assert isinstance(held, Task)
        assert isinstance(let_go, Task)
        assert isinstance(expired, Task)
        for task in (held, let_go, expired):
            assert_state(await client.wait(task.id), "INPUT_REQUIRED", "What?")
        assert_state(await client.send("now", task_id=held.id), "COMPLETED", "You said now, run 1.")
        await clock.advance(61)
        assert_state(
            await client.send("later", task_id=let_go.id), "COMPLETED", re.compile("^You said later, run [12]")
        )
        await clock.advance(HOUR + 60)
        assert_state(await client.get(expired.id), "FAILED", re.compile("waited for an answer for more than 3600 s"))
        for task in (held, let_go):
            assert (await client.get(task.id)).id == task.id  # they are kept for a day


async def test_a_scripted_agent_plays_its_turns_and_keeps_what_came() -> None:
    remote = ScriptedAgent(
        "Bonjour",
        [Status("looking"), Pause(HOUR), Pieces("Au ", "revoir", interval_s=HOUR), {"words": 2}],
        [Ask("Which language?"), Ask("Sure?", auth=True), "Hola"],
        Failed("out of order"),
        InputRequired("More?"),
        [b"\0", Rejected("no more")],
        ValueError("a bug"),
        ResourceExhaustedError("busy", retry_after_s=0.01),
        Completed("at last"),
    )
    clock = Clock()
    async with running(remote, clock=clock, ask_hold_s=0) as client:
        assert_events(await collect(client.stream("1")), "SUBMITTED", "WORKING", "artifact: Bonjour", "COMPLETED")
        reading = asyncio.create_task(collect(client.stream("2")))
        await clock.advance(2 * HOUR)
        said = ("WORKING looking", "artifact: Au", "artifact: revoir", 'artifact: {"words": 2}')
        assert_events(await reading, "SUBMITTED", "WORKING", *said, "COMPLETED")
        asked = await client.send("3")
        assert_state(asked, "INPUT_REQUIRED", "Which language?")
        assert isinstance(asked, Task)
        assert_state(await client.send("es", task_id=asked.id), "AUTH_REQUIRED", "Sure?")
        assert_state(await client.send("yes", task_id=asked.id), "COMPLETED", "Hola")
        assert_state(await client.send("4"), "FAILED", "out of order")
        more = await client.send("5")
        assert_state(more, "INPUT_REQUIRED", "More?")
        assert isinstance(more, Task)
        assert_state(await client.send("6", task_id=more.id), "REJECTED", "no more")
        assert_state(await client.send("7"), "FAILED")
        with pytest.raises(AssertionError, match="has 9 turns, and 7 were asked for"):
            remote.assert_played()
        assert_state(await client.send("8"), "COMPLETED", "at last")  # the client has tried again
        remote.assert_played()
        assert [text_of(message) for message in remote.received] == [
            "1",
            "2",
            "3",
            "es",
            "yes",
            "4",
            "5",
            "6",
            "7",
            "8",
        ]
        assert_state(await client.send("9"), "FAILED", re.compile("has 9 turns, and this is message 10"))
        with pytest.raises(AssertionError, match="has 9 turns, and 10 were asked for"):
            remote.assert_played()
    brief = ScriptedAgent("Hello", answers="message", streaming=False)
    async with running(brief) as client:
        assert [described(event) for event in await collect(client.stream("hi"))] == ["message: Hello"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ScriptedAgent("a", [Failed("x"), "b"]), "turn 2, step 1 is Failed; no other step may stand beside it"),
        (lambda: ScriptedAgent([Status("a"), ResourceExhaustedError("b")]), "turn 1, step 2 is ResourceExhaustedError"),
        (lambda: ScriptedAgent([]), "turn 1 has no step"),
        (lambda: ScriptedAgent(Pause(-1)), "turn 1 waits -1 seconds"),
        (lambda: ScriptedAgent(Pieces()), "turn 1 is Pieces without a piece"),
        (lambda: ScriptedAgent(Ask("?"), answers="message"), "turn 1 is Ask, which needs a task"),
        (lambda: ScriptedAgent({"a": 10**20}), "turn 1: "),
        (lambda: ScriptedAgent("a", {"b": object()}), "turn 2: "),
    ],
)
def test_a_script_that_cannot_be_played_is_refused_with_its_place(make: Callable[[], Agent], said: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        make()
    assert said in str(refused.value)


async def test_an_assertion_that_fails_names_the_task_the_state_and_the_difference() -> None:
    async with running(ScriptedAgent(Failed("no ink"), "Good day", "Good day")) as client:
        failed, done = await client.send("1"), await client.send("2")
        events = await collect(client.stream("3"))
        told = client.stream("4")
    assert isinstance(failed, Task)
    assert isinstance(done, Task)

    def said(check: Callable[[], None]) -> str:
        with pytest.raises(AssertionError) as raised:
            check()
        return str(raised.value)

    assert (
        said(lambda: assert_state(failed, "COMPLETED"))
        == f"task '{failed.id}' is FAILED, not COMPLETED; it says 'no ink'"
    )
    assert said(lambda: assert_state(done, "COMPLETED", "Good night\nAda")).splitlines() == [
        f"task '{done.id}' is COMPLETED, but says something else:",
        "+ Good day",
        "- Good night",
        "- Ada",
    ]
    assert "the pattern 'night' is not in 'Good day'" in said(
        lambda: assert_state(done, "COMPLETED", re.compile("night"))
    )
    assert (
        said(lambda: assert_state(told, "COMPLETED")) == "the stream has had no event yet, so its task is not COMPLETED"
    )
    assert_events(events, ..., re.compile("Good"), ...)
    assert_events(events, ...)
    task_id = events[0].id if isinstance(events[0], Task) else ""
    assert said(lambda: assert_events(events, "SUBMITTED", ..., "FAILED")) == (
        f"the events of task '{task_id}' are not the expected ones (- expected, + came):\n"
        "  SUBMITTED\n  WORKING\n  artifact: Good day\n  COMPLETED\n- FAILED"
    )
    with pytest.raises(ValueError, match="state is 'DONE'; it must be one of SUBMITTED, WORKING"):
        assert_state(done, "DONE")


async def test_an_assertion_that_fails_says_what_testing_md_shows() -> None:
    how = f"played by: tests/testing/{Path(__file__).name}"
    [shown] = [block.text for block in blocks(ROOT / "docs" / "testing.md") if block.how == how]
    agent = Agent("Greeter", "Greets the person that a message names.")

    @agent.skill()
    async def greet(turn: Turn) -> str:
        """Greet one person by name."""
        return f"Hello, {turn.text.lower()}!"

    async with running(agent) as client:
        events = await collect(client.stream("Ada"))
    with pytest.raises(AssertionError) as raised:
        assert_events(events, "SUBMITTED", "WORKING", "artifact: Hello, Ada!", "COMPLETED")
    assert matches(f"AssertionError: {raised.value}", shown) is not None, str(raised.value)


UNDER = """\
import asyncio
import unittest

import pytest

from a2a_grpc.testing import ScriptedAgent, assert_state, running


@pytest.mark.anyio
async def test_under_anyio(client):
    assert_state(await client.send("hi"), "COMPLETED", "Hello")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def client(anyio_backend):
    async with running(ScriptedAgent("Hello")) as client:
        yield client


def test_without_a_plugin():
    async def check():
        async with running(ScriptedAgent("Hello")) as client:
            assert_state(await client.send("hi"), "COMPLETED", "Hello")

    asyncio.run(check())


class UnderUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        async with running(ScriptedAgent("Hello")) as client:
            assert_state(await client.send("hi"), "COMPLETED", "Hello")
"""


@pytest.mark.long
async def test_it_works_without_a_plugin_under_anyio_and_under_unittest(tmp_path: Path) -> None:
    (tmp_path / "test_under.py").write_text(UNDER)
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-c", "/dev/null", str(tmp_path)),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await program.communicate()
    assert program.returncode == 0, out.decode()
    assert "3 passed" in out.decode()
