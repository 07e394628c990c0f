"""Who waits for a new task at one replica hears how it ended, whoever ended it, and is not needed for it."""

import asyncio

import pytest

from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.store import TaskKey
from a2a_grpc.wire import Task
from tests.covers import covers
from tests.harness import eventually
from tests.replicas.rig import Replica, Site, artifact_of, reason_of

SOON_S = 5.0


async def sent(replica: Replica, text: str) -> tuple[asyncio.Task[Task], str]:
    """A send that is waited for, with the id of its task."""
    sending = asyncio.create_task(replica.say(text))

    async def begun() -> None:
        assert replica.hand.at_work == 1

    await eventually(begun)
    [task_id] = await replica.ids()
    return sending, task_id


@covers("SEND-2")
@pytest.mark.parametrize(("text", "state"), [("word", COMPLETED), ("word; park which?", INPUT_REQUIRED)])
async def test_a_send_that_is_waited_for_gives_the_task_as_every_replica_has_it(
    site: Site, text: str, state: int
) -> None:
    a, b = await site.join(), await site.join()
    task = await a.say(text)
    assert task.status.state == state
    assert [part.text for part in artifact_of(task, "word").parts] == ["word"]
    assert await a.get(task.id) == await b.get(task.id) == task


async def test_a_cancel_elsewhere_of_an_agent_that_swallows_it_ends_the_wait(site: Site) -> None:
    a, b = await site.join(), await site.join()
    sending, task_id = await sent(a, "stay; word")
    canceled = await b.cancel(task_id)
    assert canceled.status.state == CANCELED
    assert await asyncio.wait_for(sending, SOON_S) == canceled
    assert a.hand.at_work == 1


@pytest.mark.parametrize("resumable", [True, False])
async def test_the_end_that_another_replica_gave_a_task_is_told_where_it_was_sent(site: Site, resumable: bool) -> None:
    a, b = await site.join(resumable=resumable, lease_s=60.0), await site.join(resumable=resumable)
    b.hand.go.set()
    sending, task_id = await sent(a, "stay; word")
    await site.declare_dead(a.name)  # which it does not notice before its next renewal
    ended = await b.reaches(task_id, COMPLETED, FAILED)
    assert ended.status.state == (COMPLETED if resumable else FAILED)
    assert await asyncio.wait_for(sending, SOON_S) == ended, reason_of(ended)
    assert a.hand.at_work == 1


async def test_a_wake_that_is_lost_is_made_up_for_in_a_round(site: Site) -> None:
    a, b = await site.join(lease_s=60.0, poll_interval_s=0.2), await site.join()
    sending, task_id = await sent(a, "stay; word")
    b.server._running.log.bus.wake = lambda key: None  # type: ignore[method-assign]
    await b.server._running.log.store.claim(TaskKey("", "", task_id), b.name, force=True)
    canceled = await b.cancel(task_id)
    assert await asyncio.wait_for(sending, SOON_S) == canceled


async def test_a_round_disturbs_nobody_who_waits_for_a_run_that_goes_on(site: Site) -> None:
    """What a run here has appended is no news: the wait is for the run, and reads nothing."""
    a = await site.join(poll_interval_s=0.05)
    sending, task_id = await sent(a, "count 3; hold")
    for step in range(1, 4):
        a.hand.allow(1)
        await a.has_counted(task_id, step)
        await asyncio.sleep(0.2)
    key = TaskKey("", "", task_id)
    with a.server._running.log.bus.listen(key) as topic:
        assert topic.invalidations == 0
    a.hand.go.set()
    task = await asyncio.wait_for(sending, SOON_S)
    assert await a.get(task_id) == task


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_caller_that_goes_away_as_its_task_is_created_leaves_a_task_that_runs(
    site: Site, resumable: bool
) -> None:
    a, b = await site.join(resumable=resumable), await site.join(resumable=resumable)

    async def gone() -> None:
        sending.cancel()
        await asyncio.sleep(0.2)

    a.line.meanwhile("create", gone)
    sending = asyncio.ensure_future(a.say("word"))
    with pytest.raises(asyncio.CancelledError):
        await sending
    await eventually(lambda: _known(b))
    [task_id] = await b.ids()
    assert (await b.reaches(task_id, COMPLETED)).status.state == COMPLETED
    assert await site.states(task_id) == [*(await site.states(task_id))[:1], WORKING, COMPLETED]
    assert a.hand.begun == [("word", 1)]


async def _known(replica: Replica) -> None:
    assert len(await replica.ids()) == 1
