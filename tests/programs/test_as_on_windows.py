"""The command line where Python lacks what it lacks on Windows: simulated, in processes of their own."""

import asyncio
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from a2a_grpc import RemoteAgent
from tests.harness import ROOT, Program

COMMAND = ("-m", "tests.programs.as_on_windows")
FREE = ("--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0")


def server(folder: Path, *options: str) -> Program:
    store = f"--store=sqlite:///{folder}/tasks.db"
    return Program(*COMMAND, "serve", "servers/scripted.py", "-o", "json", *FREE, store, *options)


def status_of(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as response:
        return int(response.status)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_agent_is_served_and_drained(tmp_path: Path, number: signal.Signals) -> None:
    async with server(tmp_path) as program:
        async with RemoteAgent(program.http) as remote:
            assert await remote.run("hello") == "hello"
        for path in ("/readyz", "/livez"):
            assert await asyncio.to_thread(status_of, program.http + path) == 200
        program.process.send_signal(number)
        assert (await program.until("draining"))["signal"] == number.name
        assert await asyncio.wait_for(program.process.wait(), 20) == 0
        assert program.process.stderr is not None
        assert b"Traceback" not in await program.process.stderr.read()


@pytest.mark.long
async def test_ctrl_c_stops_watching_and_once_more_ends_a_server_at_once(tmp_path: Path) -> None:
    async with server(tmp_path, "--drain-grace-s=60") as program:
        sending = await asyncio.create_subprocess_exec(
            *(sys.executable, *COMMAND, "stream", f"--agent={program.address}"),
            *("--data", '{"script": [{"chunks": {"text": "begun"}}, {"sleep": {"seconds": 60}}]}'),
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
        )
        assert sending.stdout is not None
        assert await sending.stdout.read(5) == b"begun"
        sending.send_signal(signal.SIGINT)
        _, said = await sending.communicate()
        assert sending.returncode == 130, said
        assert b"goes on. To watch again" in said
        program.process.send_signal(signal.SIGINT)
        await program.until("draining")
        program.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(program.process.wait(), 20) == -signal.SIGINT
