"""`a2a-grpc init`: the questions, the files, and that these run."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from a2a_grpc.cli.project import FILES, Kind, files_of
from tests.cli.keyboard import typing_at
from tests.cli.terminal import error_of, run, run_line
from tests.harness import ROOT, Program

NAME = 'My "best" \\ {agent}'


async def test_it_asks_three_questions_at_a_terminal_and_none_without_one(tmp_path: Path) -> None:
    async with typing_at("init", str(tmp_path / "poet"), state=tmp_path) as terminal:
        await terminal.shows("Name of the agent [Poet]: ")
        terminal.type("\n")
        await terminal.shows("What it does [Answers messages.]: ")
        terminal.type("x" * 301 + "\n")
        await terminal.shows("--description has 301 characters; at most 300 are allowed")
        terminal.type("Writes poems.\n")
        await terminal.shows("Kind (plain, streaming, asking) [plain]: ")
        terminal.type("dancing\n")
        await terminal.shows("--kind is 'dancing'")
        terminal.type("stream\n")
        await terminal.shows("Wrote agent.py")
        assert await terminal.ended() == 0
    written = (tmp_path / "poet" / "agent.py").read_text()
    assert 'Agent("Poet", "Writes poems.")' in written
    assert "yield" in written
    async with typing_at("init", str(tmp_path / "other"), "--name=Other", state=tmp_path) as terminal:
        await terminal.shows("What it does")
        await terminal.interrupted("nothing was written")
        assert await terminal.ended() == 130
    assert not (tmp_path / "other").exists()
    done = await run("init", str(tmp_path / "quiet one"), stdin="")
    assert (done.code, done.err) == (0, "")
    assert f"cd '{tmp_path}/quiet one'" in done.out
    assert 'Agent("Quiet one"' in (tmp_path / "quiet one" / "agent.py").read_text()
    assert sorted(os.listdir(tmp_path / "quiet one")) == sorted(FILES)


async def test_files_that_exist_and_wrong_values_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("mine")
    (tmp_path / "pyproject.toml").symlink_to("/dev/null")
    said = error_of(await run("init", str(tmp_path)), 2)
    assert said.startswith(f"{tmp_path}/agent.py, {tmp_path}/pyproject.toml exist, so nothing was written")
    assert sorted(os.listdir(tmp_path)) == ["agent.py", "pyproject.toml"]
    done = await run("init", str(tmp_path), "--force", "--name", NAME)
    assert done.code == 0
    assert not (tmp_path / "pyproject.toml").is_symlink()
    for option, wrong in (("--name", "two\nlines"), ("--name", " "), ("--description", "x" * 301)):
        assert option in error_of(await run("init", str(tmp_path / "new"), option, wrong), 2)
    assert "is not a folder" in error_of(await run("init", str(tmp_path / "agent.py")), 2)
    assert not (tmp_path / "new").exists()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for folder in (tmp_path / ("x" * 300), tmp_path / "loop"):
        said = error_of(await run("init", str(folder)), 2)
        assert str(folder) in said
    said = error_of(await run_line(f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone && exec a2a-grpc init"), 2)
    assert "cannot use the folder '.'" in said


def test_no_project_depends_on_itself() -> None:
    for name, project in (("Pytest", "pytest-agent"), ("a2a grpc", "a2a-grpc-agent"), ("Poet", "poet")):
        written = tomllib.loads(files_of(name, "Answers.", Kind.PLAIN)["pyproject.toml"])
        assert written["project"]["name"] == project
        assert written["project"]["dependencies"] == ["a2a-grpc"]
        assert written["dependency-groups"]["test"] == ["pytest"]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "answers"), [("plain", ""), ("streaming", ""), ("asking", "Ada\n")])
async def test_what_it_writes_runs(tmp_path: Path, kind: str, answers: str) -> None:
    """The test with pytest, the agent with `serve`, and the client against it."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = await run("init", str(tmp_path), "--kind", kind, "--name", NAME, "--description", "Says 'ä' in {braces}.")
    assert done.code == 0, done.err

    async def output(*command: str, stdin: str = "") -> str:
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, *command),
            cwd=tmp_path,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await program.communicate(stdin.encode())
        assert program.returncode == 0, out.decode()
        return out.decode()

    assert "1 passed" in await output("-m", "pytest", "-q")
    options = ("-o", "json", "--listen=127.0.0.1:0", "--http-listen=off", "--store=memory:")
    async with Program("-m", "a2a_grpc", "serve", str(tmp_path / "agent.py"), *options) as server:
        env["A2A_GRPC_AGENT"] = server.address
        assert re.search("said: two words", await output("client.py", "two", "words", stdin=answers))
