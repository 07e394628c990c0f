"""What a handler that is canceled sees, and can do."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from a2a_grpc import Completed, InputRequired, Turn
from a2a_grpc.lifecycle import CANCELED, INPUT_REQUIRED, WORKING
from tests.agent.agents import Gate, agent_of, cancel, follow_up, told
from tests.covers import covers
from tests.harness import Served, elements, eventually, request, serving, texts


@covers("Q5")
async def test_cancelled_error_is_raised_at_the_next_await_and_finally_runs() -> None:
    gate, seen = Gate(), list[str]()

    async def handler(turn: Turn) -> str:
        try:
            await gate.passed()
            seen.append("went on")
        except asyncio.CancelledError:
            seen.append("canceled")
            raise
        finally:
            seen.append("finally")
        return "done"

    async with serving(agent_of(handler)) as served:
        stream = served.stream(request())
        task = (await elements(stream, 2))[0].task
        await gate.reached.wait()
        canceled = await cancel(served, task.id)
        assert seen == ["canceled", "finally"]
        assert canceled.status.state == CANCELED
        assert len(canceled.artifacts) == 0
        assert told(await elements(stream)) == ["CANCELED"]


AWAITS: dict[str, Callable[[Turn], Awaitable[object]]] = {
    "sleep": lambda turn: asyncio.sleep(3600),
    "a status": lambda turn: turn.status("still here"),
    "an artifact": lambda turn: turn.artifact("still here", id="same"),
    "ask": lambda turn: turn.ask("still there?"),
    "a thread": lambda turn: turn.in_thread(int),
    "nothing but a yield to the loop": lambda turn: asyncio.sleep(0),
}


@pytest.mark.parametrize("place", AWAITS)
async def test_a_handler_that_only_ever_awaits_one_thing_is_canceled_there(place: str) -> None:
    reached, ended = asyncio.Event(), asyncio.Event()

    async def handler(turn: Turn) -> None:
        try:
            while True:
                reached.set()
                await AWAITS[place](turn)
        finally:
            ended.set()

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        task = (await served.send(request(immediately=True))).task
        await reached.wait()
        assert (await cancel(served, task.id)).status.state == CANCELED
        assert ended.is_set()


async def test_finally_may_still_write_an_artifact_and_a_status() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> None:
        try:
            await gate.passed()
        finally:
            await turn.status("cleaning up")
            await turn.artifact("what there is", id="rest", last_chunk=True)

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        stream = served.stream(request())
        task = (await elements(stream, 2))[0].task
        await gate.reached.wait()
        canceled = await cancel(served, task.id)
        assert texts(canceled) == ["what there is"]
        assert told(await elements(stream)) == ["WORKING cleaning up", "artifact 'what there is' last", "CANCELED"]


async def test_a_generator_that_is_canceled_runs_its_finally_and_what_it_gave_stays() -> None:
    gate, seen = Gate(), list[str]()

    async def handler(turn: Turn) -> AsyncIterator[str]:
        try:
            yield "first"
            await gate.passed()
            yield "second"
        except asyncio.CancelledError:
            seen.append("canceled")
            raise
        finally:
            seen.append("finally")

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        task = (await served.send(request(immediately=True))).task
        await gate.reached.wait()
        canceled = await cancel(served, task.id)
        assert seen == ["canceled", "finally"]
        assert (canceled.status.state, texts(canceled)) == (CANCELED, ["first"])


@covers("CANC-6", "S0-8")
async def test_the_turn_knows_that_it_was_canceled_and_with_which_metadata() -> None:
    gate, seen = Gate(), list[tuple[bool, object]]()

    async def handler(turn: Turn) -> None:
        seen.append((turn.canceled, turn.cancel_metadata))
        try:
            await gate.passed()
        finally:
            seen.append((turn.canceled, turn.cancel_metadata))

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        task = (await served.send(request(immediately=True))).task
        await gate.reached.wait()
        await cancel(served, task.id, {"reason": "too slow", "by": {"id": 7}})
    assert seen == [(False, {}), (True, {"reason": "too slow", "by": {"id": 7}})]


async def test_a_turn_that_was_not_canceled_does_not_say_so_when_an_inner_task_was() -> None:
    seen: list[bool] = []

    async def handler(turn: Turn) -> str:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await inner
        seen.append(turn.canceled)
        return "went on"

    async with serving(agent_of(handler)) as served:
        assert texts((await served.send(request())).task) == ["went on"]
    assert seen == [False]


async def test_a_handler_that_is_canceled_while_it_asks_runs_its_finally() -> None:
    seen: list[str] = []

    async def handler(turn: Turn) -> None:
        try:
            await turn.ask("Which?")
        except asyncio.CancelledError:
            seen.append("canceled")
            await turn.artifact("notes", id="notes")
            raise

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        task = (await served.send(request())).task
        assert task.status.state == INPUT_REQUIRED
        canceled = await cancel(served, task.id)
    assert seen == ["canceled"]
    assert (canceled.status.state, texts(canceled)) == (CANCELED, ["notes"])


@pytest.mark.parametrize("end", [None, "value", Completed("done"), InputRequired("really?")], ids=str)
async def test_a_handler_that_answers_its_cancellation_with_another_end_is_canceled_all_the_same(end: object) -> None:
    gate = Gate()

    async def handler(turn: Turn) -> object:
        try:
            await gate.passed()
        except asyncio.CancelledError:
            return end
        return "never"

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served:
        task = (await served.send(request(immediately=True))).task
        await gate.reached.wait()
        assert (await cancel(served, task.id)).status.state == CANCELED


@covers("G8", "P5")
async def test_a_swallowing_handler_is_given_up_on_after_the_grace_and_can_no_longer_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate, attempts, finished = Gate(), list[str](), asyncio.Event()

    async def handler(turn: Turn) -> str:
        while not gate.opened.is_set():
            try:
                await gate.passed()
            except asyncio.CancelledError:
                attempts.append("swallowed")
        for write in (turn.status("x"), turn.artifact("x", id="x"), turn.ask("x?")):
            try:
                await write
                attempts.append("wrote")
            except asyncio.CancelledError:
                attempts.append("refused")
        finished.set()
        return "done after all"

    async with serving(agent_of(handler), cancel_grace_s=0.02) as served:
        try:
            task = (await served.send(request(immediately=True))).task
            await gate.reached.wait()
            with caplog.at_level(logging.WARNING, "a2a_grpc.engine"):
                canceled = await cancel(served, task.id)
            assert canceled.status.state == CANCELED
            assert f"can no longer write task={task.id}" in caplog.text
            await eventually(lambda: _assert_swallowed(attempts, 2))
        finally:
            gate.opened.set()
        async with asyncio.timeout(30):
            await finished.wait()
        assert attempts[-3:] == ["refused", "refused", "refused"]
        await eventually(lambda: _assert_no_run_left(served))
        assert await served.get(task.id) == canceled


def _assert_swallowed(attempts: list[str], times: int) -> None:
    assert attempts == ["swallowed"] * times


def _assert_no_run_left(served: Served) -> None:
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("a2a-grpc:run:")] == []


async def test_within_the_grace_a_handler_is_waited_for() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await gate.passed()

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served, asyncio.timeout(30):
        stream = served.stream(request())
        task = (await elements(stream, 2))[0].task
        canceling = asyncio.create_task(cancel(served, task.id))
        await gate.reached.wait()
        assert (await served.get(task.id)).status.state == WORKING
        assert not canceling.done()
        gate.opened.set()
        assert (await canceling).status.state == CANCELED


async def test_a_second_cancel_does_not_interrupt_the_clean_up() -> None:
    gate, seen = Gate(), list[object]()

    async def handler(turn: Turn) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await gate.passed()
                seen.append(turn.cancel_metadata)
            except asyncio.CancelledError:
                seen.append("interrupted")

    async with serving(agent_of(handler), cancel_grace_s=60.0) as served, asyncio.timeout(30):
        stream = served.stream(request())
        task = (await elements(stream, 2))[0].task
        first = asyncio.create_task(cancel(served, task.id, {"n": 1}))
        await gate.reached.wait()
        second = asyncio.create_task(cancel(served, task.id, {"n": 2}))
        assert (await served.get(task.id)).status.state == WORKING
        gate.opened.set()
        assert await first == await second
    assert seen == [{"n": 1}]


async def test_canceling_one_task_leaves_another_of_the_same_agent_alone() -> None:
    gates = {"one": Gate(), "two": Gate()}

    async def handler(turn: Turn) -> str:
        await gates[turn.text].passed()
        return "done"

    async with serving(agent_of(handler)) as served, asyncio.timeout(30):
        tasks = {text: (await served.send(request(text, immediately=True))).task for text in gates}
        for gate in gates.values():
            await gate.reached.wait()
        await cancel(served, tasks["one"].id)
        assert (await served.get(tasks["two"].id)).status.state == WORKING
        stream = served.subscribe(tasks["two"].id)
        await elements(stream, 1)
        gates["two"].opened.set()
        assert told(await elements(stream)) == ["artifact 'done' last", "COMPLETED"]


async def test_a_turn_that_was_canceled_leaves_the_next_task_a_fresh_start() -> None:
    gate, seen = Gate(), list[bool]()

    async def handler(turn: Turn) -> str:
        seen.append(turn.canceled)
        if turn.text == "first":
            await gate.passed()
        return "done"

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("first", immediately=True))).task
        await gate.reached.wait()
        await cancel(served, task.id)
        assert texts((await served.send(request("second"))).task) == ["done"]
    assert seen == [False, False]


async def test_a_follow_up_turn_is_canceled_like_a_first_one() -> None:
    gate = Gate()

    async def handler(turn: Turn) -> None:
        if turn.text != "second":
            raise InputRequired("?")
        await gate.passed()

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("first"))).task
        await served.send(follow_up(task, "second", immediately=True))
        await gate.reached.wait()
        assert (await cancel(served, task.id)).status.state == CANCELED
