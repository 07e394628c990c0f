"""Cancel reaches the agent wherever it runs, and ends the task whatever has become of its replica."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy
from sqlalchemy import event

from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, INPUT_REQUIRED, TERMINAL, WORKING
from a2a_grpc.wire import TaskState
from tests.covers import covers
from tests.harness import elements, event_state, eventually, refusal
from tests.replicas.rig import Replica, Site, count_of

SOON_S = 5.0


async def at_work(replica: Replica, text: str) -> str:
    task_id = await replica.begin(text)

    async def begun() -> None:
        assert replica.hand.at_work == 1

    await eventually(begun)
    return task_id


@covers("P8")
@pytest.mark.parametrize("resumable", [True, False])
async def test_a_cancel_at_b_stops_the_agent_at_a_and_brings_its_metadata(site: Site, resumable: bool) -> None:
    a, b = await site.join(resumable=resumable), await site.join(resumable=resumable)
    task_id = await at_work(a, "count 1; hold")
    a.hand.allow(1)
    await b.has_counted(task_id, 1)
    canceled = await b.cancel(task_id, why="no more", by=7)
    assert canceled.status.state == CANCELED
    assert count_of(canceled) == ["0"]
    await eventually(lambda: _equal((a.hand.at_work, a.hand.stopped), (0, ["count 1; hold"])), within_s=SOON_S)
    assert a.hand.cancels == [{"why": "no more", "by": 7}]
    assert await a.get(task_id) == canceled
    assert (await site.head(task_id)).replica == ""


@covers("P8")
async def test_an_idle_agent_is_stopped_by_a_cancel_at_another_replica(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await at_work(a, "ask which?")
    await b.reaches(task_id, INPUT_REQUIRED)
    assert (await b.cancel(task_id, why="no more")).status.state == CANCELED
    await eventually(lambda: _equal(a.hand.at_work, 0), within_s=SOON_S)
    assert a.hand.cancels == [{"why": "no more"}]


@covers("CANC-8", "G8")
async def test_streams_at_every_replica_get_the_canceled_event_and_end_ok(site: Site) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await at_work(a, "hold")
    await b.reaches(task_id, WORKING)
    streams = [replica.subscribe(task_id) for replica in (a, b, c)]
    for stream in streams:
        await elements(stream, 1)
    await c.cancel(task_id)
    for stream in streams:
        assert event_state((await elements(stream))[-1]) == CANCELED
        assert await stream.code() is grpc.StatusCode.OK


@covers("G8")
async def test_an_agent_that_swallows_its_cancellation_at_a_does_not_keep_the_cancel_at_b_waiting(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await at_work(a, "stay; word")
    assert (await b.cancel(task_id, why="now")).status.state == CANCELED
    await eventually(lambda: _equal(a.hand.cancels[:1], [{"why": "now"}]))
    length = len(await site.log(task_id))
    a.hand.go.set()
    await eventually(lambda: _equal(a.hand.at_work, 0))
    assert len(await site.log(task_id)) == length, "what it makes afterwards goes nowhere"
    assert len(a.engine.stats().tasks) == 0


@pytest.mark.parametrize("known", [True, False])
async def test_a_task_whose_replica_is_dead_can_be_canceled(site: Site, known: bool) -> None:
    a, b = await site.join(), await site.join(lease_s=60.0)
    task_id = await at_work(a, "hold")
    name = a.name
    await a.die(at_once=False)
    if known:
        await site.store.leave(name)
    assert (await b.cancel(task_id)).status.state == CANCELED
    assert known or b.hand.begun == [], "only a death that is known may have let it begin again before the cancel"


async def test_a_cancel_that_nobody_saw_before_the_replica_died_is_done_by_its_successor(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await at_work(a, "hold")
    a.line.cut(hangs=True)
    canceling = asyncio.ensure_future(b.cancel(task_id))
    await eventually(lambda: _asked(site, task_id))
    await a.die()
    assert (await canceling).status.state == CANCELED
    assert b.hand.begun == []


async def test_a_replica_that_is_cut_off_does_not_keep_the_cancel_waiting_and_learns_of_it(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await at_work(a, "hold; word")
    a.line.cut(hangs=True)
    assert (await b.cancel(task_id)).status.state == CANCELED
    a.line.mend()
    a.hand.go.set()
    await eventually(lambda: _equal(a.hand.at_work, 0))
    await a.reaches(task_id, CANCELED)
    assert [record.state for record in await site.log(task_id)][-1] == CANCELED


@pytest.mark.parametrize(("word", "state"), [("park", INPUT_REQUIRED), ("auth", AUTH_REQUIRED)])
async def test_a_parked_task_is_canceled_at_any_replica(site: Site, word: str, state: TaskState) -> None:
    a, b = await site.join(), await site.join()
    parked = await a.say(f"{word} what?")
    assert parked.status.state == state
    assert (await b.cancel(parked.id)).status.state == CANCELED
    assert (await a.cancel(parked.id)).status.state == CANCELED, "again: as it is"


async def test_a_task_that_waits_for_a_place_at_a_is_canceled_at_b_and_never_begins(site: Site) -> None:
    a, b = await site.join(max_runs=1), await site.join()
    first = await at_work(a, "hold")
    second = await a.begin("second")
    assert (await b.cancel(second)).status.state == CANCELED
    a.hand.go.set()
    await a.reaches(first, COMPLETED)
    assert a.hand.begun == [("hold", 1)]


@covers("G6", "CANC-7")
async def test_a_cancel_that_races_the_end_tells_the_truth(site: Site) -> None:
    a, b = await site.join(), await site.join()
    for delay_s in (0.0, 0.0, 0.001, 0.002, 0.004, 0.008, 0.016):
        task_id = await at_work(a, "hold; word")
        a.hand.go.set()
        await asyncio.sleep(delay_s)
        [outcome] = await asyncio.gather(b.cancel(task_id), return_exceptions=True)
        task = await a.reaches(task_id, *TERMINAL)
        assert await b.get(task_id) == task
        if isinstance(outcome, grpc.aio.AioRpcError):
            assert outcome.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert task.status.state == COMPLETED
        else:
            assert not isinstance(outcome, BaseException)
            assert task.status.state == outcome.status.state == CANCELED
        assert sum(record.state in TERMINAL for record in await site.log(task_id)) == 1
        a.hand.go.clear()
        await eventually(lambda: _equal(a.hand.at_work, 0))


async def test_cancels_at_every_replica_at_once_all_give_the_canceled_task(site: Site) -> None:
    replicas = [await site.join() for _ in range(3)]
    task_id = await at_work(replicas[0], "hold")
    tasks = await asyncio.gather(*[replica.cancel(task_id) for replica in replicas * 2])
    assert [task.status.state for task in tasks] == [CANCELED] * 6
    assert all(task == tasks[0] for task in tasks)


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements to every database of this process. Each "BEGIN IMMEDIATE" is a transaction that could write."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


async def test_cancels_of_many_tasks_at_once_share_their_transactions(tmp_path: Path) -> None:
    """Each took four transactions of its own, one after the other: 30 at once took ten times as long as one."""
    async with Site(f"sqlite:///{tmp_path}/tasks.db") as site:
        a, b = await site.join(), await site.join()
        ids = [await a.begin("hold") for _ in range(30)]
        await eventually(lambda: _equal(a.hand.at_work, 30))
        with statements() as sent:
            tasks = await asyncio.gather(*map(b.cancel, ids))
        assert [task.status.state for task in tasks] == [CANCELED] * 30
        assert sent.count("BEGIN IMMEDIATE") < 30


async def test_the_end_of_a_small_task_is_read_with_the_task(tmp_path: Path) -> None:
    """The row was read first, to see that the task has ended, and then the row again with the task."""
    async with Site(f"sqlite:///{tmp_path}/tasks.db") as site:
        a, b = await site.join(), await site.join()
        for text, is_small in (("hold", True), (f"say {'x' * 20_000}; hold", False)):
            task_id = await at_work(a, text)
            with statements() as sent:
                task = await b.cancel(task_id)
            assert task == await a.get(task_id)
            rows = [each for each in sent if "AS living" in each and "a2a_task.scope, a2a_task.id" in each]
            assert bool(rows) is not is_small
            await eventually(lambda: _equal(a.hand.at_work, 0))


@covers("CANC-3")
async def test_an_ended_task_of_another_replica_is_not_cancelable_and_stays_as_it_is(site: Site) -> None:
    a, b = await site.join(), await site.join()
    ended = await a.say("word")
    refused = await refusal(b.cancel(ended.id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_NOT_CANCELABLE")
    assert await b.get(ended.id) == ended


async def _asked(site: Site, task_id: str) -> None:
    assert (await site.head(task_id)).cancel is not None


def _equal(found: object, wanted: object) -> None:
    assert found == wanted
