"""`a2a-grpc chat`: at a real terminal, with Ctrl-C and a history, and in a pipe."""

import asyncio
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc

from a2a_grpc import Failed, Task, TaskState, lifecycle, text_of
from a2a_grpc.cli.files import MAX_BYTES
from a2a_grpc.parts import files_of
from a2a_grpc.testing import Ask, Pause, Pieces, ScriptedAgent, Status
from a2a_grpc.testing import running as serving_agent
from a2a_grpc.wire import ROLE_AGENT, Message, Part, StreamResponse, TaskStatus
from tests.cli.keyboard import CTRL_C, CTRL_D, UP, typing_at
from tests.cli.terminal import objects, run
from tests.client.peers import Failure, peering
from tests.harness import eventually


async def test_a_conversation_at_a_terminal(tmp_path: Path) -> None:
    letter = tmp_path / "a letter.txt"
    letter.write_text("Dear Ada")
    agent = ScriptedAgent(
        [Status("looking"), Pieces("Good ", "mor\x1b[31mning")],
        [Ask("Which date?"), "Booked."],
        "Read.",
        [Pieces("Once", " upon"), Pause(10_000)],
        Failed("out of ink"),
        [Ask("Your password?", auth=True), "Signed in."],
        "Another one.",
    )
    state = tmp_path / "state"
    async with serving_agent(agent) as client:
        async with typing_at("chat", f"--agent={client.target}", state=state) as terminal:
            await terminal.shows("> ")
            terminal.type("hello\n")
            await terminal.shows("looking")
            await terminal.shows("Good mor\N{REPLACEMENT CHARACTER}[31mning")
            await terminal.shows("> ")
            terminal.type("a table\n")
            await terminal.shows("Which date?")
            assert "Which date?" not in await terminal.shows("answer> ")
            terminal.type("Friday\n")
            await terminal.shows("Booked.")
            await terminal.shows("> ")
            terminal.type(f"/file {letter}\n")
            await terminal.shows("1 file > ")
            terminal.type("read this\n")
            await terminal.shows("Read.")
            await terminal.shows("> ")
            terminal.type("a story\n")
            await terminal.shows("Once upon")
            terminal.type(CTRL_C)
            await terminal.shows("CANCELED")
            await terminal.shows("> ")
            terminal.type("/wrong\n")
            await terminal.shows("there is no command '/wrong'")
            terminal.type("//slash\n")
            await terminal.shows("FAILED")
            await terminal.shows("out of ink")
            terminal.type("/tasks\n")
            rows = await terminal.shows("COMPLETED")
            assert rows.count("FAILED") == rows.count("CANCELED") == 1
            await terminal.shows("> ")
            terminal.type("sign in\n")
            await terminal.shows("AUTH_REQUIRED")
            await terminal.shows("answer> ")
            terminal.type("secret word\n")
            await terminal.shows("Signed in.")
            terminal.type("/new\n")
            await terminal.shows("another conversation")
            await terminal.shows("> ")
            terminal.type("hello\n")
            await terminal.shows("Another one.")
            await terminal.shows("> ")
            terminal.type(CTRL_D)
            assert await terminal.ended() == 0
        contexts = [message.context_id for message in agent.received]
        assert len(set(contexts[:-1])) == 1
        assert contexts[-1] not in contexts[:-1]
        assert [text_of(message) for message in agent.received[:3]] == ["hello", "a table", "Friday"]
        assert files_of(agent.received[3])[0].filename == "a letter.txt"
        assert text_of(agent.received[5]) == "/slash"

        history = state / "a2a-grpc" / "chat_history"
        assert history.stat().st_mode & 0o077 == 0
        kept = history.read_text().splitlines()
        assert kept[0] == "hello"
        assert kept[-1] == "hello"
        assert "secret word" not in kept
        async with typing_at("chat", f"--agent={client.target}", state=state) as terminal:
            await terminal.shows("> ")
            terminal.type(UP + UP)
            await terminal.shows("/new")
            await terminal.interrupted("once more leaves")
            await terminal.interrupted()
            assert await terminal.ended() in (130, -signal.SIGINT)  # a further Ctrl-C may meet the end of the process


def task(state: TaskState, says: str = "", context: str = "c-1") -> StreamResponse:
    status = TaskStatus(state=state, message=Message(role=ROLE_AGENT, parts=[Part(text=says)] if says else []))
    return StreamResponse(task=Task(id="t-1", context_id=context, status=status))


def broken_off() -> Iterator[StreamResponse]:
    yield task(lifecycle.WORKING, context="c-2")
    raise RuntimeError("the stream of this test breaks off")


