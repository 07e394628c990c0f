"""Whatever an agent says, it does not control the terminal, nor crash the command line."""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc.harmless import GUTTER, LINE_MAX, block, harmless, harmless_json, one_line
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.wire import A2AServiceStub, CancelTaskRequest, GetTaskRequest, ListTasksRequest, Task
from tests.cli.hostile import (
    CONTENT,
    EVIL,
    FORGED,
    LONG,
    harm,
    hostile_agent,
    hostile_card,
    hostile_failure,
    hostile_task,
    is_harmful,
    run_many,
)
from tests.cli.keyboard import CTRL_D, typing_at
from tests.cli.terminal import A2A_GRPC, run, running
from tests.client.peers import Page, Site
from tests.harness import V1, message, request

DUMB = {"NO_COLOR": "1", "TERM": "dumb"}

WORDS = (
    ("send", "hi", "--timeout=5"),
    ("send", "hi", "--no-wait"),
    ("stream", "hi", "--timeout=5"),
    ("subscribe", "t-1", "--timeout=5"),
    ("wait", "t-1", "--timeout=5"),
    ("wait", "t-1", "--poll=0.1", "--timeout=5"),
    ("get", "t-1"),
    ("list", "--limit=3"),
    ("cancel", "t-1"),
    ("push", "create", "t-1", "https://hooks.example/"),
    ("push", "get", "t-1", "p-1"),
    ("push", "list", "t-1"),
    ("push", "delete", "t-1", "p-1"),
    ("card", "--extended"),
    ("health",),
    ("health", "--service=x"),
    ("ping", "--count=2", "--interval=0"),
    ("doctor",),
)
"""Every verb that calls an agent by its address."""


def commands(address: str) -> list[tuple[str, ...]]:
    """Every verb, with every way to tell of it."""
    agent = f"--agent={address}"
    return [
        (*words, agent, *telling) for words in WORDS for telling in ((), ("-v",), ("-o", "json"), ("-o", "json", "-v"))
    ]


async def check(commands: Sequence[Sequence[str]], env: dict[str, str]) -> None:
    """Runs the commands at a terminal: no harm is done, and nothing crashes."""
    ran = await run_many(commands, terminal=True, env=env)
    found = {" ".join(done.arguments): harm(done.out) for done in ran}
    assert {line: wrong for line, wrong in found.items() if wrong} == {}
    assert [(done.arguments, done.out) for done in ran if "Traceback" in done.out or done.code == "crash"] == []
    assert any("[bold]" in done.out for done in ran), "the agent's markup is shown as it is"


@pytest.mark.few
@pytest.mark.parametrize(
    ("task", "env"),
    [
        (hostile_task(COMPLETED, is_wild=True), DUMB),
        (hostile_task(FAILED), {}),
        (hostile_task(INPUT_REQUIRED), DUMB),
    ],
    ids=["wild", "failed", "question"],
)
async def test_no_answer_of_a_hostile_agent_controls_the_terminal(task: Task, env: dict[str, str]) -> None:
    async with hostile_agent(task) as agent:
        await check(commands(agent.address), env)


async def test_no_hostile_agent_controls_the_terminal_of_a_chat(tmp_path: Path) -> None:
    task = hostile_task(INPUT_REQUIRED)
    task.status.message.parts[0].text = CONTENT  # a question is content in a chat
    async with hostile_agent(task) as agent:
        async with typing_at("chat", f"--agent={agent.address}", state=tmp_path, env=DUMB) as terminal:
            await terminal.shows("> ")
            for line, shown in (("hello", "evil"), ("/tasks all", "INPUT_REQUIRED"), ("/attach t-1", "evil")):
                terminal.type(f"{line}\n")
                await terminal.shows(shown)
                await terminal.shows("answer> ")
            terminal.type(CTRL_D)
            assert await terminal.ended() == 0
            assert "[bold]" in terminal.written, "the agent's markup is shown as it is"
            assert harm(terminal.written) == []


