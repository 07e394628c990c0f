"""Guarantee 5 across replicas: one run at a time per task; who lost its claim can write nothing more."""

import asyncio
import time

import pytest

from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.store import TaskKey
from tests.covers import covers
from tests.guarantees.rig import user_texts
from tests.harness import eventually, texts
from tests.replicas.rig import MEMORY, Replica, Site, artifact_of, count_of

pytestmark = covers("G5", "P7")


async def counting(replica: Replica, count: int) -> str:
    """A count that has come so far at a replica."""
    task_id = await replica.begin("count 10")
    replica.hand.allow(count)
    await replica.has_counted(task_id, count)
    return task_id


@covers("P7")
async def test_of_replicas_that_race_for_a_lost_task_one_runs_it(site: Site) -> None:
    a = await site.join()
    task_id = await counting(a, 3)
    others = [await site.join() for _ in range(4)]
    await a.die()
    for other in others:
        other.hand.allow(10)
    ended = await others[0].reaches(task_id, COMPLETED, FAILED)
    assert count_of(ended) == [str(i) for i in range(10)]
    # A replica of a busy machine may claim the task and be lost before the run begins: this is an attempt as well.
    assert [text for other in others for text, _ in other.hand.begun] == ["count 10"]


@covers("P7")
async def test_every_artifact_of_tasks_that_change_replicas_is_whole(site: Site) -> None:
    a = await site.join()
    tasks = [await a.begin("count 10") for _ in range(6)]
    a.hand.allow(23)
    await eventually(lambda: _counted(a, tasks, 23))
    b = await site.join()
    await a.die()
    b.hand.allow(14)
    await eventually(lambda: _counted(b, tasks, 37))
    c = await site.join()
    await b.die()
    c.hand.allow(60)
    for task_id in tasks:
        ended = await c.reaches(task_id, COMPLETED, FAILED)
        assert count_of(ended) == [str(i) for i in range(10)]


