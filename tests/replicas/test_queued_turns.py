"""Messages that wait behind a running turn are as safe as the task, and as few, whichever replicas they came to."""

import asyncio

import grpc
import pytest

from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED
from tests.covers import covers
from tests.guarantees.rig import user_texts
from tests.harness import Refusal, eventually, refusal
from tests.replicas.rig import Replica, Site


async def busy(replica: Replica) -> str:
    """A task whose first turn is at work."""
    task_id = await replica.begin("hold; park first")

    async def begun() -> None:
        assert replica.hand.begun == [("hold; park first", 1)]

    await eventually(begun)
    return task_id


def texts_begun(*replicas: Replica) -> list[str]:
    return [text for replica in replicas for text, _ in replica.hand.begun]


@covers("OPEN-15")
async def test_messages_to_every_replica_become_turns_in_the_order_in_which_they_were_accepted(site: Site) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await busy(a)
    for n, replica in enumerate((b, c, a, c, b)):
        await replica.follow_up(f"park {n}", task_id)
    a.hand.go.set()
    await eventually(lambda: _assert_equal(texts_begun(a)[1:], [f"park {n}" for n in range(5)]))
    task = await c.reaches(task_id, INPUT_REQUIRED)
    await eventually(lambda: _said(c, task_id, [f"park {n}" for n in range(5)]))
    assert texts_begun(b, c) == []
    assert task.id == task_id


async def test_waiting_messages_survive_the_death_of_the_replica_in_their_order(site: Site) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await busy(a)
    for n, replica in enumerate((a, b, a, b)):
        await replica.follow_up(f"park {n}", task_id)
    await a.die()
    b.hand.go.set()
    c.hand.go.set()
    await eventually(lambda: _said(b, task_id, [f"park {n}" for n in range(4)]))
    await c.reaches(task_id, INPUT_REQUIRED)
    assert texts_begun(b, c) == ["hold; park first", *(f"park {n}" for n in range(4))]
    assert [attempt for replica in (b, c) for _, attempt in replica.hand.begun] == [2, 1, 1, 1, 1]


async def test_waiting_messages_survive_the_death_of_all_replicas(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await busy(a)
    for n, replica in enumerate((a, b, b)):
        await replica.follow_up(f"park {n}", task_id)
    await asyncio.gather(a.die(), b.die())
    c = await site.join()
    c.hand.go.set()
    await eventually(lambda: _said(c, task_id, ["park 0", "park 1", "park 2"]))
    assert texts_begun(c) == ["hold; park first", "park 0", "park 1", "park 2"]


async def test_waiting_messages_of_an_agent_that_is_not_resumable_end_with_their_task(site: Site) -> None:
    a, b = await site.join(resumable=False), await site.join(resumable=False)
    task_id = await busy(a)
    waiting = asyncio.ensure_future(refusal(b.say("park second", task_id)))
    await eventually(lambda: _waiting(site, task_id, 1))
    await a.die()
    await b.reaches(task_id, FAILED)
    refused = await waiting
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
    assert texts_begun(b) == []


async def test_the_messages_that_may_wait_are_counted_across_all_replicas(site: Site) -> None:
    a, b, c = [await site.join(max_queued_turns=4) for _ in range(3)]
    task_id = await busy(a)
    for n, replica in enumerate((a, b, c, b)):
        await replica.follow_up(f"park {n}", task_id)
    for replica in (a, b, c):
        refused = await refusal(replica.follow_up("one too many", task_id))
        assert (refused.code, refused.retry_after_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1.0)
    a.hand.go.set()
    await eventually(lambda: _said(b, task_id, [f"park {n}" for n in range(4)]))
    assert "one too many" not in texts_begun(a, b, c)


@covers("OPEN-15")
async def test_of_messages_that_race_for_the_last_places_as_many_are_accepted_as_may_wait(site: Site) -> None:
    replicas = [await site.join(max_queued_turns=5) for _ in range(3)]
    a, _, c = replicas
    task_id = await busy(a)
    sends = [replicas[n % 3].follow_up(f"park {n}", task_id) for n in range(12)]
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [error.code() for error in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 7
    accepted = [f"park {n}" for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    a.hand.go.set()
    await eventually(lambda: _assert_equal(sorted(texts_begun(a)[1:]), sorted(accepted)))
    await eventually(lambda: _said(c, task_id, texts_begun(a)[1:]))


@covers("SEND-12")
async def test_a_message_sent_twice_with_one_key_to_two_replicas_is_one_turn(site: Site) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await busy(a)
    key = ("idempotency-key", "k-1")
    await asyncio.gather(*[replica.follow_up("park once", task_id, key) for replica in (a, b, c)])
    await b.follow_up("park last", task_id)
    a.hand.go.set()
    await eventually(lambda: _said(c, task_id, ["park once", "park last"]))
    assert texts_begun(a, b, c) == ["hold; park first", "park once", "park last"]


@covers("SEND-12")
async def test_a_first_message_sent_twice_with_one_key_to_two_replicas_is_one_task_and_one_run(site: Site) -> None:
    replicas = [await site.join() for _ in range(3)]
    key = ("idempotency-key", "k-1")
    tasks = await asyncio.gather(*[replica.say("word", "", key) for replica in replicas])
    assert len({task.id for task in tasks}) == 1
    assert await replicas[0].ids() == [tasks[0].id]
    assert texts_begun(*replicas) == ["word"]


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_blocking_send_that_waits_at_b_for_its_turn_at_a_gets_its_own_turns_result(
    site: Site, resumable: bool
) -> None:
    a, b = await site.join(resumable=resumable), await site.join(resumable=resumable)
    task_id = await busy(a)
    sends = [asyncio.ensure_future(b.say(f"park {n}", task_id)) for n in range(3)]
    await eventually(lambda: _waiting(site, task_id, 3))
    a.hand.go.set()
    for said in await asyncio.gather(*sends):
        assert said.status.state == INPUT_REQUIRED
        assert said.status.message.parts[0].text == user_texts(said)[-1].removeprefix("park ")


async def test_a_cancel_forgets_the_messages_that_wait_and_tells_those_who_sent_them(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await busy(a)
    waiting: asyncio.Future[Refusal] = asyncio.ensure_future(refusal(b.say("park second", task_id)))
    await eventually(lambda: _waiting(site, task_id, 1))
    assert (await b.cancel(task_id)).status.state == CANCELED
    assert (await waiting).reason == "UNSUPPORTED_OPERATION"
    assert texts_begun(a, b) == ["hold; park first"]


async def test_a_task_that_ends_with_messages_waiting_plays_none_of_them(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("hold; word")
    await eventually(lambda: _assert_equal(texts_begun(a), ["hold; word"]))
    waiting = asyncio.ensure_future(refusal(b.say("park second", task_id)))
    await eventually(lambda: _waiting(site, task_id, 1))
    a.hand.go.set()
    assert (await waiting).reason == "UNSUPPORTED_OPERATION"
    assert (await b.get(task_id)).status.state == COMPLETED
    assert texts_begun(a, b) == ["hold; word"]


async def _said(replica: Replica, task_id: str, wanted: list[str]) -> None:
    """The user's messages after the first are in the log, and nothing else waits."""
    task = await replica.get(task_id)
    assert user_texts(task)[1:] == wanted
    assert task.status.state == INPUT_REQUIRED


async def _waiting(site: Site, task_id: str, count: int) -> None:
    head = await site.head(task_id)
    assert head.last_turn - head.turn == count


def _assert_equal(found: object, wanted: object) -> None:
    assert found == wanted
