"""Guarantee 10: a replica that dies leaves no task WORKING."""

import asyncio

import grpc
import pytest

from a2a_grpc.engine.takeover import ATTEMPTS_FAILURE, LOST_FAILURE
from a2a_grpc.lifecycle import AUTH_REQUIRED, COMPLETED, FAILED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.wire import TaskState
from tests.covers import covers
from tests.harness import event_state, eventually, refusal
from tests.replicas.rig import MEMORY, Site, artifact_of, count_of, reason_of

pytestmark = covers("G10", "P6")

TEN = [str(i) for i in range(10)]


async def test_a_resumable_run_goes_on_at_another_replica_from_its_checkpoint(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("count 10")
    a.hand.allow(4)
    await b.has_counted(task_id, 4)
    await a.die()

    b.hand.allow(6)
    ended = await b.reaches(task_id, COMPLETED, FAILED)

    assert ended.status.state == COMPLETED
    assert count_of(ended) == TEN
    assert (a.hand.begun, b.hand.begun) == ([("count 10", 1)], [("count 10", 2)])
    assert b.hand.histories == [["count 10"]]
    assert await site.states(task_id) == [SUBMITTED, WORKING, COMPLETED]


async def test_a_run_that_is_not_resumable_ends_in_failed_with_the_reason(site: Site) -> None:
    a, b = await site.join(resumable=False), await site.join(resumable=False)
    task_id = await a.begin("count 10")
    a.hand.allow(2)
    await b.has_counted(task_id, 2)
    await a.die()

    ended = await b.reaches(task_id, COMPLETED, FAILED)

    assert ended.status.state == FAILED
    assert reason_of(ended) == LOST_FAILURE
    assert count_of(ended) == ["0", "1"]
    assert b.hand.begun == []


@pytest.mark.parametrize("resumable", [True, False])
async def test_nobody_has_to_be_told_of_the_death_its_lease_tells(site: Site, resumable: bool) -> None:
    a = await site.join(resumable=resumable, lease_s=1.5)
    b = await site.join(resumable=resumable, lease_s=1.5)
    task_id = await a.begin("count 1; hold")
    b.hand.go.set()
    b.hand.allow(1)
    a.hand.allow(1)
    await b.has_counted(task_id, 1)
    await a.die(at_once=False)
    ended = await b.reaches(task_id, COMPLETED, FAILED)
    assert ended.status.state == (COMPLETED if resumable else FAILED)


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_server_that_starts_where_all_have_died_settles_what_they_left(site: Site, resumable: bool) -> None:
    a = await site.join(resumable=resumable)
    working = [await a.begin("count 2; hold") for _ in range(5)]
    a.hand.allow(5)
    await eventually(lambda: _equal(len(a.hand.begun), 5))
    await a.die()

    b = await site.join(resumable=resumable)
    b.hand.allow(10)
    b.hand.go.set()

    for task_id in working:
        ended = await b.reaches(task_id, COMPLETED, FAILED)
        assert ended.status.state == (COMPLETED if resumable else FAILED)
        assert count_of(ended) == ["0", "1"] or not resumable


async def test_a_task_that_was_accepted_and_had_not_begun_is_not_forgotten(site: Site) -> None:
    a = await site.join(max_runs=1)
    first, second = await a.begin("hold"), await a.begin("second")
    await a.reaches(first, WORKING)
    await a.reaches(second, SUBMITTED)
    await a.die()
    b = await site.join()
    b.hand.go.set()
    await b.reaches(first, COMPLETED)
    ended = await b.reaches(second, COMPLETED)
    assert artifact_of(ended, "word").parts[0].text == "second"


async def test_a_run_that_dies_with_every_replica_is_given_up_after_so_many_attempts(site: Site) -> None:
    replica = await site.join(max_attempts=3)
    task_id = await replica.begin("count 10")
    for attempt in (1, 2, 3):
        replica.hand.allow(1)
        await replica.has_counted(task_id, attempt)
        assert replica.hand.begun == [("count 10", attempt)]
        await replica.die()
        replica = await site.join(max_attempts=3)
    ended = await replica.reaches(task_id, COMPLETED, FAILED)
    assert ended.status.state == FAILED
    assert reason_of(ended) == ATTEMPTS_FAILURE.format(attempts=3)
    assert replica.hand.begun == []
    assert count_of(ended) == ["0", "1", "2"]


async def test_a_message_that_comes_while_a_task_is_taken_over_leaves_it_its_place() -> None:
    full: list[grpc.StatusCode] = []
    async with Site(MEMORY) as site:
        a, b = await site.join(), await site.join(max_runs=1, max_queued_runs=0)
        task_id = await a.begin("hold")
        await b.reaches(task_id, WORKING)

        async def another() -> None:
            full.append((await refusal(b.begin("hold"))).code)

        b.line.meanwhile("claim", another)
        await a.die()
        await eventually(lambda: _equal(b.hand.begun, [("hold", 2)]))
        assert full == [grpc.StatusCode.RESOURCE_EXHAUSTED]
        b.hand.go.set()
        await b.reaches(task_id, COMPLETED)


async def test_a_task_that_may_not_begin_again_needs_no_room_to_end() -> None:
    async with Site(MEMORY) as site:
        a, b = await site.join(resumable=False), await site.join(resumable=False, max_runs=1, max_queued_runs=0)
        task_id, _ = await a.begin("hold"), await b.begin("hold")
        await eventually(lambda: _equal((a.hand.at_work, b.hand.at_work), (1, 1)))
        await a.die()
        assert reason_of(await b.reaches(task_id, FAILED)) == LOST_FAILURE
        assert b.hand.at_work == 1


async def test_each_turn_has_its_attempts_of_its_own(site: Site) -> None:
    a, b = await site.join(max_attempts=2), await site.join(max_attempts=2)
    task_id = await a.begin("park one")
    await a.reaches(task_id, INPUT_REQUIRED)
    await a.follow_up("hold; park two", task_id)
    await eventually(lambda: _equal(a.hand.begun[-1], ("hold; park two", 1)))
    await a.die()
    b.hand.go.set()
    await b.reaches(task_id, INPUT_REQUIRED)
    assert b.hand.begun == [("hold; park two", 2)]
    assert (await b.say("park three", task_id)).status.state == INPUT_REQUIRED
    assert b.hand.begun[-1] == ("park three", 1)


@pytest.mark.parametrize(("word", "state"), [("park", INPUT_REQUIRED), ("auth", AUTH_REQUIRED)])
async def test_a_parked_task_belongs_to_nobody_and_costs_nothing(site: Site, word: str, state: TaskState) -> None:
    a = await site.join()
    parked = await a.say(f"{word} what?")
    assert parked.status.state == state
    assert (await site.head(parked.id)).replica == ""
    await eventually(lambda: _equal(len(a.engine.stats().tasks), 0))
    assert not [task for task in asyncio.all_tasks() if parked.id in task.get_name()]


@pytest.mark.parametrize(("word", "state"), [("park", INPUT_REQUIRED), ("auth", AUTH_REQUIRED)])
@pytest.mark.parametrize("resumable", [True, False])
async def test_a_parked_task_waits_on_when_all_replicas_die_and_goes_on_at_any_other(
    site: Site, resumable: bool, word: str, state: TaskState
) -> None:
    a = await site.join(resumable=resumable)
    parked = await a.say(f"{word} what?")
    await a.die()
    b, c = await site.join(resumable=resumable), await site.join(resumable=resumable)
    assert await b.get(parked.id) == parked
    assert (await b.say(f"{word} else?", parked.id)).status.state == state
    ended = await c.say("that", parked.id)
    assert ended.status.state == COMPLETED
    assert artifact_of(ended, "word").parts[0].text == "that"
    assert c.hand.histories == [[f"{word} what?", "what?", f"{word} else?", "else?", "that"]]


async def test_what_waits_in_ask_waits_on_when_its_replica_dies(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("ask which?")
    asked = await b.reaches(task_id, INPUT_REQUIRED)
    await a.die()
    await eventually(lambda: _unheld(site, task_id))
    assert await b.get(task_id) == asked
    assert b.hand.begun == []


async def test_followers_at_the_surviving_replica_see_the_whole_of_it(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("count 10")
    stream = b.subscribe(task_id, ("a2a-grpc-after", "0"))
    a.hand.allow(5)
    await b.has_counted(task_id, 5)
    await a.die()
    b.hand.allow(5)
    events = [event async for event in stream]
    assert [event.SerializeToString() for event in events] == [record.event for record in await site.log(task_id)]
    assert event_state(events[-1]) == COMPLETED
    assert await stream.code() is grpc.StatusCode.OK


async def test_the_work_of_a_dead_replica_is_shared_by_the_others_and_each_task_taken_over_once(site: Site) -> None:
    a = await site.join()
    tasks = [await a.begin(f"hold; {n}") for n in range(12)]
    await eventually(lambda: _equal(a.hand.at_work, 12))
    others = [await site.join() for _ in range(3)]
    for other in others:
        other.hand.go.set()
    await a.die()
    for n, task_id in enumerate(tasks):
        ended = await others[n % 3].reaches(task_id, COMPLETED, FAILED)
        assert artifact_of(ended, "word").parts[0].text == str(n)
    begun = sorted(turn for other in others for turn in other.hand.begun)
    assert begun == sorted((f"hold; {n}", 2) for n in range(12))


async def test_a_message_to_a_task_whose_replica_is_dead_is_accepted_and_played(site: Site) -> None:
    a, b = await site.join(), await site.join(lease_s=60.0)
    task_id = await a.begin("hold; park first")
    await eventually(lambda: _equal(a.hand.at_work, 1))
    name = a.name
    await a.die(at_once=False)
    await site.store.leave(name)  # nobody is told: the next look is 20 s away
    b.hand.go.set()
    ended = await b.say("second", task_id)
    assert ended.status.state == COMPLETED
    assert b.hand.begun == [("hold; park first", 2), ("second", 1)]
    refused = await refusal(b.say("third", task_id))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION


async def _unheld(site: Site, task_id: str) -> None:
    assert (await site.head(task_id)).replica == ""


def _equal(found: object, wanted: object) -> None:
    assert found == wanted
