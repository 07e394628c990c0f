"""`ask` across the end of processes: killed, told to end, replaced by another that was there before.

See `test_ask_replayed.py` for all ways at each question. Here a server is a process, its end a signal.
"""

import asyncio
import signal
from pathlib import Path

import pytest

from a2a_grpc import Client, Part, Task, data_of, text_of
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.store.sql.migrations import upgrade
from tests.harness import Program
from tests.replicas.test_processes import client_of, send_signal


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue("postgres_store"))


@pytest.fixture
async def url(empty_url: str) -> str:
    """The URL of an empty store that processes can share."""
    await upgrade(empty_url)
    return empty_url


def quiz(url: str) -> Program:
    return Program(
        *("tests/replicas/quiz.py", "-o", "json", "--listen", "127.0.0.1:0", "--http-listen", "off"),
        *("--lease-s", "1.5", "--poll-interval-s", "0.3", "--drain-grace-s", "5"),
        env={"A2A_GRPC_STORE": url},
    )


async def end(program: Program, number: signal.Signals) -> None:
    send_signal(program, number)
    code = await asyncio.wait_for(program.process.wait(), 30)
    assert code == (-number if number == signal.SIGKILL else 0)


async def said(client: Client, text: str, by: str, task_id: str = "") -> Task:
    task = await client.send(
        [Part(text=text), {"n": len(text)}] if task_id else text, metadata={"by": by}, task_id=task_id
    )
    assert isinstance(task, Task)
    return task


@pytest.mark.long
async def test_each_question_survives_the_end_of_its_process_and_the_first_message_stays_the_turns(url: str) -> None:
    async with quiz(url) as first, client_of(first) as client:
        task = await said(client, "go", "ada")
        assert (task.status.state, data_of(task.status.message)) == (INPUT_REQUIRED, {"question": 1})
        await end(first, signal.SIGKILL)
    async with quiz(url) as second, client_of(second) as client:  # the same server, started again
        task = await said(client, "one", "bob", task.id)
        assert (task.status.state, data_of(task.status.message)) == (INPUT_REQUIRED, {"question": 2})
        await end(second, signal.SIGTERM)
    async with quiz(url) as third, quiz(url) as fourth, client_of(third) as client, client_of(fourth) as other:
        task = await said(client, "two", "cyd", task.id)
        assert (task.status.state, data_of(task.status.message)) == (INPUT_REQUIRED, {"question": 3})
        await end(third, signal.SIGKILL)
        task = await said(other, "three", "dan", task.id)  # taken over, before the lease has lapsed
        assert task.status.state == COMPLETED
        assert text_of(task) == (
            "go by ada: one {'n': 3} by bob to go by ada; two {'n': 3} by cyd to go by ada; "
            "three {'n': 5} by dan to go by ada;"
        )
        stored = await other.get(task.id)
        assert [text_of(message) for message in stored.history if text_of(message)] == ["go", "one", "two", "three"]
