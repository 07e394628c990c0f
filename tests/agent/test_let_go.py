"""A handler that waits in `ask` is let go after a while, in every store: its answer runs it again."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_grpc import InputRequired, Task, Turn
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.parts import text_of
from tests.agent.agents import agent_of, cancel, follow_up, said, told
from tests.covers import covers
from tests.harness import Served, elements, eventually, message, request, serving, texts

KiB = 1024


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/tasks.db"


async def let_go(served: Served, count: int = 0) -> None:
    """Wait until the server keeps no more than so many runs in memory."""

    def few() -> None:
        stats = served.server.stats()
        assert len(stats.tasks) == stats.asking == count

    await eventually(few)


async def test_a_handler_that_is_let_go_is_cleaned_up_quietly_and_gets_its_answers(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[tuple[str, int, bool]] = []
    cleaned: list[str] = []

    async def handler(turn: Turn) -> str:
        begun.append((turn.text, turn.attempt, turn.is_replaying))
        answers = []
        for question in ("one?", "two?", "three?"):
            try:
                answers.append(await turn.ask(question))
            except asyncio.CancelledError:
                cleaned.append(f"{question} {turn.canceled}")
                raise
        assert not turn.is_replaying
        return f"{turn.text}: {' '.join(answers)}"

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request("first"))).task
        for answer in ("1", "2", "3"):
            assert task.status.state == INPUT_REQUIRED
            await let_go(served)
            assert await served.get(task.id) == task, "to be let go is no event"
            task = (await served.send(follow_up(task, answer))).task
    assert (task.status.state, texts(task)) == (COMPLETED, ["first: 1 2 3"])
    assert begun == [("first", 1, False), *[("first", 1, True)] * 3]
    assert cleaned == ["one? False", "two? False", "three? False"]
    assert said(task.history) == ["first", "one?", "1", "two?", "2", "three?", "3"]
    assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_a_handler_that_is_not_waited_for_too_long_is_not_run_again() -> None:
    begun: list[str] = []

    async def handler(turn: Turn) -> str:
        begun.append(turn.text)
        return await turn.ask("one?")

    async with serving(agent_of(handler)) as served:
        task = (await served.send(request("first"))).task
        assert served.server.stats().asking == 1
        task = (await served.send(follow_up(task, "1"))).task
        assert served.server.stats().asking == 0
    assert (texts(task), begun) == (["1"], ["first"])


async def test_a_handler_that_is_let_go_writes_nothing_whatever_it_does(store: str) -> None:
    refused: list[str] = []

    async def handler(turn: Turn) -> str:
        if turn.is_replaying:
            return await turn.ask("one?")
        try:
            return await turn.ask("one?")
        except asyncio.CancelledError:
            for name, write in (
                ("status", lambda: turn.status("still here")),
                ("artifact", lambda: turn.artifact("mine")),
                ("ask", lambda: turn.ask("well?")),
            ):
                try:
                    await write()
                except asyncio.CancelledError:
                    refused.append(name)
            return "nor this"

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request("first"))).task
        await let_go(served)
        await eventually(lambda: _equal(refused, ["status", "artifact", "ask"]))
        assert await served.get(task.id) == task
        ended = (await served.send(follow_up(task, "1"))).task
    assert (ended.status.state, texts(ended)) == (COMPLETED, ["1"])


def _equal(found: object, wanted: object) -> None:
    assert found == wanted


async def test_pieces_that_were_streamed_before_the_question_are_not_doubled(store: str) -> None:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "a"
        yield "b"
        yield await turn.ask("one?")
        yield "c"
        yield await turn.ask("two?")
        yield "d"

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request())).task
        for answer in ("1", "2"):
            await let_go(served)
            stream = await elements(served.stream(follow_up(task, answer)))
        ended = await served.get(task.id)
    assert told(stream)[1:] == [
        "artifact '2' append", "artifact 'd' append", "artifact '' append last", "COMPLETED",
    ]  # fmt: skip
    assert (ended.status.state, texts(ended)) == (COMPLETED, ["ab1c2d"])
    assert len(ended.artifacts) == 1


async def test_artifacts_without_an_id_of_their_own_are_the_same_ones_again(store: str) -> None:
    ids: list[str] = []

    async def handler(turn: Turn) -> str:
        ids.append(await turn.artifact("one of many"))
        await turn.ask("one?")
        ids.append(await turn.artifact("another"))
        return "the end"

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request())).task
        await let_go(served)
        ended = (await served.send(follow_up(task, "1"))).task
    assert texts(ended) == ["one of many", "another", "the end"]
    assert ids[0] == ids[1] != ids[2]


async def test_a_handler_that_catches_the_failure_of_its_question_fails_all_the_same(store: str) -> None:
    async def handler(turn: Turn) -> str:
        try:
            return await turn.ask(f"question {len(asked)}?")
        except Exception:
            try:
                return await turn.ask("question 0?")
            except Exception:
                return "all is well"
        finally:
            asked.append("")

    asked: list[str] = []
    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request())).task
        await let_go(served)
        failed = (await served.send(follow_up(task, "1"))).task
    assert failed.status.state == FAILED
    assert "asked another question" in text_of(failed.status.message)
    assert not failed.artifacts


async def test_a_task_whose_handler_was_let_go_can_be_canceled(store: str) -> None:
    async def handler(turn: Turn) -> str:
        return await turn.ask("one?")

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0) as served:
        task = (await served.send(request())).task
        await let_go(served)
        assert (await cancel(served, task.id)).status.state == CANCELED


async def test_an_answer_whose_run_has_to_wait_for_its_place_is_answered_in_its_turn(store: str) -> None:
    go = asyncio.Event()

    async def handler(turn: Turn) -> str:
        if turn.text == "busy":
            await go.wait()
            return "done"
        return await turn.ask("one?")

    async with serving(agent_of(handler), store=store, ask_hold_s=0.0, max_runs=1) as served:
        task = (await served.send(request("first"))).task
        await let_go(served)
        await served.send(request("busy", immediately=True))
        answering = asyncio.ensure_future(served.send(follow_up(task, "1")))
        await eventually(lambda: _equal(served.server.stats().runs, 2))
        go.set()
        assert texts((await answering).task) == ["1"]


async def test_over_their_number_the_one_that_waited_longest_is_let_go_at_once() -> None:
    stopped: list[str] = []

    async def handler(turn: Turn) -> str:
        try:
            return f"{turn.text} {await turn.ask('one?')}"
        except asyncio.CancelledError:
            stopped.append(turn.text)
            raise

    async with serving(agent_of(handler), max_held_asks=2) as served:
        tasks: list[Task] = []
        for number in range(5):
            tasks.append((await served.send(request(f"task {number}"))).task)
            await eventually(lambda: _equal(len(served.server.stats().tasks), min(len(tasks), 2)))
        assert stopped == ["task 0", "task 1", "task 2"]
        ended = [(await served.send(follow_up(task, "yes"))).task for task in tasks]
    assert [texts(task) for task in ended] == [[f"task {number} yes"] for number in range(5)]


@covers("P15")
@pytest.mark.few
@pytest.mark.parametrize("how", ["ask", "InputRequired"])
async def test_a_task_that_waits_costs_at_most_four_kib(tmp_path: Path, how: str, full: bool) -> None:
    async def handler(turn: Turn) -> str:
        if how == "ask":
            return await turn.ask("What is the date of your journey?")
        raise InputRequired("What is the date of your journey?")

    async def park(count: int) -> None:
        for _ in range(count // 50):
            sends = (served.send(request(message("book", message_id="m"))) for _ in range(50))
            for response in await asyncio.gather(*sends):
                assert response.task.status.state == INPUT_REQUIRED

    url, warm, count = f"sqlite:///{tmp_path}/tasks.db", *((200, 1000) if full else (100, 300))
    async with serving(agent_of(handler), store=url, ask_hold_s=0.0) as served:
        await park(warm)
        await let_go(served)
        gc.collect()
        tracemalloc.start()
        try:
            await park(count)
            await let_go(served)
            gc.collect()
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert taken / count < 4 * KiB
