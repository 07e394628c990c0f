"""The commands of docs/grpcurl.md, as they stand, against a server: what they print is what the page shows."""

import asyncio
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness import ROOT, Program
from tests.tools import MissingProgram, skip_without

PAGE, ADMIN = (ROOT / "docs" / "grpcurl.md").read_text().split("## What gRPC itself sees")
SERVER = ("servers/cancellable.py",)

pytestmark = pytest.mark.timeout(100)


def commands(text: str) -> list[tuple[str, str]]:
    """Each command of the console blocks, with what it prints."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = session.partition("\n")
            found.append((command, printed))
    return found


def matches(printed: str, shown: str) -> bool:
    """Whether a program has printed what a page shows; there `…` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.strip("\n").split("…")))
    return re.fullmatch(pattern, printed.strip("\n"), re.DOTALL) is not None


class Shell:
    """A shell that runs one command after another, in which variables last."""

    def __init__(self, folder: Path, **variables: str) -> None:
        path = os.pathsep.join([str(ROOT / "bin"), os.environ["PATH"]])
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env={**os.environ, "PATH": path, **variables}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """What the command prints, on both of its outputs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho; echo --ended--\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, "--ended--\n")
        return "".join(lines).removesuffix("\n")

    def close(self) -> None:
        self._process.communicate()


def play(text: str, folder: Path, **variables: str) -> list[str]:
    """Runs every command of a page: those that printed something else than is shown, with what that was."""
    shell = Shell(folder, **variables)
    try:
        return [
            f"$ {command}\n{printed}"
            for command, shown in commands(text)
            if not matches(printed := shell.run(command), shown)
        ]
    finally:
        shell.close()


@pytest.fixture
def tools() -> None:
    """grpcurl and buf are in bin/: else the test is skipped, in CI it fails."""
    for name in ("grpcurl", "buf"):
        if not (ROOT / "bin" / name).exists():
            skip_without(MissingProgram(name, f"make {name}"))


def test_what_is_compared_is_everything_but_what_is_left_out() -> None:
    assert matches('{\n  "id": "t-1"\n}\n', '{\n  "id": "…"\n}\n')
    assert not matches('{\n  "id": "t-1"\n}\n', '{\n  "id": "…"\n')
    assert not matches("Ready", "Read")
    assert len(commands(PAGE)) > 20


@pytest.mark.usefixtures("tools")
async def test_every_command_of_the_page_prints_what_is_shown(tmp_path: Path) -> None:
    async with Program.server(*SERVER) as server:
        assert await asyncio.to_thread(play, PAGE, tmp_path, AGENT=server.address) == []


@pytest.mark.usefixtures("tools")
async def test_channelz_reflection_and_health_move_to_a_port_of_their_own(tmp_path: Path) -> None:
    async with Program.server(*SERVER, "--channelz", "--admin-listen=127.0.0.1:0") as server:
        admin = next(event["admin"] for event in server.events if event["event"] == "ready")
        assert await asyncio.to_thread(play, ADMIN, tmp_path, AGENT=server.address, ADMIN=admin) == []