async def test_a_late_write_of_a_fenced_run_changes_nothing(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await counting(a, 2)
    key = TaskKey("", "", task_id)
    taken = await site.store.claim(key, b.name, force=True)  # while the run at A knows nothing of it
    assert taken is not None
    before = await site.log(task_id)
    a.hand.allow(8)
    await eventually(lambda: _equal(a.hand.at_work, 0))
    assert await site.log(task_id) == before
    assert a.hand.stopped == ["count 10"]
    assert (await site.head(task_id)).replica == b.name


async def test_the_end_of_a_fenced_run_changes_nothing(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("hold")
    await b.reaches(task_id, WORKING)
    await site.store.claim(TaskKey("", "", task_id), b.name, force=True)
    before = await site.log(task_id)
    a.hand.go.set()
    await eventually(lambda: _equal((a.hand.at_work, len(a.engine.stats().tasks)), (0, 0)))
    assert await site.log(task_id) == before


async def test_a_message_given_to_a_fenced_run_is_not_lost(site: Site) -> None:
    a, b = await site.join(), await site.join()
    asked = await a.say("ask which?")
    await site.declare_dead(a.name)  # it lives, but others have missed it
    answered = await a.say("yes", asked.id)
    assert answered.status.state == COMPLETED
    assert texts(answered) == ["yes"], "as the answer, or as a turn of its own"
    assert user_texts(await b.get(asked.id)) == ["ask which?", "yes"]


@pytest.mark.parametrize(("hangs", "resumable"), [(True, True), (False, False)])
async def test_a_replica_that_is_cut_off_from_the_store_stops_its_runs_and_comes_back_under_a_new_name(
    site: Site, resumable: bool, hangs: bool
) -> None:
    a = await site.join(resumable=resumable, lease_s=3.0)
    b = await site.join(resumable=resumable, lease_s=6.0)
    first_name = a.name
    task_id = await counting(a, 3)
    a.line.cut(hangs=hangs)
    await eventually(lambda: _equal((a.hand.at_work, a.hand.stopped), (0, ["count 10"])))
    assert not a.server.is_ready
    b.hand.allow(7)
    ended = await b.reaches(task_id, COMPLETED, FAILED)
    assert ended.status.state == (COMPLETED if resumable else FAILED)

    a.line.mend()

    await eventually(lambda: _alive(a))
    assert a.name != first_name
    assert await a.get(task_id) == ended
    again = await a.say("word")
    assert artifact_of(again, "word").parts[0].text == "word"
    assert a.hand.begun == [("count 10", 1), ("word", 1)]
    other = await a.begin("hold")
    assert (await b.cancel(other)).status.state == CANCELED, "its new name is the one that others call it by"


async def test_a_replica_that_was_declared_dead_while_it_stood_still_writes_nothing_more(site: Site) -> None:
    a, b = await site.join(lease_s=3.0), await site.join()
    first_name = a.name
    task_id = await counting(a, 2)
    await site.declare_dead(first_name)
    before = await site.log(task_id)
    a.hand.allow(8)  # it does not know of it, and goes on
    b.hand.allow(8)
    ended = await b.reaches(task_id, COMPLETED, FAILED)
    assert count_of(ended) == [str(i) for i in range(10)]
    await eventually(lambda: _renamed(a, first_name))
    await eventually(lambda: _alive(a))
    assert (await site.log(task_id))[: len(before)] == before
    assert (await a.say("word")).status.state == COMPLETED


async def test_a_replica_that_was_held_up_and_not_missed_keeps_its_runs() -> None:
    async with Site(MEMORY) as site:  # its store answers in no time, however busy the machine is
        a = await site.join(lease_s=0.3)
        name = a.name
        task_id = await counting(a, 2)
        time.sleep(0.6)
        a.hand.allow(8)
        ended = await a.reaches(task_id, COMPLETED, FAILED)
        assert count_of(ended) == [str(i) for i in range(10)]
        assert (a.name, a.hand.begun) == (name, [("count 10", 1)])


async def test_what_waits_in_ask_at_a_replica_that_lost_its_lease_is_answered_anywhere(site: Site) -> None:
    a, b = await site.join(lease_s=2.0), await site.join(lease_s=2.0)
    asked = await a.say("ask which?")
    assert asked.status.state == INPUT_REQUIRED
    a.line.cut()
    await eventually(lambda: _equal(a.hand.at_work, 0))
    a.line.mend()
    await eventually(lambda: _alive(a))
    assert await b.get(asked.id) == asked
    for replica in (a, b):
        other = await replica.say("ask which?")
        assert (await (b if replica is a else a).say("yes", other.id)).status.state == COMPLETED
    ended = await asyncio.wait_for(a.say("yes", asked.id), 20)
    assert ended.status.state == COMPLETED


@pytest.mark.parametrize("way", ["create", "claim"])
async def test_a_replica_that_was_held_up_begins_nothing_that_another_has_taken_over_meanwhile(way: str) -> None:
    async with Site(MEMORY) as site:
        a, dead = await site.join(lease_s=0.3), await site.join(lease_s=30.0)
        taken: list[TaskKey] = []

        async def taken_over() -> None:
            time.sleep(0.6)  # this process stands still
            [key] = await site.store.claimed_by(a.name)
            await site.store.leave(a.name)
            await site.store.join("other", 30.0)
            await site.store.claim(key, "other")
            taken.append(key)

        if way == "create":
            a.line.meanwhile(way, taken_over)
            await a.begin("word")
        else:
            task_id = await dead.begin("hold")
            await dead.reaches(task_id, WORKING)
            a.line.meanwhile(way, taken_over)
            await dead.die()
        await eventually(lambda: _equal(len(taken), 1))
        await eventually(lambda: _equal(len(a.engine.stats().tasks), 0))
        assert a.hand.begun == []
        assert (await site.head(taken[0].id)).replica == "other"


async def _counted(replica: Replica, tasks: list[str], steps: int) -> None:
    assert sum([len(count_of(await replica.get(task_id))) for task_id in tasks]) == steps


def _renamed(replica: Replica, former: str) -> None:
    assert replica.name != former


async def _alive(replica: Replica) -> None:
    assert await replica.server.check_ready()


def _equal(found: object, wanted: object) -> None:
    assert found == wanted
