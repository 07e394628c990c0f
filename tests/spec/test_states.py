"""Task states: which may follow which, and what each means for the caller (spec §4.1.3, §7.6)."""

import asyncio
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.parts import text_of, to_dict
from a2a_grpc.protocol import CREATED
from a2a_grpc.wire import ROLE_AGENT, CancelTaskRequest
from tests.covers import covers
from tests.harness import (
    V1,
    Served,
    elements,
    event_state,
    eventually,
    message,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
    texts,
)
from tests.spec.required import faults

UNSPECIFIED, SUBMITTED, WORKING, COMPLETED, FAILED, CANCELED, INPUT_REQUIRED, REJECTED, AUTH_REQUIRED = range(9)

ENDS = [({"complete": "x"}, COMPLETED), ({"fail": "x"}, FAILED), ({"reject": "x"}, REJECTED), (None, CANCELED)]
INTERRUPTIONS = [({"input": "Which?"}, INPUT_REQUIRED), ({"auth": "Sign in"}, AUTH_REQUIRED)]


async def ended(served: Served, step: dict[str, str] | None) -> Any:
    """A task that has ended by this step, or by being canceled."""
    if step is not None:
        return (await served.send(scripted(step))).task
    started = await served.start({"sleep": 60})
    return await served.stub.CancelTask(CancelTaskRequest(id=started.id), metadata=V1)


@covers("ST-1")
@pytest.mark.parametrize(("step", "state"), ENDS)
async def test_a_terminal_state_is_final(served: Served, step: dict[str, str] | None, state: int) -> None:
    task = await ended(served, step)
    assert task.status.state == state
    again = request(message("again", task_id=task.id))
    for call in (served.send(again), served.stream(again), served.subscribe(task.id)):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
        assert refused.metadata == {"task_id": task.id}
    assert await served.get(task.id) == task


@covers("ST-1")
async def test_a_message_to_an_ended_task_does_not_reach_the_agent() -> None:
    agent, heard = Agent("Listener", "Listens."), list[str]()

    @agent.skill()
    async def listen(turn: Turn) -> None:
        heard.append(turn.text)

    async with serving(agent) as served:
        task = (await served.send(request("first"))).task
        await refusal(served.send(request(message("second", task_id=task.id))))
        follow_up = (await served.send(request(message("third", context_id=task.context_id)))).task
        assert (follow_up.context_id, follow_up.id != task.id) == (task.context_id, True)
    assert heard == ["first", "third"]


@covers("ST-5")
@pytest.mark.parametrize(("step", "state"), [*ENDS[:3], *INTERRUPTIONS])
async def test_every_change_of_state_is_a_status_update_with_its_time_and_message(
    served: Served, step: dict[str, str], state: int
) -> None:
    call = served.stream(scripted({"status": "on it"}, step))
    read = list(await elements(call, 4))
    call.cancel()
    assert [event_state(event) for event in read] == [SUBMITTED, WORKING, WORKING, state]
    assert [event.WhichOneof("payload") for event in read] == ["task", *["status_update"] * 3]
    statuses = [read[0].task.status, *(event.status_update.status for event in read[1:])]
    moments = [status.timestamp.ToNanoseconds() for status in statuses]
    assert moments[0] > 0
    assert moments == sorted(moments)
    assert [text_of(status.message) for status in statuses] == ["", "", "on it", next(iter(step.values()))]
    task = read[0].task
    for status in statuses[2:]:
        said = status.message
        assert (said.role, said.task_id, said.context_id) == (ROLE_AGENT, task.id, task.context_id)
    assert statuses[2].message.message_id != statuses[3].message.message_id
    assert [fault for event in read for fault in faults(event)] == []
    assert (await served.get(task.id)).status == statuses[3]


@covers("S4-8")
async def test_a_task_tells_when_it_was_created_and_when_it_last_changed(served: Served) -> None:
    read = list(await elements(served.stream(scripted({"status": "on it"}, {"complete": "done"})), 4))
    born, last = read[0].task, read[-1].status_update.status
    ended = await served.get(born.id)
    assert to_dict(ended.metadata)[CREATED] == born.status.timestamp.ToJsonString()
    assert born.status.timestamp.ToNanoseconds() < last.timestamp.ToNanoseconds()
    assert ended.status.timestamp == last.timestamp


@covers("ST-3", "AUTHT-3")
@pytest.mark.parametrize(("step", "state"), INTERRUPTIONS)
async def test_an_interrupted_task_goes_on_with_the_next_message(
    served: Served, step: dict[str, str], state: int
) -> None:
    waiting = (await served.send(scripted(step))).task
    assert waiting.status.state == state
    task = (await served.send(request(message("go on", task_id=waiting.id)))).task
    assert (task.id, task.status.state, texts(task)) == (waiting.id, COMPLETED, ["go on"])


