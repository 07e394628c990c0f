"""What the README shows is what happens."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from a2a_grpc import Task, TaskArtifactUpdateEvent, connect, data_of, text_of
from a2a_grpc.cli.app import app
from tests.harness import ROOT, Program, run_program, serving
from tests.test_surface import SETTINGS

README = (ROOT / "README.md").read_text()


def snippet(name: str) -> str:
    """The Python code under the comment `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def command_line_flags() -> Iterator[str]:
    """Every option of every verb, and those of the programs that the README names."""
    yield "--once"
    command = typer.main.get_command(app())
    for verb in command.commands.values():  # type: ignore[attr-defined]
        for parameter in verb.params:
            yield from (*parameter.opts, *parameter.secondary_opts)


@pytest.fixture
def greeter(tmp_path: Path) -> Path:
    path = tmp_path / "greeter.py"
    path.write_text(snippet("hello"))
    return path


def test_the_hello_world_agent_has_at_most_ten_lines_without_blanks() -> None:
    assert len([line for line in snippet("hello").splitlines() if line.strip()]) <= 10


async def test_the_hello_world_agent_is_served_and_answers_the_client_of_the_readme(
    greeter: Path, tmp_path: Path
) -> None:
    async with Program(
        "-m", "a2a_grpc", "serve", str(greeter), "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off"
    ) as agent:
        client = tmp_path / "client.py"
        client.write_text(snippet("stubs").replace("127.0.0.1:50051", agent.address))
        assert await run_program(str(client)) == (0, "Hello, Ada!\n", "")


def test_the_hello_world_client_has_five_lines() -> None:
    assert len([line for line in snippet("client").splitlines() if line.strip()]) <= 5  # P19


async def test_the_clients_of_the_readme_print_what_the_agent_says(greeter: Path, tmp_path: Path) -> None:
    async with Program(
        "-m", "a2a_grpc", "serve", str(greeter), "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off"
    ) as agent:
        for name in ("client", "events"):
            (tmp_path / f"{name}.py").write_text(snippet(name).replace("127.0.0.1:50051", agent.address))
        assert await run_program(str(tmp_path / "client.py")) == (0, "Hello, Ada!\n", "")
        exit_code, out, err = await run_program(str(tmp_path / "events.py"))
        assert (exit_code, err) == (0, "")
        first, *rest = out.splitlines()
        assert re.fullmatch(r"[0-9a-f-]{36} Hello, Ada!", first)
        assert rest == ["state: 2", "piece: Hello, Grace!", "state: 3"]


async def test_the_commands_of_the_readme_work_against_the_hello_world_agent(greeter: Path) -> None:
    found = re.search(r"<!-- session -->\n```console\n(.*?)```", README, re.DOTALL)
    assert found is not None
    commands = [shlex.split(line[2:]) for line in found[1].splitlines() if line.startswith("$ ")]
    assert [command[:2] for command in commands] == [
        ["a2a-grpc", verb] for verb in ("send", "stream", "list", "doctor")
    ]
    async with Program(
        "-m", "a2a_grpc", "serve", str(greeter), "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off"
    ) as agent:
        environment = {"A2A_GRPC_AGENT": agent.address}
        told = {command[1]: await run_program("-m", "a2a_grpc", *command[1:], env=environment) for command in commands}
    assert {verb: exit_code for verb, (exit_code, _, _) in told.items()} == dict.fromkeys(told, 0)
    assert told["send"][1] == "Hello, Ada!\n"
    assert re.fullmatch(r"COMPLETED [0-9a-f-]{36}\n", told["send"][2])
    assert told["stream"][1].startswith('{"task": {"id": "')
    assert len(told["list"][1].splitlines()) == 2
    assert told["doctor"][1].startswith("ok      DNS        127.0.0.1 is 127.0.0.1\nok      TCP  ")


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
    exec(snippet("chat"), namespace)
    async with serving(namespace["agent"]) as served, connect(served.server.grpc_address) as client:
        said = []
        for text, context in (("one", "c"), ("two", "c"), ("other", "d"), ("three", "c")):
            said.append(text_of(await client.send(text, context_id=context)))
        assert said[0] == "You said one."
        assert said[2:] == ["You said other.", "You said one and two and three."]


async def test_the_chat_program_remembers_a_name_and_a_task_that_is_named() -> None:
    async with Program.server("servers/chat.py", "--store", "memory:") as agent, connect(agent.address) as client:
        told = await client.send("My name is Ada.", context_id="c")
        assert isinstance(told, Task)
        assert text_of(told) == "Noted, that makes 1."
        assert text_of(await client.send("What is my name?", context_id="c")) == "Ada."
        assert text_of(await client.send("What is my name?")) == "You have not told me."
        assert text_of(await client.send("What is my name?", reference_task_ids=[told.id])) == "Ada."


def blocks(page: Path) -> list[str]:
    """The commands of a page that a reader types, a block each."""
    found = re.findall(r"^```(sh|console)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [
        text if kind == "sh" else "".join(line[2:] + "\n" for line in text.splitlines() if line.startswith("$ "))
        for kind, text in found
    ]


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_can_be_typed_into_one_shell_one_after_the_other(page: Path) -> None:
    """Each is a script on its own, none has a comment (which zsh takes for a command), and none leaves its folder."""
    for block in blocks(page):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, ""), block
        assert not re.search(r"(^|\s)#", re.sub(r"'[^']*'", "", block)), block
        assert not re.search(r"^\s*cd\s", block, re.MULTILINE), block


