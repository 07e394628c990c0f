"""Messages that arrive while a run is at work."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from a2a_grpc import AuthRequired, Completed, Failed, InputRequired, Rejected, Turn
from a2a_grpc.agent import Outcome
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, WORKING, state_name
from a2a_grpc.parts import text_of
from a2a_grpc.store import MemoryStore, Pending, TaskKey
from a2a_grpc.wire import StreamResponse
from tests.agent.agents import Gate, agent_of, cancel, follow_up, said, told
from tests.covers import covers
from tests.guarantees.rig import HeldStore, serving_on
from tests.harness import elements, eventually, refusal, request, serving, texts

pytestmark = covers("OPEN-15")


class Slow:
    """A handler whose turns wait at a gate, and then end as the test says."""

    def __init__(self, end: Callable[[Turn], Outcome] = lambda turn: InputRequired(f"after {turn.text}?")) -> None:
        self.gate = Gate()
        self.played: list[str] = []
        self.histories: list[list[str]] = []
        self._end = end

    async def execute(self, turn: Turn) -> None:
        self.played.append(turn.text)
        self.histories.append(said(turn.history))
        await self.gate.passed()
        raise self._end(turn)


async def test_messages_that_arrive_while_a_run_is_at_work_become_the_next_turns_in_order() -> None:
    slow = Slow()
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        task = (await served.send(request("one", immediately=True))).task
        await slow.gate.reached.wait()
        for text in ("two", "three", "four"):
            accepted = (await served.send(follow_up(task, text, immediately=True))).task
            assert (accepted.id, accepted.status.state) == (task.id, WORKING)
        assert slow.played == ["one"], "one run at a time"
        slow.gate.opened.set()

        async def all_played() -> None:
            state = (await served.get(task.id)).status.state
            assert (slow.played, state) == (["one", "two", "three", "four"], INPUT_REQUIRED)

        await eventually(all_played)
        history = said((await served.get(task.id)).history)
    assert history == ["one", "after one?", "two", "after two?", "three", "after three?", "four"]
    assert slow.histories == [history[:1], history[:3], history[:5], history[:7]]


async def test_a_queued_message_is_no_part_of_the_task_before_its_turn_begins() -> None:
    slow = Slow()
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        task = (await served.send(request("one", immediately=True))).task
        await slow.gate.reached.wait()
        await served.send(follow_up(task, "two", immediately=True))
        assert said((await served.get(task.id)).history) == ["one"]
        slow.gate.opened.set()


async def test_each_stream_of_a_queued_message_ends_with_the_end_of_its_own_turn() -> None:
    slow = Slow()
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        first = served.stream(request("one"))
        task = (await elements(first, 2))[0].task
        await slow.gate.reached.wait()
        second, third = (served.stream(follow_up(task, text)) for text in ("two", "three"))
        assert told(await elements(second, 1)) == ["task WORKING"]
        assert told(await elements(third, 1)) == ["task WORKING"]
        slow.gate.opened.set()
        turns = ["INPUT_REQUIRED after one?", "WORKING", "INPUT_REQUIRED after two?", "WORKING",
                 "INPUT_REQUIRED after three?"]  # fmt: skip
        assert told(await elements(first)) == turns[:1]
        assert told(await elements(second)) == turns[:3]
        assert told(await elements(third)) == turns


@covers("SEND-2")
async def test_a_blocking_send_of_a_queued_message_waits_for_its_own_turn() -> None:
    slow = Slow(lambda turn: InputRequired("more?") if turn.text == "one" else Completed(f"did {turn.text}"))
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        stream = served.stream(request("one"))
        task = (await elements(stream, 2))[0].task
        await slow.gate.reached.wait()
        sending = asyncio.create_task(served.send(follow_up(task, "two")))
        slow.gate.opened.set()
        ended = (await sending).task
        assert (ended.status.state, said([ended.status.message])) == (COMPLETED, ["did two"])


async def reading(stream: Any, into: list[StreamResponse]) -> None:
    """Reads a stream to its end."""
    async for element in stream:
        into.append(element)


@covers("SEND-7")
@pytest.mark.parametrize("outcome", [Completed, Rejected, Failed])
async def test_a_queued_message_is_told_if_the_task_ends_before_its_turn(
    outcome: Callable[[str], Outcome],
) -> None:
    slow = Slow(lambda turn: outcome("over"))
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        task = (await served.send(request("one", immediately=True))).task
        await slow.gate.reached.wait()
        stream = served.stream(follow_up(task, "two"))
        await elements(stream, 1)
        sending = asyncio.create_task(served.send(follow_up(task, "three")))
        queued = served.stream(follow_up(task, "four"))
        await elements(queued, 1)  # accepted in the order of the calls: so was the one before
        slow.gate.opened.set()
        ended: list[StreamResponse] = []
        refusals = [await refusal(sending), await refusal(reading(stream, ended)), await refusal(queued)]
        state = state_name((await served.get(task.id)).status.state)
    assert told(ended) == [f"{state} over"]  # the end of the task is told, then that nobody came to the message
    for refused in refusals:
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
        assert refused.metadata == {"task_id": task.id}
        assert state in refused.text
    assert slow.played == ["one"]


async def test_a_task_that_is_canceled_takes_its_queued_messages_with_it() -> None:
    slow = Slow()
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        task = (await served.send(request("one", immediately=True))).task
        await slow.gate.reached.wait()
        stream = served.stream(follow_up(task, "two"))
        await elements(stream, 1)
        canceled = await cancel(served, task.id)
        ended: list[StreamResponse] = []
        assert (await refusal(reading(stream, ended))).reason == "UNSUPPORTED_OPERATION"
        assert told(ended) == ["CANCELED"]
        assert await served.get(task.id) == canceled
        assert said(canceled.history) == ["one"]
    assert slow.played == ["one"]


async def test_a_queued_message_goes_on_where_the_turn_before_asks_for_authorisation() -> None:
    slow = Slow(lambda turn: AuthRequired("sign in") if turn.text == "one" else Completed("signed in"))
    async with serving(agent_of(slow.execute)) as served, asyncio.timeout(30):
        stream = served.stream(request("one"))
        task = (await elements(stream, 2))[0].task
        await slow.gate.reached.wait()
        await served.send(follow_up(task, "done", immediately=True))
        slow.gate.opened.set()
        assert told(await elements(stream)) == ["AUTH_REQUIRED sign in", "WORKING", "COMPLETED signed in"]


async def test_ask_takes_the_queued_messages_as_its_answers_first() -> None:
    gate = Gate()
    answers: list[str] = []

    async def handler(turn: Turn) -> str:
        await gate.passed()
        answers.extend([await turn.ask("first?"), await turn.ask("second?"), await turn.ask("third?")])
        return ", ".join(answers)

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        stream = served.stream(request("go"))
        task = (await elements(stream, 2))[0].task
        await gate.reached.wait()
        for text in ("one", "two"):
            await served.send(follow_up(task, text, immediately=True))
        gate.opened.set()

        async def asks_for_the_third() -> None:
            now = await served.get(task.id)
            assert (now.status.state, said([now.status.message])) == (INPUT_REQUIRED, ["third?"])

        await eventually(asks_for_the_third)
        ended = (await served.send(follow_up(task, "three"))).task
    assert (ended.status.state, texts(ended)) == (COMPLETED, ["one, two, three"])
    assert said(ended.history) == ["go", "first?", "one", "second?", "two", "third?", "three"]


async def test_a_message_over_the_bound_is_refused_and_the_accepted_ones_are_played() -> None:
    slow = Slow()
    async with serving(agent_of(slow.execute), max_queued_turns=2) as served, asyncio.timeout(30):
        task = (await served.send(request("one", immediately=True))).task
        await slow.gate.reached.wait()
        for text in ("two", "three"):
            await served.send(follow_up(task, text, immediately=True))
        refused = await refusal(served.send(follow_up(task, "four", immediately=True)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
        assert refused.retry_after_s == 1.0
        slow.gate.opened.set()
        await eventually(lambda: _assert_played(slow, ["one", "two", "three"]))
        more = (await served.send(follow_up(task, "five"))).task
        assert said([more.status.message]) == ["after five?"]
    assert slow.played == ["one", "two", "three", "five"]


def _assert_played(slow: Slow, expected: list[str]) -> None:
    assert slow.played == expected


@pytest.mark.parametrize("way", ["handler ended", "question withdrawn"])
async def test_a_message_that_comes_too_late_to_be_an_answer_begins_a_turn(way: str) -> None:
    played: list[str] = []
    go = asyncio.Event()
    store = HeldStore(lambda record: record.seq == 4)  # what follows the question

    async def handler(turn: Turn) -> None:
        played.append(turn.text)
        if turn.text == "one":
            asking = asyncio.create_task(turn.ask("which?"))
            await go.wait()
            if way == "question withdrawn":
                asking.cancel()
                await asyncio.wait([asking])
            else:
                kept.append(asking)
        raise InputRequired(f"after {turn.text}?")

    kept: list[asyncio.Task[Any]] = []
    async with serving_on(store, agent_of(handler)) as served, asyncio.timeout(30):
        task = (await served.send(request("one"))).task
        go.set()
        await store.reached.wait()  # the end of the turn is on its way to the store
        await served.send(follow_up(task, "two", immediately=True))
        store.free.set()

        async def both_played() -> None:
            assert (played, said((await served.get(task.id)).history)) == (
                ["one", "two"],
                ["one", "which?", "after one?", "two"],
            )

        await eventually(both_played)
        for asking in kept:
            asking.cancel()


async def test_a_question_that_is_withdrawn_as_a_message_comes_takes_no_answer() -> None:
    played: list[str] = []
    questions: list[asyncio.Task[Any]] = []

    class Withdrawing(MemoryStore):
        async def pending(self, key: TaskKey) -> list[Pending]:
            found = await super().pending(key)
            for asking in questions:
                asking.cancel()
            return found

    async def handler(turn: Turn) -> None:
        played.append(turn.text)
        if turn.text == "one":
            questions.append(asyncio.create_task(turn.ask("which?")))
            await asyncio.wait(questions)
        raise InputRequired(f"after {turn.text}?")

    async with serving_on(Withdrawing(), agent_of(handler)) as served, asyncio.timeout(30):
        task = (await served.send(request("one"))).task
        ended = (await served.send(follow_up(task, "two"))).task
    assert (played, said(ended.history)) == (["one", "two"], ["one", "which?", "after one?", "two"])


async def test_a_handler_that_withdraws_its_question_may_ask_another() -> None:
    go = asyncio.Event()

    async def handler(turn: Turn) -> str:
        asking = asyncio.create_task(turn.ask("first?"))
        await go.wait()
        asking.cancel()
        await asyncio.wait([asking])
        return await turn.ask("second?")

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        task = (await served.send(request())).task
        go.set()

        async def asks_again() -> None:
            assert text_of((await served.get(task.id)).status.message) == "second?"

        await eventually(asks_again)
        assert texts((await served.send(follow_up(task, "yes"))).task) == ["yes"]


async def test_the_message_of_a_question_that_is_withdrawn_while_it_is_stored_begins_a_turn() -> None:
    played: list[str] = []
    store = HeldStore(lambda record: record.turn == 2 and bool(record.message))  # the answer
    asking: list[asyncio.Task[Any]] = []

    async def handler(turn: Turn) -> None:
        played.append(turn.text)
        if turn.text == "one":
            asking.append(asyncio.create_task(turn.ask("which?")))
            await asyncio.wait(asking)
        raise InputRequired(f"after {turn.text}?")

    async with serving_on(store, agent_of(handler)) as served, asyncio.timeout(30):
        task = (await served.send(request("one"))).task
        answering = asyncio.ensure_future(served.send(follow_up(task, "two")))
        await store.reached.wait()
        asking[0].cancel()
        store.free.set()
        ended = (await answering).task
        await eventually(lambda: _all_played(played))
        assert text_of((await served.get(task.id)).status.message) == "after two?"
    assert ended.id == task.id


def _all_played(played: list[str]) -> None:
    assert played == ["one", "two"]
