"""The programs in every language that are made of stubs: one server, one transcript."""

import asyncio
import re
import subprocess
import sys

import pytest

from tests.harness import ROOT, Program
from tests.interop.peers.conftest import need
from tests.interop.peers.matrix import Matrix
from tests.interop.peers.peers import LANGUAGE_CLIENTS, LanguageClient

ID = r"[0-9a-f]{8}-[0-9a-f-]{27}"
PACE = "--step-seconds=0.5"
"""A program of stubs subscribes after the task has begun, which it has to do within the first step."""
REST = """\
[ERROR] NOT_FOUND TASK_NOT_FOUND task_id=no-such-task
[LEFT ] stream CANCELLED, task WORKING
"""


async def printed(*command: str) -> str:
    """What a program prints, with ids left out; it must end well and say nothing else."""
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err.decode()) == (0, "")
    return re.sub(ID, "ID", out.decode())


@pytest.mark.parametrize("client", LANGUAGE_CLIENTS, ids=lambda client: client.name)
async def test_a_program_of_stubs_prints_the_transcript_of_the_python_client(
    client: LanguageClient, matrix: Matrix
) -> None:
    need(client.toolchain)
    async with Program.server("servers/cancellable.py") as server:
        ours = await printed(sys.executable, "clients/cancellable.py", f"--agent={server.address}", PACE)
        assert await printed(*client.command, f"--card={server.http}", PACE) == ours + REST
    assert ours.startswith("[STATUS] WORKING\n[DATA ] progress: 0.1\n")
    matrix.programs.append(client.name)


@pytest.mark.parametrize("client", LANGUAGE_CLIENTS, ids=lambda client: client.name)
async def test_a_program_of_stubs_says_in_a_line_that_there_is_no_card(client: LanguageClient) -> None:
    need(client.toolchain)
    process = await asyncio.create_subprocess_exec(
        *client.command, "--card=http://127.0.0.1:9", cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out) == (1, b"")
    assert err.decode().startswith("Error: ")
    assert "http://127.0.0.1:9/.well-known/agent-card.json" in err.decode()
    assert err.count(b"\n") == 1
