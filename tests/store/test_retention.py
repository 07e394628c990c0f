"""Retention on every store: what ended long enough ago goes, page by page, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import Connection, select

from a2a_grpc.engine import EngineSettings
from a2a_grpc.engine.sweep import PAGE, sweep
from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    CANCELED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    REJECTED,
    SUBMITTED,
    WORKING,
)
from a2a_grpc.store import Binding, ListFilter, MemoryStore, Scope, TaskStore, open_store
from a2a_grpc.store.sql import SqlStore
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.store.sql.purging import MAX_PARTS, Deleted, count_old, delete_old, time_before
from a2a_grpc.store.sql.schema import note, task
from a2a_grpc.store.sql.upkeep.opened import opened
from a2a_grpc.wire import TaskState
from tests.covers import covers
from tests.guarantees.rig import believe_ages, key_of, serving_on, stored_task
from tests.harness import eventually, refusal, scripted, scripted_agent, texts

pytestmark = covers("Q8", "SEC-9")

OLD = 2500
HOUR_S = 3600.0
SETTINGS = EngineSettings(retention_s=HOUR_S)
ENDS = (COMPLETED, FAILED, CANCELED, REJECTED)
OPEN = (SUBMITTED, WORKING, INPUT_REQUIRED, AUTH_REQUIRED)


@pytest.fixture(params=["memory", "sqlite", "postgres", "mariadb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[TaskStore]:
    if not store_url.startswith(("memory", "sqlite")):
        await upgrade(store_url)
    store = MemoryStore() if store_url == "memory:" else open_store(store_url)
    await store.open()
    yield store
    await store.close()


async def put(store: TaskStore, name: str, state: TaskState, age_s: float, tenant: str = "") -> None:
    await stored_task(store, name, state, age_s=age_s, tenant=tenant)


async def fill(store: TaskStore) -> None:
    """Ended tasks that are older than the limit, some of each end and of several tenants; many are put in at a time."""
    for begin in range(0, OLD, 250):
        puts = [
            put(store, f"old-{n}", ENDS[n % 4], HOUR_S + 60 + OLD - n, f"tenant-{n % 3}")
            for n in range(begin, begin + 250)
        ]
        await asyncio.gather(*puts)


async def put_what_stays(store: TaskStore) -> list[str]:
    """Tasks that stay: those that ended lately, those that have not ended, whatever their age."""
    for n, state in enumerate(ENDS):
        await put(store, f"young-{n}", state, HOUR_S - 120)
    for n, state in enumerate(OPEN):
        await put(store, f"open-{n}", state, 1000 * HOUR_S)
    await believe_ages(store)
    return sorted([f"young-{n}" for n in range(4)] + [f"open-{n}" for n in range(4)])


async def names(store: TaskStore, tenant: str = "") -> list[str]:
    page = await store.list(Scope(tenant, ""), ListFilter(), None, 100)
    assert page.total == len(page.tasks)
    return sorted(listed.position.id for listed in page.tasks)


@covers("Q8")
async def test_2500_ended_tasks_older_than_the_limit_are_gone_after_a_sweep_and_no_other(store: TaskStore) -> None:
    await fill(store)
    stay = await put_what_stays(store)
    assert await sweep(store, SETTINGS) == OLD
    assert await names(store) == stay
    for n in range(3):
        assert await names(store, f"tenant-{n}") == []
    for n in (0, 1, PAGE, OLD - 1):
        key = key_of(f"old-{n}", f"tenant-{n % 3}")
        assert await store.head(key) is None
        assert await store.load(key) is None
        assert await store.read(key, 0, 10) is None
    assert await sweep(store, SETTINGS) == 0


@covers("S4-48")
async def test_the_end_counts_by_its_time_in_utc_to_the_second(store: TaskStore) -> None:
    for age_s in (HOUR_S + 30, HOUR_S - 30):
        await put(store, f"ended-{age_s:.0f}-s-ago", COMPLETED, age_s)
    await believe_ages(store)
    assert await sweep(store, SETTINGS) == 1
    assert await names(store) == ["ended-3570-s-ago"]


async def test_a_page_counts_the_notes_that_it_deletes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    await upgrade(url)
    store = open_store(url)
    assert isinstance(store, SqlStore)
    await store.open()
    for place in range(3):
        await put(store, f"ended-{place}", COMPLETED, 100.0 - place)
    await believe_ages(store)

    def fill_notes(connection: Connection) -> None:
        for pk in connection.scalars(select(task.c.pk)).all():
            values = [{"task": pk, "turn": 1, "name": f"{n}", "value": b"1234"} for n in range(MAX_PARTS // 2)]
            connection.execute(note.insert(), values)

    await store._write(fill_notes)
    assert await store.purge(ended_age_s=1.0, keep=0, limit=10) == 1
    async with opened(url, writes=True) as database:
        before_us = await database.read(time_before, 1.0)
        of_task = MAX_PARTS // 2 * 4 + await database.read(lambda found: found.scalar(select(task.c.size)) or 0)
        assert await database.read(count_old, before_us, ENDS) == {"COMPLETED": Deleted(2, 2 * of_task)}
        assert await database.write(delete_old, before_us, ENDS) == {"COMPLETED": Deleted(1, of_task)}
    assert await names(store) == ["ended-2"]
    await store.close()


async def test_beyond_their_number_the_oldest_go_and_whoever_has_not_ended_is_not_counted(store: TaskStore) -> None:
    for n in range(20):
        await put(store, f"ended-{n:02}", ENDS[n % 4], 100.0 - n)
    for n, state in enumerate(OPEN):
        await put(store, f"open-{n}", state, 1000.0)
    assert await sweep(store, EngineSettings(max_ended_tasks=5)) == 15
    assert await names(store) == [f"ended-{n}" for n in range(15, 20)] + [f"open-{n}" for n in range(4)]


@covers("Q12")
async def test_with_room_for_none_a_sweep_removes_no_task_that_has_not_ended(store: TaskStore) -> None:
    for n, state in enumerate(OPEN):
        await put(store, f"open-{n}", state, 1000 * HOUR_S)
    nothing = EngineSettings(retention_s=0.0, max_ended_tasks=0, idempotency_retention_s=0.0)
    assert await sweep(store, nothing) == 0
    assert await names(store) == [f"open-{n}" for n in range(4)]


async def test_idempotency_keys_are_forgotten_by_their_age_alone(store: TaskStore) -> None:
    scope = Scope("", "")
    await put(store, "open", WORKING, 0.0)
    for n in range(3):
        await store.bind(scope, f"key-{n}", Binding(b"request", "open", 1))
    assert await sweep(store, EngineSettings(retention_s=0.0, idempotency_retention_s=HOUR_S)) == 0
    assert await store.bound(scope, "key-0") is not None

    async def forgotten() -> None:  # a key is older than a moment only once that has passed
        await sweep(store, EngineSettings(idempotency_retention_s=0.0))
        assert [await store.bound(scope, f"key-{n}") for n in range(3)] == [None] * 3

    await eventually(forgotten)
    assert await names(store) == ["open"]


@covers("S4-47")
async def test_a_running_server_sweeps_by_itself_and_goes_on_serving(store_url: str, store: TaskStore) -> None:
    await fill(store)
    stay = await put_what_stays(store)
    agent = scripted_agent()
    served_store = store if store_url == "memory:" else open_store(store_url)
    async with serving_on(served_store, agent, retention_s=HOUR_S, sweep_interval_s=0.05) as served:
        stream = served.stream(scripted({"chunks": {"count": 5, "interval_s": 0.01}}))
        sent = [await served.send(scripted({"status": str(n)})) for n in range(10)]

        async def swept() -> None:
            for n in range(3):
                assert await names(store, f"tenant-{n}") == []

        await eventually(swept, within_s=30)
        events = [event async for event in stream]
        mine = sorted([events[0].task.id, *(response.task.id for response in sent)])
        assert await names(store) == sorted(stay + mine)
        assert texts(await served.get(events[0].task.id)) == ["".join(f"chunk {n} " for n in range(5))]
        refused = await refusal(served.get("old-1", tenant="tenant-1"))
        assert refused.code is grpc.StatusCode.NOT_FOUND
        assert served.server.is_ready
