"""Senders are killed at random moments, again and again: nothing is lost, and order is kept.

PUSH_KILLS and PUSH_TASKS in the environment are the sizes of the long form; `make test-nightly` kills 100 times in
10,000 deliveries. PUSH_SEED repeats a run.
"""

import asyncio
import os
import random
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.push.vault import new_key
from a2a_grpc.store import Append, Create, Push, TaskKey, open_store
from a2a_grpc.store.contract.given import born, status
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.covers import covers
from tests.crash.server import WorkerServer
from tests.harness import eventually
from tests.push.sockets import Hook, hook

EVENTS = 5
"""Records of each task, each of which is delivered."""
LEASE_S = 2.0


class Seen:
    """What a receiver has seen of each config, and how many requests of one config it had at once."""

    def __init__(self) -> None:
        self.seqs: dict[str, list[int]] = defaultdict(list)
        self.ids: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.at_once = 0
        self._at_work: dict[str, int] = defaultdict(int)

    async def take(self, request: web.Request) -> web.Response:
        path, id = request.path, request.headers["webhook-id"]
        seq = int(id.rpartition(":")[2])
        self._at_work[path] += 1
        self.at_once = max(self.at_once, self._at_work[path])
        try:
            await asyncio.sleep(0.002)
            self.seqs[path].append(seq)
            self.ids[path, seq].add(id)
            return web.Response()
        finally:
            self._at_work[path] -= 1

    def check(self, tasks: int) -> int:
        """Check all that was seen. Return the number of deliveries that were repeated."""
        assert len(self.seqs) == tasks
        repeated = 0
        for path, seqs in self.seqs.items():
            assert list(dict.fromkeys(seqs)) == list(range(1, EVENTS + 1)), f"{path}: {seqs}"
            assert seqs == sorted(seqs), f"{path}: {seqs}"
            repeated += len(seqs) - EVENTS
        assert all(len(ids) == 1 for ids in self.ids.values()), "a repeated delivery has the id that it had"
        assert self.at_once == 1, "no config was delivered by two at once"
        return repeated


async def fill(store_url: str, tasks: int, receiver: Hook) -> None:
    """Store tasks that have ended, each with a config to which nothing was delivered yet."""
    store = open_store(store_url)
    await store.open()
    try:
        for start in range(0, tasks, 250):
            keys = [TaskKey("", "", f"t-{number}") for number in range(start, min(start + 250, tasks))]
            await asyncio.gather(*(_task(store.write, key, receiver) for key in keys))
    finally:
        await store.close()


async def _task(write: Callable[[Create | Append], Awaitable[int]], key: TaskKey, receiver: Hook) -> None:
    config = TaskPushNotificationConfig(task_id=key.id, id="c", url=f"http://127.0.0.1:{receiver.port}/{key.id}")
    push = Push("c", config.SerializeToString(), b"", "1.0")
    epoch = await write(Create(key, born(key), "c-1", "nobody", pushes=(push,)))
    for seq in range(2, EVENTS + 1):
        await write(Append(key, status(seq, COMPLETED if seq == EVENTS else WORKING), epoch))


async def crash(store_url: str, folder: Path, *, tasks: int, kills: int, servers: int) -> None:
    seed = os.environ.get("PUSH_SEED") or secrets.token_hex(4)
    print(f"PUSH_SEED={seed}")
    chance, seen, key = random.Random(seed), Seen(), folder / "keys"
    key.write_text(new_key())
    options = ("--push", "--push-events", "all", "--push-allow", "127.0.0.0/8", "--secrets-key-file", str(key))
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(hook())
        receiver.answer = seen.take
        await fill(store_url, tasks, receiver)
        running = [
            await stack.enter_async_context(
                WorkerServer(store_url, folder, *options, "--lease-s", str(LEASE_S), name=f"server-{number}")
            )
            for number in range(servers)
        ]
        for server in running:
            await server.start()
        for kill in range(kills):
            await _received(seen, (kill + 1) * tasks * EVENTS // (kills + 1))
            killed = chance.choice(running)
            await killed.kill()
            await killed.start()

        def all_delivered() -> None:
            assert sum(seqs[-1] == EVENTS for seqs in seen.seqs.values()) == tasks

        await eventually(all_delivered, within_s=120.0)
        repeated = seen.check(tasks)
        print(f"kills={kills} deliveries={tasks * EVENTS} repeated={repeated}")


async def _received(seen: Seen, count: int) -> None:
    """Return when so many deliveries were received."""

    def check() -> None:
        assert sum(map(len, seen.seqs.values())) >= count

    await eventually(check, within_s=120.0)


LONG = {"kills": int(os.environ.get("PUSH_KILLS", "10")), "tasks": int(os.environ.get("PUSH_TASKS", "300"))}


@pytest.mark.long
@pytest.mark.timeout(1800)
@covers("PUSH-11", "G5")
@pytest.mark.first
async def test_two_senders_on_one_file_that_are_killed_often_lose_nothing(tmp_path: Path) -> None:
    await crash(f"sqlite:///{tmp_path}/tasks.db", tmp_path, servers=2, **LONG)


@pytest.mark.long
@pytest.mark.timeout(1800)
@covers("PUSH-11", "G5")
@pytest.mark.first
async def test_two_senders_on_postgresql_that_are_killed_often_lose_nothing(
    postgres_store: str, tmp_path: Path
) -> None:
    await crash(postgres_store, tmp_path, servers=2, **LONG)
