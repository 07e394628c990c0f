"""`ask` across replicas: an answer finds the run that waits for it, or runs the handler again if that run is gone."""

import asyncio

import grpc
import pytest

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.store import TaskKey
from tests.covers import covers
from tests.guarantees.rig import user_texts
from tests.harness import elements, event_state, eventually, refusal, texts
from tests.replicas.rig import Replica, Site, reason_of, saying

KEY = ("idempotency-key", "k-1")


async def asking(replica: Replica, text: str = "ask which?") -> str:
    """A task whose run waits for an answer."""
    task = await replica.say(text)
    assert task.status.state == INPUT_REQUIRED
    return task.id


@pytest.mark.parametrize("resumable", [True, False])
async def test_an_answer_at_b_reaches_the_run_that_waits_at_a(site: Site, resumable: bool) -> None:
    a, b = await site.join(resumable=resumable), await site.join(resumable=resumable)
    task_id = await asking(a)
    ended = await b.say("this one", task_id)
    assert ended.status.state == COMPLETED
    assert texts(ended) == ["this one"]
    assert a.hand.begun == [("ask which?", 1)]
    assert b.hand.begun == []
    assert await site.states(task_id) == [SUBMITTED, WORKING, INPUT_REQUIRED, WORKING, COMPLETED]


@covers("G5")
@pytest.mark.parametrize("resumable", [True, False])
async def test_a_run_that_waits_is_stopped_when_its_replica_was_declared_dead_and_takes_no_answer(
    site: Site, resumable: bool
) -> None:
    a = await site.join(resumable=resumable)
    task_id, former = await asking(a), a.name
    await site.declare_dead(former)

    def has_a_new_name() -> None:
        assert a.name != former
        assert a.engine.stats().tasks == ()

    await eventually(has_a_new_name)
    assert texts(await a.say("this one", task_id)) == ["this one"]
    assert a.hand.begun == [("ask which?", 1), ("ask which?", 1)]