@pytest.mark.few
@pytest.mark.parametrize(("code", "env"), [(grpc.StatusCode.INTERNAL, {}), (grpc.StatusCode.FAILED_PRECONDITION, DUMB)])
@pytest.mark.long
async def test_no_error_of_a_hostile_agent_controls_the_terminal(code: grpc.StatusCode, env: dict[str, str]) -> None:
    async with hostile_agent(failure=hostile_failure(code)) as agent:
        await check(commands(agent.address), env)


@pytest.mark.long
async def test_no_card_controls_the_terminal(tmp_path: Path) -> None:
    pages = {
        "valid": hostile_card(),
        "name.json": hostile_card(**{EVIL: EVIL}),
        "kind.json": hostile_card(capabilities=EVIL),
        "broken.json": b'{"name": "' + EVIL.encode(),
        "surrogate.json": json.dumps({"name": "\ud800\udfff\udc80" + EVIL}).encode(),
        "deep.json": b'{"name": ' + b"[" * 100_000,
        "enum.json": hostile_card(name=LONG, description=LONG + EVIL),
    }
    lines: list[tuple[str, ...]] = []
    for name, page in pages.items():
        (tmp_path / name).write_bytes(page)
        for words in (("card",), ("card", "--validate"), ("card", "-o", "json"), ("doctor",)):
            lines.append((*words, str(tmp_path / name)))
    evil = tmp_path / EVIL.replace("/", "|").replace("\0", "")[:80]
    lines += [("card", str(evil)), ("list", "--agent", str(evil))]
    async with Site(Page(hostile_card())) as site, Site(Page(status=404)) as missing:
        lines += [("card", site.url), ("card", site.url, "--validate"), ("doctor", site.url)]
        lines += [("get", "t", "-a", site.url), ("card", f"{missing.url}/\u202eevil"), ("doctor", missing.url)]
        await check(lines, {})


@pytest.mark.long
async def test_a_waiting_sign_and_a_bar_are_drawn_around_hostile_text() -> None:
    """Each moves the cursor; what comes meanwhile is still only text."""
    task = hostile_task(COMPLETED)
    part = task.artifacts[0].parts[0]
    part.Clear()
    part.data.struct_value.update({"progress": 0.5})
    task.status.message.parts[0].text = CONTENT  # it is the answer, as no artifact has text
    async with hostile_agent(task) as agent:
        await check([*commands(agent.address), ("get", EVIL.replace("\0", ""), f"--agent={agent.address}", "-v")], {})


async def test_a_pipe_gets_what_the_agent_said() -> None:
    task = hostile_task(COMPLETED)
    async with hostile_agent(task) as agent:
        shown, as_json = await asyncio.gather(
            run("get", "t-1", f"--agent={agent.address}"),
            run("push", "list", "t-1", f"--agent={agent.address}", "-o", "json"),
        )
    assert task.artifacts[0].parts[0].text in shown.out
    assert json.loads(as_json.out)["url"] == EVIL
    assert harm(shown.err) == [], "standard error is for people, wherever it goes"


# -- the functions


def test_every_character_that_unicode_calls_a_control_or_a_format_is_replaced() -> None:
    wrong = [
        hex(number)
        for number in range(sys.maxunicode + 1)
        if is_harmful(chr(number)) and "\N{REPLACEMENT CHARACTER}" not in harmless(f"a{chr(number)}b")
    ]
    assert wrong == []


def test_text_of_every_script_and_emoji_of_several_people_stay_as_they_are() -> None:
    for text in (
        "Grüße, ça va? 你好 こんにちは 안녕하세요 שלום مرحبا",
        "می\u200cخواهم",
        "क\u094d\u200dष",
        "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈 👩🏽\u200d💻 ✔\ufe0f",
        "a\u0301e\u0302\u0303",
        "line\n\tindented",
    ):
        assert harmless(text) == text


def test_accents_do_not_reach_into_other_lines() -> None:
    assert harmless("Z" + "\u0336\u0351" * 50) == "Z" + "\u0336\u0351" * 4
    for mark in "\u0e47\u0670\u0f72\u20dd":  # Thai, Arabic, Tibetan, and one that encloses
        assert harmless(f"\u0e01{mark * 100}x") == f"\u0e01{mark * 8}x"


