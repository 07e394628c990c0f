"""`get`, `list`, `cancel`, `wait`, `subscribe`: what can be done about a task that somebody began."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import Json
from a2a_grpc.wire import Task
from tests.agent.agents import Gate, agent_of
from tests.cli.terminal import Done, at, command_in, error_of, objects, run, run_all, run_line, running
from tests.covers import covers
from tests.harness import Served, request, scripted, serving
from tests.regressions.faults import reaches


async def ended(served: Served, *steps: Any, **options: Any) -> Task:
    """A task of the scripted agent, as it is once its script is played."""
    task: Task = (await served.send(scripted(*steps, **options))).task
    return task


# -- a task that is there


async def test_get_without_artifacts_shows_the_rest_of_the_task(served: Served) -> None:
    task = await ended(served, {"artifact": {"text": "a large report"}})
    whole, without, as_json = await run_all(
        ("get", task.id, at(served)),
        ("get", task.id, at(served), "--no-artifacts"),
        ("get", task.id, at(served), "--no-artifacts", "-o", "json"),
    )
    assert [done.code for done in (whole, without, as_json)] == [0, 0, 0]
    assert "a large report" in whole.out
    assert "a large report" not in without.out
    assert "COMPLETED" in without.out + without.err
    [shown] = objects(as_json.out)
    assert "artifacts" not in shown
    assert shown["id"] == task.id
    assert shown["status"]["state"] == "TASK_STATE_COMPLETED"


# -- a task that is not there


async def test_a_task_that_is_not_there_is_said_in_one_line_with_what_to_do(served: Served) -> None:
    commands = [
        ("get", "no-such-task"),
        ("cancel", "no-such-task"),
        ("wait", "no-such-task"),
        ("wait", "no-such-task", "--poll=0.1"),
        ("subscribe", "no-such-task"),
        ("send", "--task=no-such-task", "hello"),
    ]
    done = await run_all(*((verb, at(served), *options) for verb, *options in commands))
    assert {error_of(one, 6) for one in done} == {
        "task 'no-such-task' was not found ('a2a-grpc list' shows the tasks that this agent has for you)"
    }


# -- get


async def test_get_shows_messages_contents_and_state(served: Served) -> None:
    asked = await ended(served, {"artifact": {"id": "a", "text": "made"}}, {"input": "Which\none?"})
    task: Task = (await served.send(request_of(asked, "this one"))).task
    all_of_it, last, none = await asyncio.gather(
        run("get", at(served), task.id),
        run("get", at(served), task.id, "--history=1"),
        run("get", at(served), task.id, "--history=0"),
    )
    assert all_of_it.out == last.out == none.out
    assert all_of_it.out.startswith("made\n")
    assert "agent: Which\n  | one?\nuser: this one\n" in all_of_it.err
    assert last.err == f"user: this one\nCOMPLETED {task.id}\n"
    assert none.err == f"COMPLETED {task.id}\n"


def request_of(task: Task, text: str) -> Any:
    sent = request(text)
    sent.message.task_id = task.id
    return sent


async def test_get_is_fine_with_a_task_that_failed(served: Served) -> None:
    """The exit code tells of the call; that the task failed is what was asked for."""
    task = await ended(served, {"fail": "out of ink"})
    done = await run("get", at(served), task.id)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f"FAILED {task.id} out of ink\n")


# -- list


async def test_list_shows_the_latest_first_filtered_and_limited(served: Served) -> None:
    done = await ended(served, {"artifact": {"id": "a", "text": "made"}}, context_id="c-1")
    failed = await ended(served, {"fail": "out of ink\nand paper"}, context_id="c-1")
    asks = await ended(served, {"input": "Which?"}, context_id="c-2")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    everything, two, of_context, asking, with_dash, not_yet, since, bare, with_artifacts = await asyncio.gather(
        run("list", at(served)),
        run("list", at(served), "--limit=2"),
        run("list", at(served), "--context=c-1"),
        run("list", at(served), "--state=input_required"),
        run("list", at(served), "--state=INPUT-REQUIRED", "--context=c-1"),
        run("list", at(served), "--since", tomorrow),
        run("list", at(served), "--since", failed.status.timestamp.ToJsonString()),
        run("list", at(served), "-o", "json", "--context=c-1"),
        run("list", at(served), "-o", "json", "--artifacts", "--limit=3"),
    )
    assert ids(everything) == [asks.id, failed.id, done.id]
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert [
        re.sub(when + r" +\d{1,3}s", "WHEN    AGE", line).split("  ", 1)[1].strip()
        for line in everything.out.splitlines()
    ] == [
        "INPUT_REQUIRED  WHEN    AGE  Which?",
        "FAILED          WHEN    AGE  out of ink",
        "COMPLETED       WHEN    AGE",
    ]
    assert ids(two) == [asks.id, failed.id]
    assert two.err.splitlines()[1] == "2 of 3 tasks; --limit shows more"
    assert (ids(of_context), ids(asking)) == ([failed.id, done.id], [asks.id])
    assert ids(since) == [asks.id, failed.id]
    for empty in (with_dash, not_yet):
        assert (empty.code, empty.out, empty.err) == (0, "", "no tasks\n")
    assert [task["id"] for task in objects(bare.out)] == [failed.id, done.id]
    assert all("artifacts" not in task for task in objects(bare.out))
    assert [len(task.get("artifacts", [])) for task in objects(with_artifacts.out)] == [0, 0, 1]
    assert (bare.err, with_artifacts.err) == ("", "")
    header, count = everything.err.splitlines()
    assert header.split() == ["TASK", "STATE", "CHANGED", "(UTC)", "AGE", "SAYS"]
    assert count == "3 tasks"


def ids(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return [line.split()[0] for line in done.out.splitlines()]


async def test_list_refuses_a_state_that_is_none_and_asks_for_all_pages(served: Served) -> None:
    for _ in range(7):
        await ended(served, {"complete": "x"})
    refused, limited = await asyncio.gather(
        run("list", at(served), "--state=busy"), run("list", at(served), "--limit=6")
    )
    assert error_of(refused, 2) == (
        "--state is 'busy'; it must be one of SUBMITTED, WORKING, COMPLETED, FAILED, CANCELED, INPUT_REQUIRED, "
        "REJECTED, AUTH_REQUIRED"
    )
    assert len(ids(limited)) == 6


@covers("P11")
async def test_list_shows_the_tasks_of_the_tenant_alone(served: Served) -> None:
    mine = await ended(served, {"complete": "x"}, tenant="mine")
    await ended(served, {"complete": "x"}, tenant="yours")
    listed, got = await asyncio.gather(
        run("list", at(served), "--tenant=mine"), run("get", at(served), "--tenant=yours", mine.id)
    )
    assert ids(listed) == [mine.id]
    assert error_of(got, 6).startswith(f"task '{mine.id}' was not found")


# -- cancel


async def test_cancel_stops_the_agent_and_tells_it_why() -> None:
    gate = Gate()
    heard: list[dict[str, Json]] = []

    async def work(turn: Turn) -> None:
        try:
            await gate.passed()
        finally:
            heard.append(turn.cancel_metadata)

    async with serving(agent_of(work)) as served:
        task: Task = (await served.send(request("go", immediately=True))).task
        await gate.reached.wait()
        done = await run("cancel", at(served), task.id, "-m", "why=too slow", "-m", "count=2")
        assert (done.code, done.out) == (0, "")
        assert re.match(rf"CANCELED {task.id}", done.err)
        assert heard == [{"why": "too slow", "count": 2}]


async def test_what_has_ended_cannot_be_canceled_and_that_is_said_in_one_line(served: Served) -> None:
    task = await ended(served, {"complete": "x"})
    done = await run("cancel", at(served), task.id)
    assert error_of(done, 6) == f"task '{task.id}' is COMPLETED; it cannot be canceled any more"


# -- wait


@pytest.mark.parametrize("streaming", [True, False], ids=["streams", "does not stream"])
async def test_wait_follows_or_asks_until_the_task_is_settled(streaming: bool) -> None:
    gate = Gate()
    agent = Agent("Slow", "Takes its time.", streaming=streaming)

    @agent.skill()
    async def work(turn: Turn) -> str:
        await gate.passed()
        return "done"

    async with serving(agent) as served:
        task: Task = (await served.send(request("go", immediately=True))).task
        async with (
            running("wait", at(served), task.id) as waiting,
            running("wait", at(served), task.id, "--poll=0.05") as asking,
            running("wait", at(served), task.id, "-o", "json") as telling,
            running("wait", at(served), task.id, terminal=True) as watched,
        ):
            await watched.out.until("waiting for the agent")
            assert (waiting.out.text, asking.out.text) == ("", "")
            gate.opened.set()
            done, asked, told, shown = await asyncio.gather(
                waiting.finished(), asking.finished(), telling.finished(), watched.finished()
            )
    for one in (done, asked):
        assert (one.code, one.out, one.err) == (0, "done\n", f"COMPLETED {task.id}\n")
    assert [one["status"]["state"] for one in objects(told.out)] == ["TASK_STATE_COMPLETED"]
    assert shown.code == 0


async def test_wait_tells_a_failure_by_its_exit_code_and_a_question_with_the_command_that_answers(
    served: Served,
) -> None:
    failed = await ended(served, {"fail": "out of ink"})
    asks = await ended(served, {"input": "Which?"})
    lost, polled, asked = await asyncio.gather(
        run("wait", at(served), failed.id),
        run("wait", at(served), failed.id, "--poll=1"),
        run("wait", at(served), asks.id),
    )
    for one in (lost, polled):
        assert (one.code, one.out, one.err) == (1, "", f"FAILED {failed.id} out of ink\n")
    assert (asked.code, asked.out) == (7, "")
    assert asked.err.startswith(f"INPUT_REQUIRED {asks.id} Which?\n")
    assert (await run_line(command_in(asked.err))).code == 0
    await reaches(served, asks.id, COMPLETED)


# -- subscribe


async def test_subscribe_begins_with_the_task_and_ends_with_it() -> None:
    gate = Gate()

    async def work(turn: Turn) -> None:
        await turn.artifact("the first, ", id="a")
        await gate.passed()
        await turn.artifact("the last", id="a", append=True, last_chunk=True)

    async with serving(agent_of(work)) as served:
        task: Task = (await served.send(request("go", immediately=True))).task
        await gate.reached.wait()
        async with (
            running("subscribe", at(served), task.id) as whole,
            running("subscribe", at(served), task.id, "--after=2") as rest,
            running("subscribe", at(served), task.id, "--after=3") as last,
        ):
            await asyncio.gather(whole.out.until("the first, "), rest.out.until("the first, "))
            gate.opened.set()
            from_snapshot, from_second, from_third = await asyncio.gather(
                whole.finished(), rest.finished(), last.finished()
            )
    assert from_snapshot.out.replace("\n", "") == "the first, the last"
    assert from_snapshot.err == f"WORKING {task.id}\nCOMPLETED {task.id}\n"
    assert (from_second.out, from_second.err) == ("the first, the last\n", f"COMPLETED {task.id}\n")
    assert from_third.code == 0
    assert from_third.out == "the last\n"


async def test_subscribe_stays_through_a_question_until_the_task_has_ended(served: Served) -> None:
    task = await ended(served, {"input": "Which?"})
    async with running("subscribe", at(served), task.id) as watching:
        assert f"INPUT_REQUIRED {task.id} Which?" in await watching.err.until("INPUT_REQUIRED")
        assert watching.process.returncode is None
        await served.send(scripted({"fail": "not that one"}, task_id=task.id))
        done = await watching.finished()
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == f"FAILED {task.id} not that one"


async def test_subscribe_shows_a_task_that_has_ended_and_tells_of_a_place_that_is_not_there(served: Served) -> None:
    task = await ended(served, {"chunks": {"count": 2}})
    shown, nothing_more, too_far = await asyncio.gather(
        run("subscribe", at(served), task.id),
        run("subscribe", at(served), task.id, "--after=5"),
        run("subscribe", at(served), task.id, "--after=99"),
    )
    assert (shown.code, shown.out, shown.err) == (0, "chunk 0 chunk 1 \n", f"COMPLETED {task.id}\n")
    assert (nothing_more.code, nothing_more.out) == (0, "")
    assert f"task '{task.id}' has only 5 events" in error_of(too_far, 6)
