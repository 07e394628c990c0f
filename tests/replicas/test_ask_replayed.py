"""`ask` across the end of a server: the handler runs again for its first message and gets the recorded answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from a2a_grpc import Message, Task
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.parts import struct, text_of
from a2a_grpc.store import TaskKey
from a2a_grpc.wire import StreamResponse
from tests.guarantees.rig import user_texts
from tests.harness import eventually, texts
from tests.replicas.rig import Replica, Site, artifact_of, reason_of, saying

ANSWERS = ["one", "two", "three"]
QUIZ = "quiz 3"


async def drain(site: Site, holder: Replica, task_id: str) -> None:
    await holder.server.stop()


async def kill(site: Site, holder: Replica, task_id: str) -> None:
    await holder.die()


async def lapse(site: Site, holder: Replica, task_id: str) -> None:
    """The holder is killed, and the others have yet to learn of it by its lease."""
    await holder.die(at_once=False)


async def let_go(site: Site, holder: Replica, task_id: str) -> None:
    holder.engine._resources.held._hold_s = 0.0
    holder.engine._resources.held._changed.set()
    await eventually(lambda: _nobody_holds(site, task_id))


async def _nobody_holds(site: Site, task_id: str) -> None:
    assert (await site.head(task_id)).replica == ""


Way = Callable[[Site, Replica, str], Awaitable[None]]
WAYS: list[Way] = [drain, kill, lapse, let_go]


async def begun(replica: Replica, text: str = QUIZ) -> Task:
    sent = saying(text)
    sent.metadata.CopyFrom(struct({"by": "ada"}))
    task: Task = (await replica.send(sent)).task
    assert (task.status.state, reason_of(task)) == (INPUT_REQUIRED, "question 1?")
    return task


async def answered(site: Site, first: Replica, task: Task, way: Way, places: set[int], **settings: Any) -> Task:
    """Answer each question of a quiz, after the holder has ended at each of these places; another replica answers."""
    holder, task_id = first, task.id
    for place, answer in enumerate(ANSWERS):
        assert reason_of(task) == f"question {place + 1}?"
        if place in places:
            other = await site.join(**settings)
            await way(site, holder, task_id)
            holder = other
        task = await holder.say(answer, task_id)
    return task


@pytest.mark.few(4)
@pytest.mark.parametrize("resumable", [True, False], ids=["resumable", "not resumable"])
@pytest.mark.parametrize(
    "places", [{0, 1, 2}, *(pytest.param({place}, marks=pytest.mark.long) for place in range(3))], ids=str
)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_at_each_question_the_answers_are_right_and_the_text_stays_the_first(
    site: Site, way: Way, places: set[int], resumable: bool
) -> None:
    settings: dict[str, Any] = {"resumable": resumable, "lease_s": 2.0 if way is lapse else 6.0}
    first = await site.join(**settings)
    ended = await answered(site, first, await begun(first), way, places, **settings)
    assert ended.status.state == COMPLETED
    assert texts(ended) == [f"{QUIZ}|{QUIZ}|ada|one|two|three"]
    assert user_texts(ended) == [QUIZ, *ANSWERS]
    asked = [SUBMITTED, *[WORKING, INPUT_REQUIRED] * 3, WORKING, COMPLETED]
    assert await site.states(ended.id) == asked, "no question is asked twice"


async def test_more_ends_of_servers_than_attempts_lose_no_task_that_waits(site: Site) -> None:
    a = await site.join(max_attempts=2)
    task = await begun(a)
    for _ in range(4):
        b = await site.join(max_attempts=2)
        await a.die()
        a = b
        await eventually(lambda: _nobody_holds(site, task.id), within_s=20)
    for answer in ANSWERS:
        task = await a.say(answer, task.id)
    assert task.status.state == COMPLETED


async def test_a_resumable_run_that_is_lost_after_its_answers_gets_all_of_them_again(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task = await begun(a, "quiz 3; hold")
    for answer in ANSWERS[:2]:
        await a.say(answer, task.id)
    await a.follow_up(ANSWERS[2], task.id)
    await a.reaches(task.id, WORKING)
    await a.die()
    b.hand.go.set()
    ended = await b.reaches(task.id, COMPLETED)
    assert texts(ended) == ["quiz 3; hold|quiz 3; hold|ada|one|two|three"]
    assert b.hand.begun == [("quiz 3; hold", 2)]


@pytest.mark.few(2)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("answers", [1, 2, 3])
async def test_a_handler_that_asks_something_else_than_before_ends_failed_saying_so(
    site: Site, way: Way, answers: int
) -> None:
    a, b = await site.join(lease_s=2.0), await site.join(lease_s=2.0)
    task = await begun(a)
    for answer in ANSWERS[: answers - 1]:
        task = await a.say(answer, task.id)
    await way(site, a, task.id)
    b.hand.question = "other question {}?"
    ended = await b.say(ANSWERS[answers - 1], task.id)
    assert ended.status.state == FAILED
    assert "asked another question" in reason_of(ended)
    assert "question 1 of this turn" in reason_of(ended)
    assert not ended.artifacts


async def test_a_handler_that_asks_less_than_before_ends_failed_saying_so(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task = await begun(a)
    await a.die()
    b.hand.question = "question 1?"
    b.hand._step = _skip  # type: ignore[method-assign]
    ended = await b.say("one", task.id)
    assert ended.status.state == FAILED
    assert "ended without the question that was answered before (question 1" in reason_of(ended)


async def _skip(turn: Any, verb: str, rest: str) -> None:
    return None


async def test_updates_before_the_last_answer_are_not_written_again(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task = await a.say("say first; note a; note b; ask one?; say second; note c; ask two?; say third; note d")
    task = await a.say("1", task.id)
    before = await site.log(task.id)
    await a.die()
    ended = await b.say("2", task.id)
    assert ended.status.state == COMPLETED
    assert [text_of([part]) for part in artifact_of(ended, "notes").parts] == ["a", "b", "c", "d"]
    after = (await site.log(task.id))[len(before) :]
    assert [_told(StreamResponse.FromString(record.event)) for record in after] == [
        "status", "answer: 2", "status third", "notes: d", "status",
    ]  # fmt: skip


def _told(event: StreamResponse) -> str:
    if event.WhichOneof("payload") == "artifact_update":
        artifact = event.artifact_update.artifact
        return f"{artifact.artifact_id}: {text_of(artifact)}"
    return f"status {text_of(event.status_update.status.message)}".strip()


async def test_a_turn_that_ended_in_input_required_still_gets_a_new_turn_for_its_next_message(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task = await a.say("ask one?; park more?")
    task = await a.say("1", task.id)
    assert (task.status.state, reason_of(task)) == (INPUT_REQUIRED, "more?")
    await a.die()
    ended = await b.say("word", task.id)
    assert ended.status.state == COMPLETED
    assert b.hand.begun == [("word", 1)]


async def test_an_answer_that_comes_while_the_handler_is_let_go_is_not_lost(site: Site) -> None:
    a, b = await site.join(), await site.join()
    for _ in range(10):
        task = await begun(a)
        held = a.engine._resources.held
        [run] = held._since
        _, ended = await asyncio.gather(a.engine._runs.let_go(run), b.say("one", task.id))
        assert (ended.status.state, reason_of(ended)) == (INPUT_REQUIRED, "question 2?")
        await a.cancel(task.id)


async def test_what_an_earlier_run_kept_is_gone_once_the_task_has_ended(site: Site) -> None:
    a = await site.join(resumable=False)
    task = await begun(a)
    key = TaskKey("", "", task.id)
    assert [pending.turn for pending in await site.store.pending(key)] == [1]
    for answer in ANSWERS:
        task = await a.say(answer, task.id)
    assert task.status.state == COMPLETED
    assert await site.store.pending(key) == []


def test_the_words_of_messages_are_compared_and_nothing_else() -> None:
    from a2a_grpc.agent import Failed
    from a2a_grpc.engine.replay import Asked, Replay
    from a2a_grpc.parts import agent_message, user_message
    from a2a_grpc.wire import SendMessageRequest

    answer = SendMessageRequest(message=user_message("yes"))
    asked = agent_message(["Which?", {"choices": [1, 2]}], context_id="c", task_id="t")
    for again, fits in (
        (agent_message(["Which?", {"choices": [1, 2]}], context_id="c", task_id="t"), True),
        (agent_message(["Which?", {"choices": [2, 1]}], context_id="c", task_id="t"), False),
        (Message(), False),
    ):
        replay = Replay([Asked([asked], answer)], is_all_written=True)
        if fits:
            assert replay.answer(again) == (asked, answer)
            assert replay.is_over
            continue
        with pytest.raises(Failed):
            replay.answer(again)
        assert not replay.is_over