async def test_answers_that_do_not_arrive_and_ctrl_c_lose_neither_the_question_nor_the_conversation(
    tmp_path: Path,
) -> None:
    options = ("--give-up-after-s=0",)
    async with peering() as peer, typing_at("chat", f"--agent={peer.address}", *options, state=tmp_path) as terminal:
        sends = partial(peer.of, "SendStreamingMessage")

        async def interrupt(line: str, rpc: str) -> None:
            """Type a line, and Ctrl-C when its call is under way."""
            before, peer.held = len(peer.of(rpc)), asyncio.Event()
            terminal.type(line)
            await eventually(lambda: _assert(len(peer.of(rpc)) == before + 1))
            peer.held = None
            terminal.type(CTRL_C)

        await terminal.shows("> ")
        peer.answers["SendStreamingMessage"] = task(lifecycle.INPUT_REQUIRED, "Which date?")
        terminal.type("a table\n")
        await terminal.shows("answer> ")
        peer.failures = [Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls")]
        terminal.type("Friday\n")
        await terminal.shows("too many calls")
        await terminal.shows("answer> ")
        for line, rpc in (("/tasks\n", "ListTasks"), ("/cancel\n", "CancelTask"), ("/attach t-1\n", "GetTask")):
            await interrupt(line, rpc)
            await terminal.shows("answer> ")
        peer.answers["CancelTask"] = task(lifecycle.CANCELED).task
        await interrupt("Friday\n", "SendStreamingMessage")
        await terminal.shows("CANCELED t-1")
        await terminal.shows("> ")
        assert [call.request.message.task_id for call in sends()] == ["", "t-1", "t-1"]
        assert [call.request.id for call in peer.of("CancelTask")] == ["t-1", "t-1"]

        terminal.type("/new\n")
        await terminal.shows("another conversation")
        peer.answers["SendStreamingMessage"] = broken_off()
        peer.failures, peer.always = [None], Failure(grpc.StatusCode.UNAVAILABLE, "gone")
        terminal.type("a story\n")
        await terminal.shows("Error: ")
        await terminal.shows("> ")
        peer.always = None
        peer.answers["SendStreamingMessage"] = task(lifecycle.INPUT_REQUIRED, "Which one?")
        terminal.type("go on\n")
        await terminal.shows("answer> ")
        assert [call.request.message.context_id for call in sends()] == ["", "c-1", "c-1", "", "c-2"]
        terminal.type("/quit\n")
        assert await terminal.ended() == 0


async def test_lines_that_are_no_text_end_no_conversation(tmp_path: Path) -> None:
    async with serving_agent(ScriptedAgent("one")) as client:
        at = f"--agent={client.target}"
        done = await run("chat", at, stdin="/file a\0b\n", env={"XDG_STATE_HOME": str(tmp_path)})
        assert (done.code, done.out) == (2, "")
        assert "no file has such a name" in done.err
        large = tmp_path / "large"
        with large.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
        done = await run("chat", at, stdin=f"/file {large}\n", env={"XDG_STATE_HOME": str(tmp_path)})
        assert (done.code, done.out) == (2, "")
        assert f"cannot read '{large}': it is larger than 512 MiB" in done.err
        keeps_bytes, is_strict = {"LC_ALL": "C"}, {"PYTHONIOENCODING": "utf-8:strict"}
        for env, said in ((keeps_bytes, "the text is not UTF-8"), (is_strict, "the line is not text in utf-8")):
            async with typing_at("chat", at, state=tmp_path, env=env) as terminal:
                await terminal.shows("> ")
                terminal.type("gr\udcfc\udcdfe\n")
                await terminal.shows(said)
                await terminal.shows("> ")
                terminal.type(CTRL_D)
                assert await terminal.ended() == 0
    assert (tmp_path / "a2a-grpc" / "chat_history").read_text() == "gr??e\n"


async def test_in_a_pipe_each_line_is_a_message_and_the_exit_code_tells_of_a_failure(tmp_path: Path) -> None:
    agent = ScriptedAgent(
        *("one", "two"),
        *(Failed("no ink"), "later"),
        [Ask("Which?"), "yes"],
        [Ask("Which?"), "no"],
        "in a pipe",
    )
    async with serving_agent(agent) as client:
        at, env = f"--agent={client.target}", {"XDG_STATE_HOME": str(tmp_path)}
        done = await run("chat", at, stdin="a\n\nb\n/help\n", env=env)
        assert (done.code, done.out) == (0, "one\ntwo\n")
        assert "\x1b" not in done.err
        assert agent.received[0].context_id == agent.received[1].context_id
        done = await run("chat", at, stdin="a\nb\n", env=env)
        assert (done.code, done.out) == (1, "later\n")
        assert re.fullmatch(r"FAILED \S+ no ink\n", done.err)
        done = await run("chat", at, stdin="a\nthis\n", env=env)
        assert (done.code, done.out) == (0, "Which?\nyes\n")
        done = await run("chat", at, "-o", "json", stdin="a", env=env)
        assert done.code == 7
        task_id = objects(done.out)[0]["task"]["id"]
        done = await run("chat", at, f"--task={task_id}", stdin="that\n/wrong\nnever sent\n", env=env)
        assert (done.code, done.out) == (2, "no\n")
        assert "Error: there is no command '/wrong'" in done.err
        done = await run("chat", at, "--context=c-1", stdin="a", env=env)
        assert (done.code, done.out) == (0, "in a pipe\n")
        assert (len(agent.received), agent.received[-1].context_id) == (9, "c-1")
    done = await run("chat", at, stdin="a\nb\n", env=env)
    assert (done.code, done.out) == (3, "")
    assert list(tmp_path.iterdir()) == []


def _assert(holds: bool) -> None:
    assert holds
