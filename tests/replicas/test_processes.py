"""Replicas that are processes: killed, stopped and continued, told to end, started again."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import Client, Task, connect
from a2a_grpc.client import Event
from a2a_grpc.engine.run import SHUTDOWN_FAILURE
from a2a_grpc.engine.takeover import LOST_FAILURE
from a2a_grpc.errors import DeadlineExceededError
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.store import Record, TaskKey, open_store
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.wire import TaskState
from tests.covers import covers
from tests.harness import Program, eventually
from tests.ports import free_address
from tests.proxy import Proxy
from tests.replicas.rig import count_of, counted, reason_of

LONG = "count 25 0.04"
"""A second of work, in 25 steps."""
WHOLE = [str(i) for i in range(25)]
SOON: dict[str, Any] = {"retry_initial_s": 0.05, "retry_maximum_s": 0.2}


@pytest.fixture(params=["sqlite", "postgres"])
def process_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store that processes can share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue("postgres_store"))


@pytest.fixture
async def url(process_url: str) -> str:
    await upgrade(process_url)
    return process_url


def replica(url: str, *options: str, listen: str = "127.0.0.1:0", resumable: bool = True) -> Program:
    """A server of tests/replicas/counter.py on the store."""
    return Program(
        *("tests/replicas/counter.py", "-o", "json", "--listen", listen, "--http-listen", "off"),
        *("--lease-s", "1.5", "--poll-interval-s", "0.5", *options),
        env={"A2A_GRPC_STORE": url} | ({} if resumable else {"NOT_RESUMABLE": "1"}),
    )


def client_of(program: Program) -> Client:
    return connect(program.address, **SOON)


def send_signal(program: Program, number: signal.Signals) -> None:
    os.kill(program.process.pid, number)


async def stop_between_commits(program: Program, url: str) -> None:
    """Stops a process where it has no lock on SQLite's file: nobody can take that from it but the system."""
    while True:
        send_signal(program, signal.SIGSTOP)
        if not url.startswith("sqlite:") or await asyncio.to_thread(_can_be_written, url.removeprefix("sqlite:///")):
            return
        send_signal(program, signal.SIGCONT)
        await asyncio.sleep(0.01)


