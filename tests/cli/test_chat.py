"""`a2a-grpc chat`: at a real terminal, with Ctrl-C and a history, and in a pipe."""

import re
from pathlib import Path

from a2a_grpc import Failed, text_of
from a2a_grpc.parts import files_of
from a2a_grpc.testing import Ask, Pause, Pieces, ScriptedAgent, Status
from a2a_grpc.testing import running as serving_agent
from tests.cli.keyboard import CTRL_C, CTRL_D, UP, typing_at
from tests.cli.terminal import objects, run


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
            assert await terminal.ended() == 130


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
