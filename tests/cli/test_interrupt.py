"""Ctrl-C, and a reader who has enough."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from functools import partial
from itertools import groupby

import pytest

from a2a_grpc import Agent, Task, Turn
from a2a_grpc.lifecycle import CANCELED, WORKING
from tests.agent.agents import Gate, agent_of
from tests.cli.terminal import Running, at, command_in, objects, plain, run, run_line, running, running_line, script
from tests.client.peers import peering
from tests.harness import Served, eventually, request, serving
from tests.proxy import Proxy

STOPPED = re.compile(r"stopped watching; task ([0-9a-f-]{36}) goes on\.")


class Story:
    """An agent that tells the beginning of a story, waits at a gate, and tells its end."""

    def __init__(self, *, streaming: bool = True) -> None:
        self.gate = Gate()
        self.canceled = asyncio.Event()
        self.agent = Agent("Storyteller", "Tells.", streaming=streaming)
        self.agent.skill("tell")(self.tell)

    async def tell(self, turn: Turn) -> AsyncIterator[str]:
        try:
            yield "Once "
            yield "upon "
            await self.gate.passed()
            yield "a "
            yield "time"
        except asyncio.CancelledError:
            self.canceled.set()
            raise


async def begun(served: Served, story: Story) -> Task:
    """A task that waits at the gate."""
    task: Task = (await served.send(request("go", immediately=True))).task
    await story.gate.reached.wait()
    return task


async def following(command: Running, proxy: Proxy) -> None:
    """Returns once '-v' has told that a subscription is begun: by then the task's id is known.

    A send subscribes when it is cut. Cut before it has heard of its task, it sends again, and is cut again.
    """
    begun = 0
    while "/SubscribeToTask" not in command.err.text:
        text = await command.err.until(partial(subscribes_or_begins, begun))
        begun = text.count("a2a-grpc-seq: ")
        proxy.cut()


def subscribes_or_begins(before: int, trace: str) -> bool:
    return "/SubscribeToTask" in trace or trace.count("a2a-grpc-seq: ") > before


def asking(trace: str) -> bool:
    """Whether '-v' has told that a task is asked for again and again."""
    return trace.count("/GetTask") > 3


def joined(*outs: str) -> str:
    """What was told in pieces, each of which ends its last line."""
    return "".join(out.removesuffix("\n") for out in outs)


# -- once: watching stops


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
async def test_ctrl_c_in_a_stream_tells_the_command_that_goes_on_after_the_last_event(terminal: bool) -> None:
    story = Story()
    async with serving(story.agent) as served:
        async with running("stream", at(served), "go", terminal=terminal) as streaming:
            await streaming.out.until("upon ")
            streaming.interrupt()
            done = await streaming.finished()
        assert done.code == 130
        [task_id] = STOPPED.findall(plain(done.err))
        assert plain(done.err).splitlines()[-1] == (
            f"stopped watching; task {task_id} goes on. To watch again: "
            f"a2a-grpc subscribe --agent {served.server.grpc_address} {task_id} --after 4"
        )
        assert (await served.get(task_id)).status.state == WORKING
        async with asyncio.TaskGroup() as group:
            resuming = group.create_task(run_line(command_in(done.err)))
            story.gate.opened.set()
        resumed = resuming.result()
    assert (resumed.code, resumed.out) == (0, "a time\n")
    assert resumed.err == f"COMPLETED {task_id}\n"
    if not terminal:
        assert joined(done.out, resumed.out) == "Once upon a time"


@pytest.mark.parametrize("verb", ["send", "wait"])
@pytest.mark.few(1)
async def test_ctrl_c_in_a_verb_that_shows_the_answer_at_the_end_tells_a_command_that_shows_all_of_it(
    verb: str,
) -> None:
    """What came before Ctrl-C has not been shown: a subscription after it would never tell."""
    story = Story()
    async with serving(story.agent) as served, Proxy(served.server.grpc_address) as proxy:
        subject = "go" if verb == "send" else (await begun(served, story)).id
        async with running(verb, f"--agent={proxy.address}", "-v", subject, terminal=True) as waiting:
            await waiting.out.until("waiting for the agent")
            await following(waiting, proxy)
            await story.gate.reached.wait()
            waiting.interrupt()
            done = await waiting.finished()
        assert done.code == 130
        [task_id] = STOPPED.findall(plain(done.err))
        assert done.out.rindex("\x1b[?25h") > done.out.rindex("\x1b[?25l"), "the cursor is there again"
        story.gate.opened.set()
        resumed = await run_line(command_in(done.err))
    assert resumed.code == 0
    assert resumed.err.endswith(f"COMPLETED {task_id}\n")
    assert resumed.out.replace("\n", "") == "Once upon a time"


async def test_ctrl_c_in_a_subscription_tells_the_command_that_goes_on_after_the_last_event() -> None:
    story = Story()
    async with serving(story.agent) as served:
        task = await begun(served, story)
        async with running("subscribe", at(served), task.id) as watching:
            await watching.err.until("WORKING")
            watching.interrupt()
            done = await watching.finished()
        assert (done.code, STOPPED.findall(done.err)) == (130, [task.id])
        assert done.out.replace("\n", "") == "Once upon "
        story.gate.opened.set()
        resumed = await run_line(command_in(done.err))
    assert (resumed.code, resumed.out) == (0, "a time\n")


async def test_ctrl_c_in_a_stream_of_json_lines_leaves_standard_output_to_json() -> None:
    story = Story()
    async with serving(story.agent) as served:
        async with running("stream", at(served), "-o", "json", "go") as streaming:
            await streaming.out.until("upon ")
            streaming.interrupt()
            done = await streaming.finished()
        assert done.code == 130
        before = objects(done.out)
        story.gate.opened.set()
        resumed = await run_line(command_in(done.err))
    assert resumed.code == 0
    elements = before + objects(resumed.out)
    assert [kind for kind, _ in groupby(next(iter(element)) for element in elements)] == [
        "task",
        "statusUpdate",
        "artifactUpdate",
        "statusUpdate",
    ]
    chunks = [element["artifactUpdate"]["artifact"] for element in elements if "artifactUpdate" in element]
    assert "".join(part.get("text", "") for chunk in chunks for part in chunk["parts"]) == "Once upon a time"


@pytest.mark.few
@pytest.mark.parametrize("way", ["send", "wait", "wait --poll"])
async def test_ctrl_c_where_the_agent_is_asked_from_time_to_time_tells_how_to_go_on(way: str) -> None:
    story = Story(streaming=way == "wait --poll")
    async with serving(story.agent) as served:
        if way == "send":
            arguments = ["send", "go"]
        else:
            arguments = ["wait", (await begun(served, story)).id] + (["--poll=0.05"] if "--poll" in way else [])
        async with running(*arguments, at(served), "-v", terminal=True) as waiting:
            await waiting.out.until(asking)
            await story.gate.reached.wait()
            waiting.interrupt()
            done = await waiting.finished()
        assert done.code == 130
        [task_id] = STOPPED.findall(plain(done.err))
        story.gate.opened.set()
        resumed = await run_line(command_in(done.err))
    assert resumed.code == 0, resumed.err
    assert resumed.err.endswith(f"COMPLETED {task_id}\n")
    assert resumed.out.replace("\n", "") == "Once upon a time"


async def test_ctrl_c_before_the_agent_has_answered_says_that_nothing_is_known() -> None:
    async with peering() as peer:
        peer.held = asyncio.Event()
        async with running("send", f"--agent={peer.address}", "go") as sending:
            await eventually(lambda: assert_calls(len(peer.calls), 1), within_s=30)
            sending.interrupt()
            done = await sending.finished()
        await eventually(lambda: assert_calls(peer.canceled, 1), within_s=30)
    assert (done.code, done.out) == (130, "")
    assert done.err == "stopped before the agent answered; whether it has begun a task is not known\n"


def assert_calls(found: int, expected: int) -> None:
    assert found == expected


async def test_ctrl_c_in_a_verb_that_only_asks_ends_it_quietly() -> None:
    async with peering() as peer:
        peer.held = asyncio.Event()
        async with running("get", f"--agent={peer.address}", "t-1") as getting:
            await eventually(lambda: assert_calls(len(peer.calls), 1), within_s=30)
            getting.interrupt()
            done = await getting.finished()
    assert (done.code, done.out, done.err) == (130, "", "")


async def test_the_command_that_goes_on_names_the_tenant(served: Served) -> None:
    async with running("stream", at(served), "--tenant=acme", "-d", script({"chunks": {}}, {"sleep": 60})) as streaming:
        await streaming.out.until("chunk 0 ")
        streaming.interrupt()
        done = await streaming.finished()
    [task_id] = STOPPED.findall(done.err)
    async with running_line(command_in(done.err)) as resumed:
        assert (await run("cancel", at(served), "--tenant=acme", task_id)).code == 0
        again = await resumed.finished()
    assert (again.code, again.err) == (1, f"CANCELED {task_id}\n")


# -- once: the task is canceled, where that is wanted


@pytest.mark.parametrize("verb", ["send", "stream", "subscribe", "wait", "wait --poll"])
async def test_cancel_on_interrupt_cancels_the_task(verb: str) -> None:
    await interrupted_is_canceled(verb, Story())


@pytest.mark.parametrize("verb", ["send", "wait"])
async def test_cancel_on_interrupt_cancels_the_task_of_an_agent_that_does_not_stream(verb: str) -> None:
    await interrupted_is_canceled(verb, Story(streaming=False))


async def interrupted_is_canceled(verb: str, story: Story) -> None:
    async with serving(story.agent) as served, Proxy(served.server.grpc_address) as proxy:
        name, *options = verb.replace("--poll", "--poll=0.05").split()
        subject = "go" if name in ("send", "stream") else (await begun(served, story)).id
        agent = f"--agent={proxy.address}"
        async with running(name, agent, *options, "-v", "--cancel-on-interrupt", subject) as command:
            if story.agent.streaming and not options:
                await following(command, proxy)
            else:
                await command.err.until(asking)
            await story.gate.reached.wait()
            command.interrupt()
            done = await command.finished()
        assert done.code == 130
        told = re.search(r"canceled task ([0-9a-f-]{36})", plain(done.err))
        assert told is not None, done.err
        assert (await served.get(told[1])).status.state == CANCELED
        assert story.canceled.is_set()


async def test_out_of_time_does_not_cancel_the_task() -> None:
    """--cancel-on-interrupt is about Ctrl-C."""
    story = Story()
    async with serving(story.agent) as served:
        done = await run("stream", at(served), "--cancel-on-interrupt", "--timeout=3", "go")
        assert done.code == 5
        [task_id] = STOPPED.findall(done.err)
        assert (await served.get(task_id)).status.state == WORKING


# -- twice


async def test_ctrl_c_twice_ends_the_command_at_once() -> None:
    asked_to_stop, may_stop = asyncio.Event(), asyncio.Event()

    async def stubborn(turn: Turn) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            asked_to_stop.set()
            await may_stop.wait()

    async with serving(agent_of(stubborn)) as served:
        async with running("stream", at(served), "--cancel-on-interrupt", "go") as streaming:
            await streaming.err.until("WORKING")
            streaming.interrupt()
            await asyncio.wait_for(asked_to_stop.wait(), 30)
            assert streaming.process.returncode is None, "it waits for the agent to stop"
            streaming.interrupt()
            done = await streaming.finished()
        may_stop.set()
    assert done.code in (130, -signal.SIGINT)
    assert "Traceback" not in done.err


# -- a reader who has enough


async def test_a_reader_who_has_enough_ends_the_command_quietly(served: Served) -> None:
    task = await served.start({"artifact": {"id": "a", "text": "made"}}, {"complete": "x"})
    steps = script({"chunks": {"count": 300, "interval_s": 0.05}})

    async def cut_off(*arguments: str, after: str = "") -> tuple[int, bool]:
        async with running(*arguments, at(served)) as command:
            if after:
                await command.out.until(after)
            command.stop_reading()
            done = await command.finished()
            return done.code, "Error" in done.err

    ended = await asyncio.gather(
        cut_off("stream", "-d", steps, after="chunk 0 "),
        cut_off("stream", "-o", "json", "-d", steps, after="chunk 0 "),
        cut_off("send", "hello"),
        cut_off("get", task.id),
        cut_off("list"),
        cut_off("list", "-o", "json"),
    )
    assert list(ended) == [(0, False)] * 6


async def test_the_first_line_of_a_stream_can_be_had_with_head(served: Served) -> None:
    steps = script({"chunks": {"count": 300, "text": "line {i}\n", "interval_s": 0.05}})
    done = await run_line(f"a2a-grpc stream --agent {served.server.grpc_address} -d '{steps}' | head -1")
    assert (done.code, done.out) == (0, "line 0\n")
    assert [line.split()[0] for line in done.err.splitlines()] == ["SUBMITTED", "WORKING"]