def test_a_line_is_one_line_of_bounded_length_and_a_block_stands_behind_a_gutter() -> None:
    assert one_line("a\r\nb\tc\u2028d\x1be") == "a b c d\N{REPLACEMENT CHARACTER}e"
    assert len(one_line(LONG)) == LINE_MAX + 1
    assert block(f"a\n{FORGED}\r\nb") == f"a\n{GUTTER}{FORGED}\n{GUTTER}b"


def test_json_at_a_terminal_means_what_it_meant() -> None:
    text = json.dumps({"a": EVIL, EVIL: "\U000e0041"}, ensure_ascii=False)
    safe = harmless_json(text)
    assert json.loads(safe) == json.loads(text)
    assert [character for character in safe if is_harmful(character)] == []


# -- the server's own lines


HOSTILE_AGENT = """
from a2a_grpc import Agent, Turn, serve
from a2a_grpc.parts import text_of

agent = Agent("Fails", "Fails with the words of its caller.")


@agent.skill()
async def fail(turn: Turn) -> None:
    raise RuntimeError(f"cannot read {text_of(turn.message)}")


if __name__ == "__main__":
    serve(agent, store="memory:", listen="127.0.0.1:0", http_listen="off")
"""


async def call_with_hostile_words(address: str) -> None:
    """Every text that a caller may choose, hostile: in calls that are served, that are refused, that fail."""
    sent = message(EVIL)
    wild = [
        GetTaskRequest(id=EVIL),
        GetTaskRequest(id="t", tenant=EVIL),
        CancelTaskRequest(id=EVIL),
        ListTasksRequest(page_token=EVIL, context_id=EVIL),
    ]
    options = [("grpc.primary_user_agent", "evil [bold] agent")]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = A2AServiceStub(channel)
        await stub.SendMessage(request(sent), metadata=(*V1, ("x-evil-bin", EVIL.encode())))
        for call in (stub.GetTask(wild[0], metadata=V1), stub.GetTask(wild[1], metadata=V1),
                     stub.CancelTask(wild[2], metadata=V1), stub.ListTasks(wild[3], metadata=V1),
                     stub.GetTask(wild[0], metadata=(("a2a-version", "evil [bold]"),))):  # fmt: skip
            with pytest.raises(grpc.aio.AioRpcError):
                await call
        unknown: Any = channel.unary_unary("/lf.a2a.v1.A2AService/Evil%1b[31m")
        with pytest.raises(grpc.aio.AioRpcError):
            await unknown(b"\xff\x1b]0;title\x07\n" + FORGED.encode(), metadata=V1)
        garbage: Any = channel.unary_unary("/lf.a2a.v1.A2AService/GetTask")
        with pytest.raises(grpc.aio.AioRpcError):
            await garbage(b"\xff\x1b]0;title\x07\n" + FORGED.encode(), metadata=V1)


@pytest.mark.few
@pytest.mark.parametrize("program", ["a2a-grpc serve", "serve(agent)"])
@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
async def test_no_caller_writes_lines_of_its_own_into_the_servers_log(
    tmp_path: Path, terminal: bool, program: str
) -> None:
    (tmp_path / "fails.py").write_text(HOSTILE_AGENT)
    quiet = ("--store=memory:", "--listen=127.0.0.1:0", "--http-listen=off", "--log-level=debug")
    file = str(tmp_path / "fails.py")
    command = (*A2A_GRPC, "serve", file, *quiet) if program == "a2a-grpc serve" else (sys.executable, file)
    async with running(terminal=terminal, env=DUMB, program=command) as server:
        ready = await server.out.until("Ready grpc=")
        address = re.search(r"Ready grpc=(\S+)", ready)
        assert address is not None
        await call_with_hostile_words(address[1])
        await server.err.until("cannot read evil")
        server.interrupt()
        done = await server.finished()
    log = done.err.replace("\r\n", "\n")
    assert "handler failed" in log
    assert harm(log) == []
    if not terminal:
        begins = re.compile(r"\d{4}-\d\d-\d\d |Note  |" + re.escape(GUTTER))
        assert [line for line in log.splitlines() if not begins.match(line)] == []
