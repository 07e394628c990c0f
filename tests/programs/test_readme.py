"""What the README and the guides say beyond what `tests/docs` plays: sizes, options, programs, a crash."""

import asyncio
import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from a2a_grpc import Task, TaskArtifactUpdateEvent, connect, data_of, text_of
from a2a_grpc.cli.app import app
from tests.covers import covers
from tests.docs import pages
from tests.docs.pages import PAGES
from tests.docs.shell import commands
from tests.harness import ROOT, Program, serving
from tests.ports import free_address
from tests.test_surface import SETTINGS


def snippet(name: str, page: str = "README.md") -> str:
    """Return the code of a page that is saved under a name."""
    return next(block.text for block in pages.blocks(ROOT / page) if name in (block.name, block.how))


@functools.cache
def command_line_flags() -> frozenset[str]:
    """Every option of every verb, and those of the programs that the README names."""
    flags = {"--once"}
    commands: list[Any] = [typer.main.get_command(app())]
    for command in commands:
        commands += getattr(command, "commands", {}).values()  # `push` and `db` have commands of their own
        for parameter in command.params:
            flags |= {*parameter.opts, *parameter.secondary_opts}
    return frozenset(flags)


@pytest.fixture
def greeter(tmp_path: Path) -> Path:
    path = tmp_path / "greeter.py"
    path.write_text(snippet("greeter.py"))
    return path


@covers("P19")
def test_the_hello_world_agent_has_at_most_ten_lines_without_blanks() -> None:
    assert len([line for line in snippet("greeter.py").splitlines() if line.strip()]) <= 10


@covers("P19")
def test_the_hello_world_client_has_five_lines() -> None:
    assert len([line for line in snippet("run").splitlines() if line.strip()]) <= 5


async def test_the_hello_world_agent_runs_as_a_program(greeter: Path) -> None:
    environment = {**os.environ, "A2A_GRPC_LISTEN": "127.0.0.1:0", "A2A_GRPC_HTTP_LISTEN": "off"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(greeter), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    while not (line := await process.stdout.readline()).startswith(b"Ready"):
        assert line, "the program ended"
    assert re.fullmatch(rb"Ready grpc=127\.0\.0\.1:\d+ http=off\n", line)
    process.terminate()
    out, err = await process.communicate()
    assert (process.returncode, out.splitlines()[-1]) == (0, b"Stopped"), err


async def test_the_agent_with_a_memory_knows_what_was_said_before_in_the_same_context() -> None:
    namespace: dict[str, Any] = {}
    exec(snippet("chat.py", "docs/agent.md"), namespace)
    async with serving(namespace["agent"]) as served, connect(served.server.grpc_address) as client:
        said = []
        for text, context in (("one", "c"), ("two", "c"), ("other", "d"), ("three", "c")):
            said.append(text_of(await client.send(text, context_id=context)))
        assert said[0] == "You said one."
        assert said[2:] == ["You said other.", "You said one and two and three."]


@pytest.mark.long
async def test_the_chat_program_remembers_a_name_and_a_task_that_is_named() -> None:
    async with Program.server("servers/chat.py", "--store", "memory:") as agent, connect(agent.address) as client:
        told = await client.send("My name is Ada.", context_id="c")
        assert isinstance(told, Task)
        assert text_of(told) == "Noted, that makes 1."
        assert text_of(await client.send("What is my name?", context_id="c")) == "Ada."
        assert text_of(await client.send("What is my name?")) == "You have not told me."
        assert text_of(await client.send("What is my name?", reference_task_ids=[told.id])) == "Ada."


def typed(page: Path) -> list[str]:
    """Return the commands of a page that a reader types, a block each."""
    return [
        "".join(f"{command}\n" for command, _ in commands(block.text)) if block.kind == "console" else block.text
        for block in pages.blocks(page)
        if block.kind in ("sh", "console")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_can_be_typed_into_one_shell_one_after_the_other(page: Path) -> None:
    """Each is a script on its own, none has a comment (which zsh takes for a command), and none leaves its folder."""
    for block in typed(page):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, ""), block
        assert not re.search(r"(^|\s)#", re.sub(r"'[^']*'", "", block)), block
        assert not re.search(r"^\s*cd\s", block, re.MULTILINE), block


def test_make_serve_is_not_misled_by_the_variable_of_the_stubs_page() -> None:
    """`export AGENT=127.0.0.1:50051` stands in docs/stubs.md; `make serve` takes an agent's file by that name."""
    environment = {**os.environ, "AGENT": "127.0.0.1:50051"}
    for arguments, file in (([], "servers/translator.py"), (["AGENT=servers/scripted.py"], "servers/scripted.py")):
        done = subprocess.run(
            ["make", "--dry-run", "serve", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert f"a2a-grpc serve {file}" in done.stdout


def test_no_example_of_the_command_line_says_the_address_of_an_agent_to_it() -> None:
    """What stands behind the options of `send` and `stream` is the text."""
    for page in [*PAGES, *ROOT.glob("servers/*.py"), *ROOT.glob("clients/*.py")]:
        for line in page.read_text().splitlines():
            said = re.search(r"a2a-grpc (?:send|stream) .*?(\S+ )\S*127\.0\.0\.1:\d+", line)
            assert said is None or said[1] in ("--agent ", "-a ", "--sentinel "), f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_and_make_target_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    flags = {"--" + name.replace("_", "-") for kind in SETTINGS for name in kind.__dataclass_fields__}
    flags |= {"--help"} | command_line_flags()
    for flag in re.findall(r"`(--[a-z0-9-]+)", text):
        assert flag in flags, flag
    for target in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", text, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


async def test_the_resumable_agent_of_the_readme_goes_on_after_kill_9_and_the_client_never_stops_watching(
    tmp_path: Path,
) -> None:
    counter = tmp_path / "counter.py"
    counter.write_text(snippet("counter.py", "docs/durability.md").replace("asyncio.sleep(1)", "asyncio.sleep(0.05)"))
    options = ("-o", "json", "--http-listen=off", "--lease-s=2", f"--store=sqlite:///{tmp_path}/counter.tasks.db")
    serve = ("-m", "a2a_grpc", "serve", str(counter), *options)
    address = free_address()
    async with Program(*serve, f"--listen={address}") as first:
        async with connect(address) as client, client.stream("go") as events:
            seen = [await anext(events) for _ in range(20)]
            first.process.kill()
            await first.process.wait()
            async with Program(*serve, f"--listen={address}"):
                seen += [event async for event in events]
                assert events.task is not None
                task = await client.get(events.task.id)
    # A machine that is busy for longer than the lease causes further attempts.
    assert re.fullmatch(r"Counted to 100, in attempt [2-9]\.", text_of(task))
    counted = [data_of(event.artifact) for event in seen if isinstance(event, TaskArtifactUpdateEvent)]
    assert counted[:-1] == [float(number) for number in range(1, 101)]
