"""The programs of callbacks, as docs/patterns.md starts them: a worker, a requester, a client that leaves."""

import asyncio
import shlex
from pathlib import Path

import pytest

from a2a_grpc import Task, connect
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import text_of
from tests.covers import covers
from tests.docs.pages import blocks
from tests.docs.shell import matches
from tests.harness import ROOT, Program, run_program

MEMORY = "--store=memory:"


async def printed(program: Program, begin: str) -> str:
    """Return the next line of a program with this beginning."""
    assert program.process.stdout is not None
    while line := (await program.process.stdout.readline()).decode():
        if line.startswith(begin):
            return line.rstrip("\n")
    raise AssertionError(f"the program ended, and did not print {begin!r}")


@covers("S2-4", "S2-40", "S2-47", "S2-57")
async def test_a_client_starts_a_job_and_leaves_and_the_worker_calls_the_requester_back_through_the_sentinel() -> None:
    how = f"played by: tests/programs/{Path(__file__).name}"
    typed, shown, called_back = [block.text for block in blocks(ROOT / "docs/patterns.md") if block.how == how]
    async with Program("servers/sentinel.py", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off") as front:
        sentinel, *started = [shlex.split(line.replace("127.0.0.1:8000", front.address)) for line in typed.splitlines()]
        assert sentinel == ["python", "servers/sentinel.py"]
        assert [words.pop(0) for words in started] == ["python"] * 3
        worker, requester, client = started
        async with Program.server(*worker, MEMORY), Program.server(*requester, MEMORY) as listening:
            exit_code, out, err = await run_program(*client, "--seconds=0.2")
            assert (exit_code, err) == (0, "")
            told = matches(out.replace("WORKING", "SUBMITTED"), shown)  # the worker may have begun
            assert told, out
            async with asyncio.timeout(30):
                line = await printed(listening, "callback:")
        [(one, printed_id)] = told.items()
        assert line == called_back.replace(one, printed_id).replace("done in 5s", "done in 0.2s").rstrip("\n")


@covers("S2-52")
async def test_the_worker_says_that_it_was_not_asked_for_a_callback() -> None:
    async with Program.server("servers/worker.py", MEMORY) as worker, connect(worker.address) as client:
        task = await client.send({"seconds": 0})
    assert isinstance(task, Task)
    assert task.status.state == COMPLETED
    assert text_of(task.status.message) == "Task processed without callback."
    assert text_of(task) == "done in 0s"


async def test_a_callback_that_the_worker_does_not_allow_is_said_in_one_line() -> None:
    async with (
        Program.server("servers/worker.py", MEMORY) as worker,
        Program.server("clients/requester.py", MEMORY) as requester,
    ):
        options = ("--worker", worker.address, "--requester", requester.address)
        exit_code, out, err = await run_program("clients/callback.py", *options)
    assert (exit_code, out) == (1, "")
    assert err.startswith("Error: ")
    assert ".endpoint" in err
    assert err.count("\n") == 1


@covers("S2-5", "S2-7", "S2-58")
@pytest.mark.long
@pytest.mark.first
async def test_the_comparison_prints_what_it_has_measured() -> None:
    exit_code, out, err = await run_program("benchmarks/compare.py", "--seconds=2.25", "--interval=0.5", timeout_s=200)
    assert exit_code == 0, err
    rows = {
        cells[0]: cells[1:]
        for line in out.splitlines()[1:]
        if (cells := [one.strip() for one in line.split("|")[1:-1]])
    }
    assert rows[""] == ["poll", "subscribe", "callback"]
    assert rows["round trips"][1:] == ["2", "3"]
    assert int(rows["round trips"][0]) >= 6
    assert rows["bytes while the job works"][1:] == ["0", "0"]
    assert rows["connections held"] == ["1", "1", "0"]
    assert rows["worker killed and restarted"] == ["result once"] * 3
    assert rows["requester killed and restarted"] == ["with the id of the task"] * 2 + ["result once"]
