"""Three replicas on one PostgreSQL, one of them killed, paused or cut off from the database every two seconds.

REPLICA_SECONDS in the environment is for how long (the number of tasks grows with it); REPLICA_SEED repeats the choices
of a run.
"""

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, TERMINAL, state_name
from a2a_grpc.store import TaskStore, open_store
from a2a_grpc.store.sql.migrations import upgrade
from tests.covers import covers
from tests.crash.journal import entries_of, overlaps
from tests.crash.notes import check_notes, stored_task, stored_tasks
from tests.crash.server import WorkerServer
from tests.crash.users import Followed, Users, users_of
from tests.guarantees.rig import without_user_messages
from tests.harness import eventually
from tests.proxy import Proxy

LEASE_S = 1.0
FAULT_INTERVAL_S = 2.0
TASKS_A_SECOND = 12.5
ENDS_WITHIN_S = 150.0
"""How long the tasks that are left may go on once nothing fails any more, on a machine with other work, too."""
OPTIONS = ("--lease-s", str(LEASE_S), "--poll-interval-s", "0.5", "--cancel-grace-s", "1")

pytestmark = pytest.mark.timeout(300)


@dataclass(slots=True)
class Replica:
    """A server with its own way to the database."""

    server: WorkerServer
    way: Proxy

    async def be_killed(self) -> None:
        await self.server.kill()
        await asyncio.sleep(LEASE_S / 2)
        await self.server.start()

    async def be_paused(self) -> None:
        self.server.pause()
        await asyncio.sleep(LEASE_S * 1.5)
        self.server.go_on()

    async def be_refused(self) -> None:
        """The database resets its connections, and takes no new ones."""
        self.way.close()
        await asyncio.sleep(LEASE_S * 1.5)
        await self.way.reopen()

    async def be_unheard(self) -> None:
        """The database is silent, then hears everything late."""
        self.way.stall()
        await asyncio.sleep(LEASE_S * 1.5)
        self.way.resume()


@asynccontextmanager
async def replicas_of(url: str, folder: Path, count: int = 3) -> AsyncIterator[list[Replica]]:
    """Servers that are up, on a database that has its schema."""
    await upgrade(url)
    database = urlsplit(url)
    async with AsyncExitStack() as stack:
        replicas = []
        for number in range(count):
            way = await stack.enter_async_context(Proxy(f"{database.hostname}:{database.port}"))
            through = database._replace(netloc=f"{database.username}:{database.password}@{way.address}").geturl()
            server = WorkerServer(through, folder, *OPTIONS, name=f"replica-{number}")
            replicas.append(Replica(await stack.enter_async_context(server), way))
        for replica in replicas:
            await replica.server.spawn()
        for replica in replicas:
            await replica.server.ready()
        yield replicas


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[TaskStore]:
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@covers("G2", "G5", "G10")
@pytest.mark.long
@pytest.mark.first
async def test_every_subscriber_sees_the_stored_task_and_no_task_runs_at_two_places_while_replicas_fail(
    tmp_path: Path, postgres_url: str
) -> None:
    seed = os.environ.get("REPLICA_SEED") or secrets.token_hex(4)
    print(f"REPLICA_SEED={seed}")  # pytest shows it where the test fails
    seconds = float(os.environ.get("REPLICA_SECONDS", "12"))
    async with AsyncExitStack() as stack:
        replicas = await stack.enter_async_context(replicas_of(postgres_url, tmp_path))
        users = await stack.enter_async_context(users_of([replica.server.address for replica in replicas], seed))
        followed: list[Followed] = []
        faults: Counter[str] = Counter()
        store = await stack.enter_async_context(opened(postgres_url))
        try:
            async with asyncio.timeout(seconds + ENDS_WITHIN_S), asyncio.TaskGroup() as group:
                group.create_task(fail_now_and_then(replicas, random.Random(seed), seconds, faults))
                for number in range(int(seconds * TASKS_A_SECOND)):
                    group.create_task(use(users, random.Random(f"{seed} {number}"), followed))
                    await asyncio.sleep(1 / TASKS_A_SECOND)
        except TimeoutError:
            left = [found for found in (await stored_tasks(store)).values() if not found.is_settled]
            raise AssertionError(f"tasks that nobody ends: {[found.task_id for found in left]}") from None
        stored = await stored_tasks(store)
        check_notes(users.notes, stored)
        for each in followed:
            task = stored[each.task_id].task
            assert without_user_messages(each.task) == without_user_messages(task), f"task {each.task_id}"
        for server in users.servers:
            answers = await asyncio.gather(*(users.get(task_id, server) for task_id in stored))
            assert answers == [found.task for found in stored.values()]
        journal = entries_of(tmp_path / "journal")
        assert overlaps(journal, lease_s=LEASE_S) == []

        states = Counter(state_name(found.task.status.state) for found in stored.values())
        attempts = Counter(entry.attempt for entry in journal if entry.run and not entry.step)
        print(f"faults={dict(faults)} tasks={len(stored)} {dict(states)} subscribers={len(followed)} {attempts=}")
        assert len(stored) == seconds * TASKS_A_SECOND
        assert all(found.task.status.state in TERMINAL for found in stored.values())
        assert any(entry.attempt > 1 for entry in journal), "no task was taken over"


