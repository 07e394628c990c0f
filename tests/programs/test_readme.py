"""What the README shows is what happens."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT, Program, run_program
from tests.test_surface import SETTINGS

README = (ROOT / "README.md").read_text()


def snippet(name: str) -> str:
    """The Python code under the comment `<!-- name -->`."""
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


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


def test_every_option_and_file_that_the_readme_names_exists() -> None:
    flags = {"--" + name.replace("_", "-") for kind in SETTINGS for name in kind.__dataclass_fields__}
    for flag in re.findall(r"`(--[a-z-]+)", README):
        assert flag in flags | {"--help"}, flag
    for target in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)`", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
