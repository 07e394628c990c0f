"""`a2a-grpc stream`: what is told as it comes, through cuts and restarts."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from a2a_grpc import Client, Turn, connect
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.store import MemoryStore
from tests.agent.agents import Gate, agent_of
from tests.cli.terminal import at, error_of, plain, run, running, script
from tests.guarantees.rig import serving_on
from tests.harness import Program, Served, eventually, scripted, scripted_agent, serving
from tests.ports import free_address
from tests.proxy import Proxy

COLOURS = {"SUBMITTED": "2", "WORKING": "36", "COMPLETED": "32", "FAILED": "1;31", "REJECTED": "1;31",
           "CANCELED": "33", "INPUT_REQUIRED": "1;35", "AUTH_REQUIRED": "1;35"}  # fmt: skip
"""How a terminal is told the colour of each state."""


async def test_text_is_printed_as_it_comes() -> None:
    gate = Gate()

    async def work(turn: Turn) -> AsyncIterator[str]:
        yield "the first, "
        await gate.passed()
        yield "the last"

    async with serving(agent_of(work)) as served:
        async with (
            running("stream", at(served), "go") as piped,
            running("stream", at(served), "go", terminal=True) as shown,
        ):
            assert (await piped.out.until("the first, ")) == "the first, "
            assert "the last" not in await shown.out.until("the first, ")
            gate.opened.set()
            done, at_terminal = await asyncio.gather(piped.finished(), shown.finished())
    assert (done.code, done.out) == (0, "the first, the last\n")
    assert "the first, the last\n" in plain(at_terminal.out)


async def test_states_are_told_in_order_by_word_with_what_the_agent_says(served: Served) -> None:
    steps = script({"status": "reading"}, {"artifact": {"text": "made", "last": True}}, {"fail": "out of ink"})
    done = await run("stream", at(served), "-d", steps)
    assert (done.code, done.out) == (1, "made\n")
    assert re.sub(" [0-9a-f-]{36}", "", done.err).splitlines() == [
        "SUBMITTED",
        "WORKING",
        "WORKING reading",
        "FAILED out of ink",
    ]


async def test_states_have_colours_on_a_terminal_alone() -> None:
    async with serving(scripted_agent()) as served:
        task = await served.start({"sleep": 60})
        shown = await asyncio.gather(
            *(run("stream", at(served), "-d", script({end: "x"}), terminal=True)
              for end in ("complete", "fail", "reject", "input", "auth")),
            run("cancel", at(served), task.id, terminal=True),
        )  # fmt: skip
        piped, no_colour, dumb = await asyncio.gather(
            run("stream", at(served), "hello"),
            run("stream", at(served), "hello", terminal=True, env={"NO_COLOR": "1"}),
            run("stream", at(served), "hello", terminal=True, env={"TERM": "dumb"}),
        )
    everything = "".join(done.out for done in shown)
    for state, colour in COLOURS.items():
        assert f"\x1b[{colour}m{state}\x1b[0m" in everything
    assert "\x1b" not in piped.out + piped.err
    assert "\x1b[32m" not in no_colour.out
    assert "\x1b" not in dumb.out
    for done in (piped, no_colour, dumb):
        assert "COMPLETED" in done.err


async def test_what_is_told_on_standard_error_leaves_no_mark_in_the_text(served: Served) -> None:
    """A story that is written to a file is the agent's, whatever states and progress come in between."""
    steps = script(
        {"artifact": {"id": "story", "text": "Once "}},
        {"status": "thinking"},
        {"artifact": {"id": "story", "text": "upon ", "append": True}},
        {"artifact": {"id": "p", "name": "progress", "data": {"progress": 0.5}}},
        {"artifact": {"id": "story", "text": "a time", "append": True, "last": True}},
    )
    done = await run("stream", at(served), "-d", steps)
    assert (done.code, done.out) == (0, "Once upon a time\n")


async def test_each_artifact_begins_on_a_line_of_its_own(served: Served) -> None:
    steps = script(
        {"chunks": {"id": "a", "count": 2, "text": "a{i} "}},
        {"chunks": {"id": "b", "count": 2, "text": "b{i} "}},
        {"artifact": {"id": "c", "text": "c", "last": True}},
    )
    streamed, sent = await asyncio.gather(run("stream", at(served), "-d", steps), run("send", at(served), "-d", steps))
    assert streamed.out == "a0 a1 \nb0 b1 \nc\n"
    assert sent.out == streamed.out


async def test_line_ends_of_the_agent_are_not_doubled(served: Served) -> None:
    done = await run("stream", at(served), "-d", script({"chunks": {"count": 2, "text": "line {i}\n"}}))
    assert (done.code, done.out) == (0, "line 0\nline 1\n")


# -- lost connections


async def test_a_cut_is_not_seen() -> None:
    gate = Gate()

    async def work(turn: Turn) -> AsyncIterator[str]:
        for i in range(20):
            yield f"word {i} "
        await gate.passed()
        yield "the last"

    async with serving(agent_of(work)) as served, Proxy(served.server.grpc_address) as proxy:
        async with running("stream", f"--agent={proxy.address}", "go") as command:
            await command.out.until("word 19 ")
            proxy.cut()
            gate.opened.set()
            done = await command.finished()
        assert proxy.cuts == 1
    assert (done.code, done.out) == (0, "".join(f"word {i} " for i in range(20)) + "the last\n")
    assert [line.split()[0] for line in done.err.splitlines()] == ["SUBMITTED", "WORKING", "COMPLETED"]