@covers("ST-2")
@pytest.mark.parametrize(("first", "second"), [(a, b) for a in INTERRUPTIONS for b in INTERRUPTIONS])
async def test_a_task_may_be_interrupted_again_in_either_way(
    served: Served, first: tuple[dict[str, str], int], second: tuple[dict[str, str], int]
) -> None:
    waiting = (await served.send(scripted(first[0]))).task
    assert waiting.status.state == first[1]
    again = (await served.send(scripted(second[0], task_id=waiting.id))).task
    assert again.status.state == second[1]
    done = (await served.send(scripted({"complete": "done"}, task_id=waiting.id))).task
    assert done.status.state == COMPLETED


@covers("ST-2")
async def test_a_task_that_asks_while_a_message_waits_goes_on_at_once() -> None:
    agent, gate = Agent("Asker", "Asks late."), asyncio.Event()

    @agent.skill()
    async def ask(turn: Turn) -> str:
        await gate.wait()
        return "got " + await turn.ask("Which?")

    async with serving(agent) as served:
        started = (await served.send(request(immediately=True))).task
        await served.send(request(message("red", task_id=started.id), immediately=True))
        subscription = served.subscribe(started.id)
        await elements(subscription, 1)
        gate.set()
        states = [event_state(event) for event in await elements(subscription)]
        assert states[-4:] == [INPUT_REQUIRED, WORKING, 0, COMPLETED]
        assert texts(await served.get(started.id)) == ["got red"]


@covers("ST-4")
async def test_a_handler_that_just_returns_completes_its_task() -> None:
    agent = Agent("Quiet", "Says nothing.")

    @agent.skill()
    async def nothing(turn: Turn) -> None:
        """Does nothing."""

    async with serving(agent) as served:
        task = (await served.send(request())).task
        assert (task.status.state, len(task.artifacts), task.status.HasField("message")) == (COMPLETED, 0, False)


@covers("ST-4", "ERR-7")
async def test_a_handler_that_raises_fails_its_task_with_a_generic_text(served: Served) -> None:
    task = (await served.send(scripted({"artifact": {"text": "so far"}}, {"raise": "secret"}))).task
    assert task.status.state == FAILED
    assert texts(task) == ["so far"]
    assert "secret" not in text_of(task.status.message)
    assert "internal error" in text_of(task.status.message)
    assert faults(task) == []


@covers("ST-4")
async def test_a_handler_that_goes_on_after_its_task_was_canceled_writes_nothing() -> None:
    agent, release, attempts = Agent("Stubborn", "Does not stop."), asyncio.Event(), list[str]()

    @agent.skill()
    async def stubborn(turn: Turn) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        for attempt in (turn.status("still here"), turn.artifact("more"), turn.ask("Hello?")):
            try:
                await attempt
                attempts.append("written")
            except asyncio.CancelledError:
                attempts.append("canceled")
        return "result"

    async with serving(agent, cancel_grace_s=0.0) as served:
        call = served.stream(request())
        read = await elements(call, 2)
        task_id = read[0].task.id
        canceled = await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
        release.set()

        def has_tried() -> None:
            assert attempts == ["canceled"] * 3

        await eventually(has_tried)
        assert canceled.status.state == CANCELED
        assert await served.get(task_id) == canceled
        assert [event_state(event) for event in await elements(call)] == [CANCELED]


@covers("ST-2")
async def test_a_task_that_waits_for_its_place_is_submitted() -> None:
    async with serving(scripted_agent(), max_runs=1) as served:
        busy = await served.start({"sleep": 60})
        queued = await served.start({"complete": "done"})
        assert (await served.get(queued.id)).status.state == SUBMITTED
        await served.stub.CancelTask(CancelTaskRequest(id=busy.id), metadata=V1)

        async def completes() -> None:
            assert (await served.get(queued.id)).status.state == COMPLETED

        await eventually(completes)


@covers("AUTHT-1")
async def test_a_task_that_needs_authorization_says_what_is_needed(served: Served) -> None:
    task = (await served.send(scripted({"auth": "Sign in at https://login.example"}))).task
    assert task.status.state == AUTH_REQUIRED
    assert text_of(task.status.message) == "Sign in at https://login.example"
    assert (task.status.message.role, task.status.message.task_id) == (ROLE_AGENT, task.id)
    assert faults(task) == []
    assert await served.get(task.id) == task


@covers("AUTHT-3")
async def test_a_sends_stream_stays_open_while_authorization_is_missing(served: Served) -> None:
    call = served.stream(scripted({"auth": "Sign in"}))
    read = await elements(call, 3)
    assert [event_state(event) for event in read] == [SUBMITTED, WORKING, AUTH_REQUIRED]
    task_id = read[0].task.id
    task = (await served.send(request(message("signed in", task_id=task_id)))).task
    assert task.status.state == COMPLETED
    assert [event_state(event) for event in await elements(call)] == [WORKING, 0, COMPLETED]
    assert await call.code() == grpc.StatusCode.OK


@covers("AUTHT-4")
async def test_a_message_to_a_task_that_needs_authorization_is_no_authorization(served: Served) -> None:
    waiting = (await served.send(scripted({"auth": "Sign in"}))).task
    again = (await served.send(scripted({"auth": "Not yet"}, task_id=waiting.id))).task
    assert (again.status.state, text_of(again.status.message)) == (AUTH_REQUIRED, "Not yet")