def test_make_serve_is_not_misled_by_the_variable_of_the_grpcurl_page() -> None:
    """`export AGENT=127.0.0.1:50051` stands in docs/grpcurl.md; `make serve` takes an agent's file by that name."""
    environment = {**os.environ, "AGENT": "127.0.0.1:50051"}
    for arguments, file in (([], "servers/translator.py"), (["AGENT=servers/scripted.py"], "servers/scripted.py")):
        done = subprocess.run(
            ["make", "--dry-run", "serve", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert f"a2a-grpc serve {file}" in done.stdout


async def test_the_commands_of_the_readme_work_as_they_stand_in_one_shell(greeter: Path) -> None:
    """Those that call an agent, with what the README says about standard output and standard error."""
    calling = [block for block in blocks(ROOT / "README.md") if re.match(r"a2a-grpc (?!serve)|export PATH", block)]
    assert len(calling) == 2
    async with Program(
        "-m", "a2a_grpc", "serve", str(greeter), "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off"
    ) as agent:
        script = "set -e\n" + "".join(calling).replace("127.0.0.1:50051", agent.address)
        if not (ROOT / "bin" / "grpcurl").exists():
            script = script.replace("grpcurl ", "echo grpcurl ")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        shell = await asyncio.create_subprocess_exec(
            "bash", cwd=ROOT, env={**os.environ, "PATH": path, "A2A_GRPC_AGENT": agent.address},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await shell.communicate(script.encode())
    assert shell.returncode == 0, err.decode()
    assert "Hello, Ada!\n" in out.decode()
    assert "All is well" in out.decode()


def test_no_example_of_the_command_line_says_the_address_of_an_agent_to_it() -> None:
    """What stands behind the options of `send` and `stream` is the text."""
    for page in [*PAGES, *ROOT.glob("servers/*.py"), *ROOT.glob("clients/*.py")]:
        for line in page.read_text().splitlines():
            said = re.search(r"a2a-grpc (?:send|stream) .*?(\S+ )\S*127\.0\.0\.1:\d+", line)
            assert said is None or said[1] in ("--agent ", "-a "), f"{page.name}: {line}"


def test_every_option_and_file_that_the_readme_names_exists() -> None:
    flags = {"--" + name.replace("_", "-") for kind in SETTINGS for name in kind.__dataclass_fields__}
    flags |= {"--help", *command_line_flags()}
    for flag in re.findall(r"`(--[a-z-]+)", README):
        assert flag in flags, flag
    for target in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


async def test_the_resumable_agent_of_the_readme_goes_on_after_kill_9_and_the_client_never_stops_watching(
    tmp_path: Path,
) -> None:
    counter = tmp_path / "counter.py"
    counter.write_text(snippet("resumable").replace("asyncio.sleep(1)", "asyncio.sleep(0.05)"))
    options = ("-o", "json", "--http-listen=off", "--lease-s=0.5", f"--store=sqlite:///{tmp_path}/counter.tasks.db")
    serve = ("-m", "a2a_grpc", "serve", str(counter), *options)
    async with Program(*serve, "--listen=127.0.0.1:0") as first:
        address = first.address
        async with connect(address) as client, client.stream("go") as events:
            seen = [await anext(events) for _ in range(20)]
            first.process.kill()
            await first.process.wait()
            async with Program(*serve, f"--listen={address}"):
                seen += [event async for event in events]
                assert events.task is not None
                task = await client.get(events.task.id)
    assert text_of(task) == "Counted to 100, in attempt 2."
    counted = [data_of(event.artifact) for event in seen if isinstance(event, TaskArtifactUpdateEvent)]
    assert counted[:-1] == [float(number) for number in range(1, 101)]
