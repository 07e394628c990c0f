"""Runs pairs of peers, once each; makes the table of what passed.

python -m pytest tests/interop/peers [--matrix docs/interop.md [--write]]
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT, Program
from tests.interop.peers.checks import CHECKS
from tests.interop.peers.matrix import Matrix, Pair, put_into, split
from tests.interop.peers.peers import PAIRS, Peer, Toolchain
from tests.tools import MissingProgram, skip_without

CLIENT_S = 120.0
MATRIX = pytest.StashKey[Matrix]()

Play = Callable[[Pair], Awaitable[dict[str, Any]]]
"""Gives what the client of a pair printed, by scenario."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", help="page that must hold the table that this run makes")
    parser.addoption("--write", action="store_true", help="write the table into the page")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MATRIX] = Matrix()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[MATRIX].lines():
        terminalreporter.write_line(line)
    if page_is_stale(config):
        terminalreporter.write_line(
            f"{config.option.matrix} shows another table; run: make interop ARGS=--write", red=True
        )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if exitstatus == pytest.ExitCode.OK and is_whole(config) and config.option.write:
        put_into(Path(config.option.matrix), config.stash[MATRIX].markdown())
    if exitstatus == pytest.ExitCode.OK and page_is_stale(config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def is_whole(config: pytest.Config) -> bool:
    """Whether every pair has played everything, so that there is a table to compare."""
    cells = config.stash[MATRIX].cells
    return (
        bool(config.option.matrix)
        and len(cells) == len(PAIRS)
        and all(len(row) == len(CHECKS) for row in cells.values())
    )


def page_is_stale(config: pytest.Config) -> bool:
    return is_whole(config) and split(Path(config.option.matrix).read_text())[1] != config.stash[MATRIX].markdown()


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> Matrix:
    return request.config.stash[MATRIX]


def need(toolchain: Toolchain) -> None:
    """Without its tools a test is skipped; in CI it fails."""
    if toolchain.missing:
        skip_without(MissingProgram(" and ".join(toolchain.missing), toolchain.install))


class Server(Program):
    """The server of a peer."""

    def __init__(self, peer: Peer, *options: str) -> None:
        assert peer.server is not None
        super().__init__(env=dict(peer.env))
        self._command = [*peer.server(), *options]


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Server]:
    """The server of a peer, with a sentinel if it needs one."""
    if not peer.address:
        async with Server(peer) as server:
            yield server
        return
    async with Program("servers/sentinel.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off") as front:
        async with Server(peer, f"--attach={front.address}", f"--address={peer.address}") as server:
            yield server


@pytest.fixture(scope="session")
async def play() -> Play:
    played: dict[Pair, dict[str, Any]] = {}

    async def play(pair: Pair) -> dict[str, Any]:
        if pair not in played:
            client, server = pair
            async with running(server) as found:
                played[pair] = await run(client, found.http)
        return played[pair]

    return play


async def run(client: Peer, url: str) -> dict[str, Any]:
    """All scenarios; one that ends the program is told by what that wrote, and the next begins with another one."""
    found: dict[str, Any] = {}
    while left := [name for name in CHECKS if name not in found]:
        assert client.client is not None
        process = await asyncio.create_subprocess_exec(
            *client.client(), url, *left, cwd=ROOT, env={**os.environ, **client.env},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(), CLIENT_S)
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
        found |= {line["scenario"]: line for line in map(json.loads, out.splitlines())}
        if process.returncode != 0 and (died := next((name for name in left if name not in found), "")):
            found[died] = {"died": err.decode()[-3000:]}
    return found
