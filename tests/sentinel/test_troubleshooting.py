"""The tables of docs/sentinel.md: what they quote is what the programs print."""

import ast
import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.covers import covers
from tests.harness import ROOT, Program, run_program
from tests.ports import free_address

pytestmark = covers("S0-38", "S0-39", "S0-40", "S0-41")

CLI = ("-m", "a2a_grpc")
PAGE = (ROOT / "docs" / "sentinel.md").read_text()
FIRST, OTHER = PAGE.partition("## If it does not work")[2].split("Other messages:")
ADDRESS = "cancellable@fame.fabric"


def rows(table: str) -> list[list[str]]:
    """The cells of a table of Markdown, without its head."""
    found = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in found[2:]]


PRINTED = {seen: printed.strip("`") for seen, printed, _ in rows(FIRST)}
"""What is printed, by what the user sees."""


@pytest.fixture(scope="module")
async def front() -> AsyncIterator[Program]:
    async with Program("servers/sentinel.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off") as running:
        yield running


async def call(*words: str, sentinel: str = "", **variables: str) -> tuple[int, str]:
    """Run a verb against the address of the page: its exit code, and what it says."""
    code, out, err = await run_program(
        *CLI, *words, env={"A2A_GRPC_SENTINEL": sentinel, "A2A_GRPC_AGENT": ADDRESS, **variables} if sentinel
        else {"A2A_GRPC_AGENT": ADDRESS, **variables},
    )  # fmt: skip
    assert out == ""
    return code, err


async def nothing_listens(front: Program) -> str:
    at = free_address()
    code, said = await call("send", "hello", sentinel=at, A2A_GRPC_CONNECT_TIMEOUT_S="0.5")
    assert code == 3
    return said.replace(at, "127.0.0.1:8000")


async def no_host(front: Program) -> str:
    code, said = await call("send", "hello", sentinel="sentinel.invalid:8000", A2A_GRPC_CONNECT_TIMEOUT_S="0.5")
    assert code == 3
    return said.replace("sentinel.invalid", "sentinel")


async def no_sentinel(front: Program) -> str:
    code, said = await call("send", "hello")
    assert code == 2
    return said


async def not_attached(front: Program) -> str:
    at = free_address()
    options = ("--listen=127.0.0.1:0", "--http-listen=off", f"--attach={at}", f"--address={ADDRESS}")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "servers/cancellable.py", *options, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = await process.stderr.readline()
    process.kill()
    await process.communicate()
    return said.decode().replace(at, "127.0.0.1:8000")


async def no_agent(front: Program) -> str:
    code, said = await call("send", "hello", sentinel=front.address, A2A_GRPC_GIVE_UP_AFTER_S="1")
    assert code == 3
    return said


async def another_task(front: Program) -> str:
    async with Program.server("servers/cancellable.py", f"--attach={front.address}", f"--address={ADDRESS}"):
        code, said = await call("subscribe", "another-id", sentinel=front.address)
    assert code not in (0, 2)
    return said


async def port_in_use(front: Program) -> str:
    code, _, said = await run_program("servers/sentinel.py", f"--listen={front.address}")
    assert code == 2
    return said.replace(front.address, "127.0.0.1:8000")


CASES: dict[str, Callable[[Program], Awaitable[str]]] = {
    "The client cannot connect": nothing_listens,
    "The client knows no such host": no_host,
    "The client has no sentinel": no_sentinel,
    "The agent does not attach": not_attached,
    "The client waits for an answer": no_agent,
    "No updates come": another_task,
    "The port is in use": port_in_use,
}


def test_each_symptom_of_the_page_has_a_test() -> None:
    assert list(PRINTED) == list(CASES)


@pytest.mark.parametrize("seen", CASES)
async def test_what_the_page_quotes_for_a_symptom_is_printed(seen: str, front: Program) -> None:
    said = await CASES[seen](front)
    assert re.search(".+?".join(map(re.escape, PRINTED[seen].split("…"))), said), said
    assert "Traceback" not in said


def test_the_other_messages_that_the_page_quotes_are_in_the_code() -> None:
    texts = "\n".join(
        node.value
        for path in (ROOT / "a2a_grpc").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    quoted = [message for cell, *_ in rows(OTHER) for message in re.findall(r"`([^`]+)`", cell)]
    assert len(quoted) > 5
    for message in quoted:
        for part in re.split(r" ?… ?|^tenant: |^reason=", message):
            assert part in texts, message
