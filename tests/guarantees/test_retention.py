"""What has ended is kept for a time and in a number; what runs is kept, whatever its age."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest

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
    TERMINAL,
    WORKING,
)
from a2a_grpc.store import ListFilter, MemoryStore, Scope
from a2a_grpc.wire import TaskState
from tests.covers import covers
from tests.guarantees.rig import Workers, engine_of, key_of, serving_on, stored_task
from tests.harness import eventually, refusal, request, scripted, scripted_agent, serving

pytestmark = covers("SEC-9", "Q8")

DAY_S = 86_400.0


async def kept(store: MemoryStore, names: Sequence[str], tenant: str = "") -> list[str]:
    return [name for name in names if await store.head(key_of(name, tenant)) is not None]


async def test_ended_tasks_are_removed_by_age_and_no_sooner() -> None:
    store = MemoryStore()
    for name, age_s in (("old", 200.0), ("older", 150.0), ("young", 50.0), ("new", 0.0)):
        await stored_task(store, name, COMPLETED, age_s=age_s)
    assert await sweep(store, EngineSettings(retention_s=100.0)) == 2
    assert await kept(store, ["old", "older", "young", "new"]) == ["young", "new"]
    assert await sweep(store, EngineSettings(retention_s=100.0)) == 0


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_every_terminal_state_is_an_end(state: TaskState) -> None:
    store = MemoryStore()
    await stored_task(store, "t", state, age_s=2 * DAY_S)
    assert await sweep(store, EngineSettings()) == 1
    assert await kept(store, ["t"]) == []


@covers("Q12")
async def test_tasks_that_have_not_ended_stay_whatever_their_age_and_number() -> None:
    store = MemoryStore()
    states = [SUBMITTED, WORKING, INPUT_REQUIRED, AUTH_REQUIRED]
    for state in states:
        await stored_task(store, str(state), state, age_s=365 * DAY_S)
    settings = EngineSettings(retention_s=0.0, max_ended_tasks=0, idempotency_retention_s=0.0)
    assert await sweep(store, settings) == 0
    assert await kept(store, [str(state) for state in states]) == [str(state) for state in states]


async def test_beyond_their_number_the_tasks_that_ended_first_are_removed() -> None:
    store = MemoryStore()
    names = [f"t-{n}" for n in range(10)]
    for place, name in enumerate(names):
        await stored_task(store, name, [COMPLETED, FAILED, CANCELED, REJECTED][place % 4], age_s=10.0 - place)
    await stored_task(store, "working", WORKING, age_s=100.0)
    assert await sweep(store, EngineSettings(max_ended_tasks=3)) == 7
    assert await kept(store, [*names, "working"]) == ["t-7", "t-8", "t-9", "working"]


async def test_a_sweep_goes_on_page_by_page_until_nothing_is_left_to_remove() -> None:
    store = MemoryStore()
    names = [f"t-{n}" for n in range(2 * PAGE + 10)]
    for name in names:
        await stored_task(store, name, COMPLETED, age_s=2 * DAY_S)
    await stored_task(store, "fresh", COMPLETED)
    assert await sweep(store, EngineSettings()) == len(names)
    assert await kept(store, [*names, "fresh"]) == ["fresh"]


async def test_a_sweep_lets_the_event_loop_go_round_between_its_pages() -> None:
    store = MemoryStore()
    for number in range(3 * PAGE):
        await stored_task(store, f"t-{number}", COMPLETED, age_s=2 * DAY_S)
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    assert await sweep(store, EngineSettings()) == 3 * PAGE
    counting.cancel()
    assert rounds >= 3


async def test_all_tenants_are_swept_and_the_lists_show_what_is_left() -> None:
    store = MemoryStore()
    for tenant in ("", "a", "b"):
        await stored_task(store, "old", COMPLETED, age_s=2 * DAY_S, tenant=tenant)
        await stored_task(store, "new", COMPLETED, tenant=tenant)
    assert await sweep(store, EngineSettings()) == 3
    for tenant in ("", "a", "b"):
        assert await kept(store, ["old", "new"], tenant) == ["new"]
        page = await store.list(Scope(tenant, ""), ListFilter(), None, 10)
        assert ([listed.position.id for listed in page.tasks], page.total) == (["new"], 1)


@covers("OPEN-28")
async def test_a_server_sweeps_by_itself_and_a_removed_task_is_not_found() -> None:
    workers = Workers()
    async with serving(workers.agent, sweep_interval_s=0.01, retention_s=0.0, max_runs=2) as served:
        running = (await served.send(request("running", immediately=True))).task
        await eventually(lambda: _assert_at_work(workers))
        workers.go.set()
        await eventually(lambda: _assert_gone(served.server._running.store, running.id))
        refused = await refusal(served.get(running.id))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


def _assert_at_work(workers: Workers) -> None:
    assert workers.at_work == 1


async def _assert_gone(store: object, task_id: str) -> None:
    assert isinstance(store, MemoryStore)
    assert await store.head(key_of(task_id)) is None


@covers("Q12")
async def test_a_running_task_outlives_every_sweep_of_its_server() -> None:
    workers = Workers()
    settings = EngineSettings(retention_s=0.0, max_ended_tasks=0)
    async with serving(workers.agent) as served:
        sending = asyncio.create_task(served.send(request("running")))
        await eventually(lambda: _assert_at_work(workers))
        for _ in range(3):
            assert await sweep(engine_of(served).log.store, settings) == 0
        workers.go.set()
        assert (await sending).task.status.state == COMPLETED
        assert await sweep(engine_of(served).log.store, settings) == 1


class FailingOnce(MemoryStore):
    """Fails the first purge."""

    def __init__(self) -> None:
        super().__init__()
        self.purges = 0

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        self.purges += 1
        if self.purges == 1:
            raise OSError("no connection")
        return await super().purge(ended_age_s=ended_age_s, keep=keep, limit=limit)


async def test_a_sweep_that_failed_is_tried_again_and_the_server_stays_ready() -> None:
    store = FailingOnce()
    async with serving_on(store, scripted_agent(), sweep_interval_s=0.01, retention_s=0.0) as served:
        task = (await served.send(scripted({"complete": "x"}))).task
        await eventually(lambda: _assert_gone(store, task.id))
        assert store.purges >= 2
        assert served.server.is_ready