async def test_an_answer_that_is_not_waited_for_is_seen_taken_all_the_same(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await asking(a, "ask which?; hold")
    answered = await b.follow_up("this one", task_id)
    assert answered.status.state == WORKING
    assert user_texts(answered)[-1] == "this one"
    a.hand.go.set()
    await b.reaches(task_id, COMPLETED)


async def test_questions_of_one_run_are_answered_at_one_replica_after_the_other(site: Site) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await asking(a, "ask one?; ask two?; ask three?; ask four?")
    for n, replica in enumerate((b, c, a)):
        task = await replica.say(f"answer {n}", task_id)
        assert task.status.state == INPUT_REQUIRED
        assert texts(task) == [f"answer {n}"]
    assert texts(await b.say("last", task_id)) == ["last"]
    assert len(a.hand.begun + b.hand.begun + c.hand.begun) == 1


@pytest.mark.parametrize("resumable", [True, False])
async def test_an_answer_whose_run_is_gone_runs_the_handler_again_for_the_first_message(
    site: Site, resumable: bool
) -> None:
    a, b = await site.join(resumable=resumable), await site.join(resumable=resumable)
    task_id = await asking(a)
    await a.die()
    ended = await b.say("this one", task_id)
    assert ended.status.state == COMPLETED
    assert b.hand.begun == [("ask which?", 1)], "no run that worked was lost"
    assert b.hand.histories == a.hand.histories == [["ask which?"]]
    assert texts(ended) == ["this one"]


async def test_an_answer_to_a_replica_that_died_unnoticed_is_played_where_it_arrived(site: Site) -> None:
    a, b = await site.join(lease_s=2.0), await site.join(lease_s=2.0)
    task_id = await asking(a)
    await a.die(at_once=False)
    answered = await b.say("yes", task_id)  # before anybody knows that the run is gone
    assert answered.status.state == COMPLETED
    assert texts(answered) == ["yes"]
    assert b.hand.begun == [("ask which?", 1)]


async def test_an_answer_that_was_taken_begins_the_run_again_where_it_dies_afterwards(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await asking(a, "ask which?; hold")
    await b.follow_up("yes", task_id)
    await b.reaches(task_id, WORKING)
    await a.die()
    b.hand.go.set()
    ended = await b.reaches(task_id, INPUT_REQUIRED, COMPLETED)
    assert b.hand.begun == [("ask which?; hold", 2)], "the run begins with the message that began it"
    assert ended.status.state == COMPLETED, "the recorded answer is not asked for again"
    assert user_texts(ended) == ["ask which?; hold", "yes"]
    assert texts(ended) == ["yes"]


@pytest.mark.parametrize("same", [True, False])
async def test_an_answer_that_is_sent_twice_with_one_idempotency_key_counts_once(site: Site, same: bool) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await asking(a, "ask one?; ask two?")
    first, second = await asyncio.gather(b.say("yes", task_id, KEY), (b if same else c).say("yes", task_id, KEY))
    assert [task.status.state for task in (first, second)] == [INPUT_REQUIRED, INPUT_REQUIRED]
    assert reason_of(first) == reason_of(second) == "two?"
    assert user_texts(await a.get(task_id)) == ["ask one?; ask two?", "yes"]
    ended = await c.say("no", task_id)
    assert ended.status.state == COMPLETED
    assert (await a.say("yes", task_id, KEY)).status.state == COMPLETED, "also long after"
    assert user_texts(await a.get(task_id)) == ["ask one?; ask two?", "yes", "no"]


async def test_a_key_of_an_answer_stands_for_that_answer_at_every_replica(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await asking(a)
    await b.say("yes", task_id, KEY)
    refused = await refusal(a.say("no", task_id, KEY))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["idempotency-key"])


@pytest.mark.parametrize("gone", [True, False])
async def test_of_two_answers_to_one_question_one_is_the_answer_the_other_the_next_turn(site: Site, gone: bool) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    task_id = await asking(a, "ask which?; park more?")
    if gone:
        await a.die()
    replies = ("park b", "park c")
    await asyncio.gather(b.say(replies[0], task_id), c.say(replies[1], task_id))
    await b.reaches(task_id, INPUT_REQUIRED)

    async def both() -> None:
        assert sorted(user_texts(await b.get(task_id))[1:]) == sorted(replies)

    await eventually(both)
    turns = {record.turn for record in await site.log(task_id)}
    assert turns == {1, 2, 3}
    begun = sorted(text for replica in (a, b, c) for text, _ in replica.hand.begun)
    assert begun[: 1 + gone] == ["ask which?; park more?"] * (1 + gone)
    assert len(begun) == 2 + gone
    assert begun[-1] in replies


async def test_an_answer_streamed_at_b_shows_what_its_run_makes_at_a(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await asking(a, "ask which?; hold")
    stream = b.stream(saying("yes", task_id))
    [first] = await elements(stream, 1)
    assert first.WhichOneof("payload") == "task"
    a.hand.go.set()
    events = await elements(stream)
    assert await stream.code() is grpc.StatusCode.OK
    assert event_state(events[-1]) == COMPLETED
    seq = int(dict(await stream.initial_metadata())["a2a-grpc-seq"])
    assert [event.SerializeToString() for event in events] == [
        record.event for record in (await site.log(task_id))[seq:]
    ]


async def test_a_message_that_comes_while_a_parked_task_is_looked_at_by_its_finder_is_played(site: Site) -> None:
    a, b, c = [await site.join() for _ in range(3)]
    parked = await a.say("park which?")
    # what a replica does that has found a lost task which waits for its user, just before it lets go of it again
    held = await site.store.claim(TaskKey("", "", parked.id), b.name)
    assert held is not None
    await c.follow_up("park one", parked.id)
    await site.store.release(TaskKey("", "", parked.id), held.epoch)
    await eventually(lambda: _said(b, parked.id, ["park one"]))


async def test_of_messages_that_come_meanwhile_to_two_replicas_both_are_played_in_order(site: Site) -> None:
    a, b, c = [await site.join(poll_interval_s=60.0) for _ in range(3)]
    parked = await a.say("park which?")
    held = await site.store.claim(TaskKey("", "", parked.id), b.name)
    assert held is not None
    b.line.cut(hangs=True)  # so that nothing comes in between
    first = asyncio.ensure_future(c.follow_up("park one", parked.id))
    await eventually(lambda: _accepted(site, parked.id, 2))
    b.line.mend()
    await b.say("park two", parked.id)
    await first
    await eventually(lambda: _said(b, parked.id, ["park one", "park two"]))


async def _said(replica: Replica, task_id: str, wanted: list[str]) -> None:
    assert user_texts(await replica.get(task_id))[1:] == wanted


async def _accepted(site: Site, task_id: str, turn: int) -> None:
    assert (await site.head(task_id)).last_turn == turn