class LastingStore(MemoryStore):
    """Keeps its tasks when its server closes it, as a durable one does."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = self.shared = self.keeps_messages = True

    async def close(self) -> None:
        pass


async def test_a_task_outlives_its_server_where_the_store_does() -> None:
    store, agent = LastingStore(), scripted_agent()
    async with AsyncExitStack() as stack:
        address = free_address()
        async with serving_on(store, agent, listen=address) as first:
            task = (await first.send(scripted({"artifact": {"id": "a", "text": "before"}}, {"input": "go?"}))).task
            watching = await stack.enter_async_context(running("subscribe", f"--agent={address}", task.id))
            await watching.err.until("INPUT_REQUIRED")
        async with serving_on(store, agent, listen=address) as second:
            await second.send(scripted({"chunks": {"count": 2}}, task_id=task.id))
            done = await watching.finished()
    assert (done.code, done.out) == (0, "before\nchunk 0 chunk 1 \n")
    assert done.err.endswith(f"COMPLETED {task.id}\n")


async def test_a_server_killed_in_the_middle_that_comes_back_without_the_task_is_told_in_a_sentence() -> None:
    async with AsyncExitStack() as stack:
        serve = ("servers/scripted.py", "-o", "json", "--http-listen=off", "--listen", free_address())
        first = await stack.enter_async_context(Program(*serve))
        agent = f"--agent={first.address}"
        steps = script({"chunks": {"count": 2}}, {"sleep": 60})
        streaming = await stack.enter_async_context(running("stream", agent, "-d", steps))
        sending = await stack.enter_async_context(running("send", agent, "-d", steps, "-v"))
        await streaming.out.until("chunk 1 ")
        await sending.err.until("a2a-grpc-seq")  # who has not heard of its task sends its message again
        async with connect(first.address) as client:
            await eventually(lambda: begun(client, 2), within_s=30)
        first.process.kill()
        await first.process.wait()
        await stack.enter_async_context(Program(*serve))
        streamed, sent = await asyncio.gather(streaming.finished(), sending.finished())
    assert (streamed.code, streamed.out) == (6, "chunk 0 chunk 1 \n")
    assert (sent.code, sent.out) == (6, "")
    for done in (streamed, sent):
        assert re.match(
            rf"Error: task '[0-9a-f-]{{36}}' is gone: '{first.address}' does not know it any more; "
            r"was the agent restarted without a durable store\?",
            done.err.splitlines()[-1],
        )
        assert "Traceback" not in done.err


async def begun(client: Client, tasks: int) -> None:
    assert len([task async for task in client.list() if task.status.state == WORKING]) == tasks


async def test_a_server_that_drains_and_comes_back_without_the_task_is_told_in_a_sentence() -> None:
    async with AsyncExitStack() as stack:
        address = free_address()
        async with serving(scripted_agent(), listen=address) as first:
            task = await first.start({"input": "go?"})
            watching = await stack.enter_async_context(running("subscribe", f"--agent={address}", task.id))
            await watching.err.until("INPUT_REQUIRED")
        async with serving(scripted_agent(), listen=address):
            done = await watching.finished()
    assert (done.code, done.out) == (6, "")
    assert f"Error: task '{task.id}' is gone" in done.err.splitlines()[-1]


async def test_a_server_that_stays_away_is_given_up_with_exit_code_3() -> None:
    async with serving(scripted_agent()) as served, Proxy(served.server.grpc_address) as proxy:
        async with running(
            "stream", f"--agent={proxy.address}", "--give-up-after-s=0.5", "-d", script({"sleep": 60})
        ) as command:
            await command.err.until("WORKING")
            proxy.close()
            done = await command.finished()
    assert (done.code, done.out) == (3, "")
    assert re.search(
        r"^Error: gave up following task '[0-9a-f-]{36}', without contact for 0.5 s: ", done.err, re.MULTILINE
    )


async def test_an_agent_that_stays_away_is_told_once_on_standard_error_and_so_is_its_return() -> None:
    async with serving(scripted_agent()) as served, Proxy(served.server.grpc_address) as proxy:
        steps = script({"sleep": 6}, {"artifact": {"text": "made", "last": True}})
        async with running("stream", f"--agent={proxy.address}", "-o", "json", "-d", steps) as command:
            await command.out.until("WORKING")
            proxy.close()
            said = await command.err.until("Ctrl-C stops")
            assert re.search(r"^the agent does not answer \(.*\); trying again for at most 300 s, Ctrl-C stops", said)
            await proxy.reopen()
            await command.err.until("the agent answers again")
            done = await command.finished()
    assert done.code == 0
    assert len(done.err.splitlines()) == 2, done.err
    assert all(line.startswith("{") for line in done.out.splitlines())


async def test_a_timeout_names_why_the_agent_does_not_answer() -> None:
    async with serving(scripted_agent()) as served, Proxy(served.server.grpc_address) as proxy:
        async with running("stream", f"--agent={proxy.address}", "--timeout=4", "-d", script({"sleep": 60})) as command:
            await command.err.until("WORKING")
            proxy.close()
            done = await command.finished()
    assert done.code == 5
    assert re.search(r"^Error: not done within 4 s; the agent does not answer \(.+\)$", done.err, re.MULTILINE)


async def test_nobody_there_is_said_in_one_line() -> None:
    assert error_of(await run("stream", "--agent=127.0.0.1:1", "go"), 3) == (
        "nothing listens at 127.0.0.1:1; check the port, and that the agent is running"
    )
