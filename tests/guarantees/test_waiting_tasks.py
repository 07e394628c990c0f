"""Tasks that wait for their users: their number has a limit, and each waits only so long."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, AuthRequired, InputRequired, Turn
from a2a_grpc.lifecycle import AUTH_REQUIRED, COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.parts import text_of
from tests.covers import covers
from tests.guarantees.rig import engine_of
from tests.harness import Served, elements, event_state, eventually, message, refusal, request, serving, texts

EXPIRES: dict[str, Any] = {"waiting_retention_s": 0.3, "sweep_interval_s": 0.05}
EXPIRED = "The task waited for an answer for more than 0.3 s, and has expired."


def asker() -> Agent:
    agent = Agent("Asker", "Asks, in each way that there is.")

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Asks."""
        match turn.text:
            case "ask":
                return f"said {await turn.ask('which?')}"
            case "input":
                raise InputRequired("which?")
            case "auth":
                raise AuthRequired("who?")
        return turn.text

    return agent


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/tasks.db"


async def park(served: Served, how: str) -> str:
    task = (await served.send(request(how))).task
    assert task.status.state in (INPUT_REQUIRED, AUTH_REQUIRED)
    return str(task.id)


def answer(task_id: str) -> Any:
    return request(message("yes", task_id=task_id))


# -- their number


@covers("G11")
@pytest.mark.parametrize("how", ["ask", "input", "auth"])
async def test_over_their_number_a_new_task_is_refused_with_the_flag_and_when_to_retry(store: str, how: str) -> None:
    async with serving(asker(), store=store, max_waiting_tasks=3) as served:
        parked = [await park(served, how) for _ in range(3)]
        refused = await refusal(served.send(request("word")))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "--max-waiting-tasks is 3" in refused.text
        assert refused.retry_after_s
        assert (await served.send(answer(parked[0]))).task.status.state == COMPLETED, "answers are taken"
        assert texts((await served.send(request("word"))).task) == ["word"], "and make room at once"


async def test_a_run_that_was_accepted_may_ask_though_their_number_is_reached() -> None:
    go = asyncio.Event()
    agent = Agent("Late", "Asks late.")

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Asks late."""
        await go.wait()
        return await turn.ask("which?")

    async with serving(agent, max_waiting_tasks=1) as served:
        sends = [asyncio.ensure_future(served.send(request("ask"))) for _ in range(3)]
        await eventually(lambda: _equal(len(served.server.stats().tasks), 3))
        go.set()
        tasks = [(await one).task for one in sends]
        assert [task.status.state for task in tasks] == [INPUT_REQUIRED] * 3
        for task in tasks:
            assert texts((await served.send(answer(task.id))).task) == ["yes"]


def _equal(found: object, wanted: object) -> None:
    assert found == wanted


async def test_the_number_is_not_asked_of_the_store_for_each_send() -> None:
    async with serving(asker()) as served:
        store = engine_of(served).log.store
        asked = []

        async def count_waiting() -> int:
            asked.append(1)
            return 0

        store.count_waiting = count_waiting  # type: ignore[method-assign]
        for how in ("word", "ask", "input") * 3:
            await served.send(request(how))
    assert asked == []


# -- for how long


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("how", ["ask", "input", "auth"])
async def test_a_task_that_nobody_answers_ends_failed_saying_so_and_its_streams_see_it(
    store: str, how: str, held: bool
) -> None:
    async with serving(asker(), store=store, ask_hold_s=60.0 if held else 0.0, **EXPIRES) as served:
        task_id = await park(served, how)
        events = await elements(served.subscribe(task_id))
        assert event_state(events[-1]) == FAILED
        ended = await served.get(task_id)
        assert (ended.status.state, text_of(ended.status.message)) == (FAILED, EXPIRED)
        await eventually(lambda: _equal(len(served.server.stats().tasks), 0))
        await eventually(lambda: _equal(served.server.stats().waiting, 0))


async def test_a_task_that_has_expired_is_removed_like_any_other_that_has_ended(store: str) -> None:
    async with serving(asker(), store=store, retention_s=0.0, **EXPIRES) as served:
        task_id = await park(served, "input")

        async def gone() -> None:
            assert (await refusal(served.get(task_id))).code is grpc.StatusCode.NOT_FOUND

        await eventually(gone)


async def test_a_task_that_is_answered_in_time_waits_anew_for_the_next_answer(store: str) -> None:
    agent = Agent("Quiz", "Asks again and again.")

    @agent.skill()
    async def work(turn: Turn) -> str:
        """Asks."""
        return " ".join([await turn.ask(f"{n}?") for n in range(6)])

    async with serving(agent, store=store, waiting_retention_s=1.5, sweep_interval_s=0.02) as served:
        task = (await served.send(request("go"))).task
        for _ in range(6):
            await asyncio.sleep(0.4)
            task = (await served.send(answer(task.id))).task
    assert (task.status.state, texts(task)) == (COMPLETED, ["yes yes yes yes yes yes"])


async def test_zero_lets_tasks_wait_for_ever() -> None:
    async with serving(asker(), waiting_retention_s=0.0, sweep_interval_s=0.01) as served:
        task_id = await park(served, "ask")
        await asyncio.sleep(0.2)
        assert (await served.get(task_id)).status.state == INPUT_REQUIRED