def _can_be_written(file: str) -> bool:
    with closing(sqlite3.connect(file, timeout=0.3)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True


async def kill(program: Program) -> None:
    send_signal(program, signal.SIGKILL)
    await program.process.communicate()


async def began(client: Client, text: str = LONG) -> str:
    """A task that is started: its id."""
    task = await client.start(text)
    assert isinstance(task, Task)
    return task.id


async def has_counted(client: Client, task_id: str, count: int) -> None:
    async def check() -> None:
        assert counted(await client.get(task_id)) >= count

    await eventually(check, within_s=30)


async def reaches(client: Client, task_id: str, *states: TaskState) -> Task:
    found = Task()

    async def check() -> None:
        found.CopyFrom(await client.get(task_id))
        assert found.status.state in states

    await eventually(check, within_s=30)
    return found


async def log_of(url: str, task_id: str) -> list[Record]:
    """The whole log of a task, read past every server."""
    store = open_store(url)
    await store.open()
    try:
        records = await store.read(TaskKey("", "", task_id), 0, 100_000)
    finally:
        await store.close()
    assert records is not None
    return records


async def assert_each_once(url: str, task_id: str, events: list[Event]) -> None:
    """The events of a stream are those of the log; its first is the task as it was created."""
    records = await log_of(url, task_id)
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert len(events) == len(records)
    for event, record in zip(events, records, strict=True):
        told, _ = record.unpack()
        assert event == getattr(told, str(told.WhichOneof("payload")))


@asynccontextmanager
async def pair(url: str, *options: str, resumable: bool = True) -> AsyncIterator[tuple[Program, Program]]:
    """Two replicas, started at the same time; whoever was killed or stopped is ended all the same."""
    programs = [replica(url, *options, resumable=resumable) for _ in range(2)]
    async with programs[0] as a, programs[1] as b:
        try:
            yield a, b
        finally:
            for program in programs:
                if program.process.returncode is None:
                    send_signal(program, signal.SIGCONT)


@covers("G10")
async def test_a_run_whose_process_is_killed_goes_on_in_another_and_nobody_who_watches_misses_a_thing(url: str) -> None:
    async with pair(url) as (a, b), client_of(a) as at_a, client_of(b) as at_b:
        task_id = await began(at_a)
        stream = at_b.subscribe(task_id, after=0)
        watching = asyncio.ensure_future(_read(stream))
        await has_counted(at_b, task_id, 3)
        await kill(a)
        ended = await reaches(at_b, task_id, COMPLETED, FAILED)
        assert count_of(ended) == WHOLE
        await assert_each_once(url, task_id, await watching)


@covers("G10")
@pytest.mark.long
async def test_a_run_that_cannot_go_on_ends_in_failed_with_the_reason_when_its_process_is_killed(url: str) -> None:
    async with pair(url, "--lease-s", "3", resumable=False) as (a, b), client_of(a) as at_a, client_of(b) as at_b:
        asked = await at_a.send("ask how far?")
        assert isinstance(asked, Task)
        task_id = await began(at_a)
        await has_counted(at_b, task_id, 3)
        await kill(a)
        ended = await reaches(at_b, task_id, COMPLETED, FAILED)
        assert (ended.status.state, reason_of(ended)) == (FAILED, LOST_FAILURE)
        assert (await at_b.get(asked.id)).status.state == INPUT_REQUIRED
        answered = await at_b.send("count 3 0", task_id=asked.id)
        assert isinstance(answered, Task)
        assert count_of(answered) == ["0", "1", "2"]


@covers("G5")
@pytest.mark.long
async def test_a_stopped_process_keeps_no_task_and_its_late_writes_change_nothing(url: str) -> None:
    async with pair(url, "--cancel-grace-s", "0.2") as (a, b), client_of(a) as at_a, client_of(b) as at_b:
        canceled, counting = await began(at_a, "count 1000 0.04"), await began(at_a)
        for task_id in (canceled, counting):
            await has_counted(at_b, task_id, 3)
        await stop_between_commits(a, url)
        assert (await at_b.cancel(canceled)).status.state == CANCELED
        ended = await reaches(at_b, counting, COMPLETED, FAILED)
        assert count_of(ended) == WHOLE
        logs = [await log_of(url, task_id) for task_id in (canceled, counting)]

        send_signal(a, signal.SIGCONT)

        again = await began(at_a, "count 2 0")
        assert count_of(await reaches(at_a, again, COMPLETED)) == ["0", "1"]
        assert [await log_of(url, task_id) for task_id in (canceled, counting)] == logs
        assert await at_a.get(counting) == ended


@pytest.mark.long
async def test_while_a_writer_stands_still_in_its_transaction_on_sqlite_callers_are_told_what_is_waited_for(
    tmp_path: Path,
) -> None:
    async with replica(f"sqlite:///{tmp_path}/tasks.db", "--cancel-grace-s", "0.2") as server:
        async with client_of(server) as client, connect(server.address, timeout_s=12.0) as hasty:
            counting = await began(client, "count 1000 0.04")
            await has_counted(client, counting, 3)
            with closing(sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)) as standing_still:
                standing_still.execute("BEGIN IMMEDIATE")
                with pytest.raises(
                    DeadlineExceededError, match=r"within 12 s; before, it answered: .* did not confirm"
                ):
                    await hasty.cancel(counting)
            assert (await client.cancel(counting)).status.state == CANCELED


@pytest.mark.few
@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.long
async def test_a_process_that_is_told_to_end_hands_its_streams_and_runs_to_another(url: str, resumable: bool) -> None:
    async with pair(url, "--drain-grace-s", "0.2", "--lease-s", "60", resumable=resumable) as (a, b):
        async with Proxy(a.address) as proxy, connect(proxy.address, **SOON) as client:
            stream = client.stream(LONG)
            async with stream as events:
                read = [await anext(events) for _ in range(6)]
                proxy.target = b.address
                send_signal(a, signal.SIGTERM)
                read += [event async for event in events]
        assert await a.process.wait() == 0
        await assert_each_once(url, stream.task_id, read)
        assert stream.task is not None
        if resumable:
            assert count_of(stream.task) == WHOLE
        else:
            assert reason_of(stream.task) == SHUTDOWN_FAILURE


@pytest.mark.long
async def test_a_server_that_is_killed_and_started_again_is_nothing_to_a_client_that_never_stops_watching(
    url: str,
) -> None:
    address = free_address()
    async with connect(address, **SOON) as client:
        async with replica(url, listen=address) as first:
            asked = await client.send("ask how far?")
            stream = client.stream(LONG)
            watching = asyncio.ensure_future(_read(stream))
            await eventually(lambda: _has_seen(stream, 5))
            await kill(first)
        async with replica(url, listen=address):
            await assert_each_once(url, stream.task_id, await watching)
            assert stream.task is not None
            assert count_of(stream.task) == WHOLE
            assert isinstance(asked, Task)
            assert await client.get(asked.id) == asked
            answered = await client.send("count 3 0", task_id=asked.id)
            assert isinstance(answered, Task)
            assert count_of(answered) == ["0", "1", "2"]


def _has_seen(stream: Any, count: int) -> None:
    assert stream.task is not None
    assert counted(stream.task) >= count


async def _read(stream: Any) -> list[Event]:
    async with stream as events:
        return [event async for event in events]
