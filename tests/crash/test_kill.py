"""A server under load is killed at random moments, again and again: nothing that was acknowledged is lost.

CRASH_ROUNDS in the environment is how often in `make test-all`; CRASH_SEED repeats a run.
"""

import asyncio
import os
import random
import secrets
import sqlite3
from collections import Counter
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from a2a_grpc import connect
from a2a_grpc.lifecycle import COMPLETED, state_name
from a2a_grpc.store import open_store
from tests.covers import covers
from tests.crash.journal import entries_of, overlaps
from tests.crash.notes import check_notes, stored_tasks
from tests.crash.server import WorkerServer
from tests.crash.users import play_on_and_on, send_on_and_on, users_of
from tests.harness import eventually

USERS = 8
LEASE_S = 0.5
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "8"))
OPTIONS = ("--lease-s", str(LEASE_S), "--poll-interval-s", "0.2", "--max-ended-tasks", "1000000")


async def crash(store_url: str, folder: Path, rounds: int) -> None:
    """Kills a server `rounds` times while users are at work; checks all that they were told."""
    seed = os.environ.get("CRASH_SEED") or secrets.token_hex(4)
    print(f"CRASH_SEED={seed}")  # pytest shows it where the test fails
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(WorkerServer(store_url, folder, *OPTIONS))
        users = await stack.enter_async_context(users_of([server.address], seed))
        client = await stack.enter_async_context(
            connect(server.address, retry_initial_s=0.05, retry_maximum_s=0.2, connect_timeout_s=60.0)
        )
        stopping = asyncio.Event()
        async with asyncio.TaskGroup() as load:
            for number in range(USERS):
                load.create_task(play_on_and_on(users, random.Random(f"{seed} {number}"), stopping))
            load.create_task(send_on_and_on(client, users, stopping))
            killed = await kill_at_random(server, random.Random(seed), rounds, folder / "journal")
            await server.start()
            stopping.set()
        store = open_store(store_url)
        await store.open()
        stack.push_async_callback(store.close)

        async def all_settled() -> None:
            left = [found.task_id for found in (await stored_tasks(store)).values() if not found.is_settled]
            assert not left, f"tasks that nobody ends: {left}"

        await eventually(all_settled, within_s=20.0)
        stored = await stored_tasks(store)
        check_notes(users.notes, stored)
        assert set(users.notes.accepted.values()) <= set(stored)
        assert not overlaps(entries_of(folder / "journal"), lease_s=LEASE_S)

        states = Counter(found.task.status.state for found in stored.values())
        attempts = Counter(entry.attempt for entry in entries_of(folder / "journal") if entry.run)
        print(
            f"kills={killed} tasks={len(stored)} events={sum(len(found.records) for found in stored.values())}",
            f"acknowledged={sum(map(len, users.notes.records.values()))} keys={len(users.notes.accepted)}",
            *(f"{state_name(state)}={count}" for state, count in states.items()),
            f"attempts={max(attempts)}",
        )
        assert states[COMPLETED]


async def kill_at_random(server: WorkerServer, chance: random.Random, rounds: int, journal: Path) -> int:
    """Start and kill the server at least `rounds` times. Return how often it was killed.

    Most kills come while it works, some before it is up or while it takes tasks over. There are more of them if no
    handler was started again so far.
    """
    killed = 0
    while killed < rounds or max((entry.attempt for entry in entries_of(journal)), default=0) < 2:
        await server.spawn(resumable=chance.random() < 0.75)
        if chance.random() < 0.15:
            await asyncio.sleep(chance.uniform(0.2, 1.5))
        else:
            await server.ready()
            await asyncio.sleep(chance.uniform(0.05, 1.2))
        await server.kill()
        killed += 1
    return killed


@covers("G1", "G2")
@pytest.mark.first
async def test_kill_9_under_load_loses_nothing_acknowledged_sqlite(tmp_path: Path, full: bool) -> None:
    file = tmp_path / "tasks.db"
    await crash(f"sqlite:///{file}", tmp_path, ROUNDS if full else 1)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@covers("G1", "G2")
@pytest.mark.long
@pytest.mark.first
async def test_kill_9_under_load_loses_nothing_acknowledged_postgres(tmp_path: Path, postgres_store: str) -> None:
    await crash(postgres_store, tmp_path, ROUNDS)
