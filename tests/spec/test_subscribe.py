"""SubscribeToTask: the task as it is, then what happens to it (spec §3.1.6)."""

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.lifecycle import AUTH_REQUIRED, COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.parts import text_of
from a2a_grpc.wire import CancelTaskRequest, StreamResponse, TaskState
from tests.covers import covers
from tests.harness import (
    V1,
    Served,
    elements,
    event_state,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
)
from tests.spec.required import faults

pytestmark = pytest.mark.usefixtures("any_way")


@covers("SUB-1", "OPEN-26")
async def test_without_the_streaming_capability_it_is_unsupported() -> None:
    agent = Agent("Quiet", "Does not stream.", streaming=False)

    @agent.skill()
    async def wait(turn: Turn) -> None:
        await turn.ask("Which?")

    async with serving(agent) as served:
        waiting = (await served.send(request())).task
        refused = await refusal(served.subscribe(waiting.id))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
        unknown = await refusal(served.subscribe("t-0"))
        assert unknown.reason == "UNSUPPORTED_OPERATION"  # the capability comes before existence


@covers("SUB-2")
async def test_an_unknown_task_is_not_found(served: Served) -> None:
    refused = await refusal(served.subscribe("t-0"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


@covers("SUB-3")
@pytest.mark.parametrize("step", [{"complete": "x"}, {"fail": "x"}, {"reject": "x"}, None])
async def test_a_task_that_has_ended_is_refused_without_any_element(
    served: Served, step: dict[str, str] | None
) -> None:
    if step is None:
        task_id = (await served.start({"sleep": 60})).id
        await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
    else:
        task_id = (await served.send(scripted(step))).task.id
    read: list[StreamResponse] = []

    async def listen() -> None:
        async for element in served.subscribe(task_id):
            read.append(element)

    refused = await refusal(listen())
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
    assert read == []


@covers("SUB-4")
async def test_the_task_comes_first_then_its_updates_until_it_ends(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}))).task
    call = served.subscribe(waiting.id)
    first = (await elements(call, 1))[0]
    assert first.task == waiting
    await served.send(scripted({"status": "thinking"}, {"artifact": {"text": "red"}}, task_id=waiting.id))
    rest = await elements(call)
    assert [event.WhichOneof("payload") for event in rest] == [
        "status_update",
        "status_update",
        "artifact_update",
        "status_update",
    ]
    assert [event_state(event) for event in rest] == [WORKING, WORKING, 0, COMPLETED]
    assert text_of(rest[2].artifact_update.artifact) == "red"
    assert await call.code() == grpc.StatusCode.OK
    assert [fault for event in (first, *rest) for fault in faults(event)] == []


@covers("SUB-5")
async def test_a_task_that_waits_for_its_place_can_be_subscribed_to() -> None:
    async with serving(scripted_agent(), max_runs=1) as served:
        busy = await served.start({"sleep": 60})
        queued = await served.start()
        call = served.subscribe(queued.id)
        assert (await elements(call, 1))[0].task.status.state == SUBMITTED
        await served.stub.CancelTask(CancelTaskRequest(id=busy.id), metadata=V1)
        assert [event_state(event) for event in await elements(call)] == [WORKING, 0, COMPLETED]


@covers("SUB-5", "OPEN-1")
@pytest.mark.parametrize(
    ("step", "state"), [({"input": "Which?"}, INPUT_REQUIRED), ({"auth": "Sign in"}, AUTH_REQUIRED)]
)
async def test_a_subscription_outlasts_interruptions_and_ends_with_the_terminal_event(
    served: Served, step: dict[str, str], state: TaskState
) -> None:
    waiting = (await served.send(scripted(step))).task
    call = served.subscribe(waiting.id)
    assert (await elements(call, 1))[0].task.status.state == state
    again = (await served.send(scripted(step, task_id=waiting.id))).task
    assert again.status.state == state
    assert [event_state(event) for event in await elements(call, 2)] == [WORKING, state]
    await served.send(scripted({"complete": "done"}, task_id=waiting.id))
    assert [event_state(event) for event in await elements(call)] == [WORKING, COMPLETED]
    assert await call.code() == grpc.StatusCode.OK


@covers("SUB-8", "OPEN-24")
async def test_the_first_task_has_the_history_so_far(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}))).task
    first = (await elements(served.subscribe(waiting.id), 1))[0].task
    assert [sent.message_id for sent in first.history] == ["m-1"]