async def fail_now_and_then(
    replicas: list[Replica], chance: random.Random, seconds: float, faults: Counter[str]
) -> None:
    """Something happens to one of the replicas every two seconds: each kind as often as the others."""
    kinds: list[str] = []
    for _ in range(round(seconds / FAULT_INTERVAL_S)):
        if not kinds:
            kinds = ["be_killed", "be_paused", "be_refused", "be_unheard"]
            chance.shuffle(kinds)
        kind, replica = kinds.pop(), chance.choice(replicas)
        faults[kind] += 1
        async with asyncio.TaskGroup() as both:
            both.create_task(getattr(replica, kind)())
            both.create_task(asyncio.sleep(FAULT_INTERVAL_S))


async def use(users: Users, chance: random.Random, followed: list[Followed]) -> None:
    """A task with one or two subscribers, from its message to its end: finished, answered or canceled."""
    asks = chance.random() < 0.25
    request = users.request(steps=chance.randrange(5, 30), pause_s=chance.choice((0.02, 0.05, 0.1)), asks=asks)
    is_canceled = chance.random() < 0.1
    sent = await users.send(request, leaves=is_canceled or chance.random() < 0.3)
    if not sent.task_id:  # it left before it heard of its task
        sent = await users.send(request)
    task_id = sent.task_id
    async with asyncio.TaskGroup() as watching:
        watchers = [watching.create_task(users.watch(task_id)) for _ in range(chance.randrange(1, 3))]
        if is_canceled:
            await users.cancel(task_id)
        elif asks:
            task = await users.get(task_id)
            while task.status.state not in (*TERMINAL, INPUT_REQUIRED):
                await asyncio.sleep(0.05)
                task = await users.get(task_id)
            if task.status.state == INPUT_REQUIRED:
                await users.send(users.request(steps=chance.randrange(1, 10), pause_s=0.03, task_id=task_id))
    followed.extend(watcher.result() for watcher in watchers)
    if sent.state in TERMINAL:
        followed.append(sent)


@covers("G5")
@pytest.mark.long
async def test_what_a_paused_replica_writes_late_is_refused(tmp_path: Path, postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        replicas = await stack.enter_async_context(replicas_of(postgres_url, tmp_path, 2))
        store = await stack.enter_async_context(opened(postgres_url))
        first, second = [
            await stack.enter_async_context(users_of([replica.server.address], "")) for replica in replicas
        ]
        request = first.request(steps=80, pause_s=0.05)
        sent = await first.send(request, leaves=True)
        while not sent.task_id:  # the answer was late
            sent = await first.send(request, leaves=True)

        def runs() -> list[str]:
            return list(dict.fromkeys(entry.run for entry in entries_of(tmp_path / "journal") if entry.run))

        def begun() -> None:
            assert runs()

        def taken_over() -> None:
            assert len(runs()) > 1

        await eventually(begun, within_s=30)
        worker = entries_of(tmp_path / "journal")[-1].pid  # the second one, if the first was too slow to keep its lease
        working, other = (replicas[0], second) if worker == replicas[0].server.pid else (replicas[1], first)
        working.server.pause()
        await eventually(taken_over, within_s=30)
        working.server.go_on()
        watched = await other.watch(sent.task_id)
        stored = await stored_task(store, sent.task_id)
        assert watched.state == stored.task.status.state == COMPLETED
        check_notes(first.notes, {sent.task_id: stored})

        journal = entries_of(tmp_path / "journal")
        old, new, *_ = runs()  # a further one only if the second replica, too, could not renew its lease in time
        new_since = next(entry.at for entry in journal if entry.run == new)
        assert sum(entry.run == old and entry.at > new_since for entry in journal) <= 1
        assert overlaps(journal, lease_s=LEASE_S) == []
