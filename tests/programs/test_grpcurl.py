"""The commands of docs/grpcurl.md, as they stand, against a server: what they print is what the page shows."""

import asyncio
import re
from pathlib import Path

import pytest

from tests.docs.shell import Shell, commands, matches
from tests.harness import ROOT, Program
from tests.tools import MissingProgram, skip_without

PAGE, ADMIN = (ROOT / "docs" / "grpcurl.md").read_text().split("## What gRPC itself sees")
SERVER = ("servers/cancellable.py",)

pytestmark = pytest.mark.timeout(100)


def play(text: str, folder: Path, **variables: str) -> list[str]:
    """Runs every command of a page: those that printed something else than is shown, with what that was."""
    shell = Shell(folder, **variables)
    try:
        return [
            f"$ {command}\n{printed}"
            for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)
            for command, shown in commands(block)
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
