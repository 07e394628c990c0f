"""SendStreamingMessage: sending a message and following the work (spec §3.1.2)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, InputRequired, Turn
from a2a_grpc.lifecycle import (
    AUTH_REQUIRED,
    CANCELED,
    COMPLETED,
    FAILED,
    INPUT_REQUIRED,
    REJECTED,
    SUBMITTED,
    WORKING,
    fold,
)
from a2a_grpc.parts import text_of
from a2a_grpc.wire import (
    ROLE_AGENT,
    CancelTaskRequest,
    ListTasksRequest,
    Part,
    StreamResponse,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from tests.covers import covers
from tests.harness import (
    V1,
    Served,
    elements,
    event_state,
    message,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
    texts,
)
from tests.spec.required import faults

pytestmark = pytest.mark.usefixtures("any_way")


def kinds(read: Sequence[StreamResponse]) -> list[str]:
    return [str(element.WhichOneof("payload")) for element in read]


def states(read: Sequence[StreamResponse]) -> list[int]:
    """The states that the elements tell, artifact updates left out."""
    return [state for element in read if (state := event_state(element))]


class Gated:
    """An agent that makes an artifact, then waits until the test opens its gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.texts: list[str] = []
        self.agent = Agent("Gated", "Waits for its gate.")

        @self.agent.skill()
        async def wait(turn: Turn) -> str:
            self.texts.append(turn.text)
            await turn.artifact("partial", id="partial")
            await turn.status("waiting")
            await self.gate.wait()
            return f"{turn.text} is done"


# -- the capability


@covers("STRM-1")
@pytest.mark.parametrize("answers", ["task", "message"])
async def test_without_the_streaming_capability_a_stream_is_refused_before_anything_happens(
    answers: Any,
) -> None:
    seen: list[str] = []
    agent = Agent("Still", "Does not stream.", streaming=False)

    @agent.skill(answers=answers)
    async def work(turn: Turn) -> str:
        seen.append(turn.text)
        return "done"

    async with serving(agent) as served:
        refused = await refusal(served.stream(request()))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
        assert refused.domain == "a2a-protocol.org"
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0
        assert seen == []
        await served.send(request("unary"))
    assert seen == ["unary"]


# -- progress


@covers("STRM-2")
async def test_progress_and_partial_results_arrive_while_the_agent_is_still_at_work() -> None:
    gated = Gated()
    async with asyncio.timeout(30), serving(gated.agent) as served:
        call = served.stream(request("it"))
        first = await elements(call, 4)
        assert kinds(first) == ["task", "status_update", "artifact_update", "status_update"]
        assert text_of(first[2].artifact_update.artifact) == "partial"
        assert text_of(first[3].status_update.status.message) == "waiting"
        gated.gate.set()
        rest = await elements(call)
    assert kinds(rest) == ["artifact_update", "status_update"]
    assert text_of(rest[0].artifact_update.artifact) == "it is done"
    assert states(rest) == [COMPLETED]


@covers("STRM-2")
async def test_pieces_of_a_generator_arrive_the_moment_they_are_yielded() -> None:
    gates = [asyncio.Event() for _ in range(3)]
    agent = Agent("Dripping", "Yields a piece whenever it is let.")

    @agent.skill()
    async def drip(turn: Turn) -> Any:
        for place, gate in enumerate(gates):
            yield f"{place} "
            await gate.wait()

    async with asyncio.timeout(30), serving(agent) as served:
        call = served.stream(request())
        await elements(call, 2)
        for place, gate in enumerate(gates):
            update = (await elements(call, 1))[0].artifact_update
            assert (text_of(update.artifact), update.append) == (f"{place} ", place > 0)
            gate.set()
        sealed, completed = await elements(call)
    assert sealed.artifact_update.last_chunk
    assert completed.status_update.status.state == COMPLETED


# -- a message


@covers("STRM-3")
async def test_a_message_is_the_one_and_only_element_and_no_task_exists(served: Served) -> None:
    call = served.stream(scripted({"message": "Hello back."}, context_id="c-1"))
    read = await elements(call)
    assert kinds(read) == ["message"]
    assert await call.code() is grpc.StatusCode.OK
    said = read[0].message
    assert (said.role, said.context_id, said.task_id, text_of(said)) == (ROLE_AGENT, "c-1", "", "Hello back.")
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


# -- the elements of a task

ENDS: dict[str, tuple[list[Any], TaskState]] = {
    "nothing": ([], COMPLETED),
    "complete": ([{"complete": "Done."}], COMPLETED),
    "fail": ([{"fail": "No."}], FAILED),
    "reject": ([{"reject": "No."}], REJECTED),
    "raise": ([{"raise": "boom"}], FAILED),
    "input": ([{"input": "?"}], INPUT_REQUIRED),
}


@covers("STRM-4")
@pytest.mark.parametrize(("end", "state"), ENDS.values(), ids=ENDS)
async def test_first_the_task_then_its_updates_then_ok_after_the_settling_event(
    served: Served, end: list[Any], state: TaskState
) -> None:
    call = served.stream(scripted({"status": "on it"}, {"artifact": {"id": "a", "text": "one"}}, *end))
    read = await elements(call)
    assert kinds(read) == ["task", "status_update", "status_update", "artifact_update", "status_update"]
    assert states(read) == [SUBMITTED, WORKING, WORKING, state]
    assert await call.code() is grpc.StatusCode.OK
    task = read[0].task
    for element in read[1:]:
        update = element.status_update if element.HasField("status_update") else element.artifact_update
        assert (update.task_id, update.context_id) == (task.id, task.context_id)


@covers("STRM-4", "CANC-8")
async def test_a_canceled_task_ends_its_stream_ok_with_the_canceled_event() -> None:
    async with asyncio.timeout(30), serving(scripted_agent()) as served:
        call = served.stream(scripted({"sleep": 60}))
        task_id = (await elements(call, 2))[0].task.id
        await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
        assert states(await elements(call)) == [CANCELED]
        assert await call.code() is grpc.StatusCode.OK


@covers("STRM-4")
async def test_the_elements_add_up_to_the_stored_task(served: Served) -> None:
    read = await elements(
        served.stream(
            scripted(
                {"status": "one"},
                {"artifact": {"id": "a", "name": "first", "text": "x"}},
                {"artifact": {"id": "a", "text": "y", "append": True}},
                {"artifact": {"id": "b", "text": "new", "append": True}},
                {"artifact": {"id": "b", "data": {"replaced": True}}},
                {"status": "two"},
                {"chunks": {"id": "c", "count": 20, "text": "{i} "}},
                {"complete": "Done."},
            )
        )
    )
    folded = fold(Task(), [(element, None) for element in read])
    assert folded == await served.get(read[0].task.id)
    assert len(folded.artifacts) == 3


@covers("STRM-5")
async def test_an_agent_s_words_travel_in_statuses_and_never_as_bare_messages(served: Served) -> None:
    read = await elements(served.stream(scripted({"status": "one"}, {"status": "two"}, {"complete": "three"})))
    assert "message" not in kinds(read)
    said = [text_of(element.status_update.status.message) for element in read if element.HasField("status_update")]
    assert said == ["", "one", "two", "three"]


@covers("STRM-5")
async def test_a_follow_up_s_stream_begins_with_the_task_as_it_is_now(served: Served) -> None:
    before = (await served.send(scripted({"artifact": {"id": "a", "text": "one"}}, {"input": "Which date?"}))).task
    call = served.stream(scripted({"status": "thanks"}, {"complete": "Done."}, task_id=before.id))
    read = await elements(call)
    first = read[0].task
    assert kinds(read) == ["task", "status_update", "status_update"]
    assert (first.id, first.context_id, texts(first)) == (before.id, before.context_id, ["one"])
    assert first.status.state == WORKING
    assert [said.role for said in first.history] == [1, 2, 1]
    assert states(read) == [WORKING, WORKING, COMPLETED]


@covers("STRM-5")
async def test_the_stream_of_an_answer_to_a_waiting_handler_begins_with_the_task(served: Served) -> None:
    before = (await served.send(scripted({"input": "Which date?"}, {"artifact": {"id": "a", "text": "one"}}))).task
    read = await elements(served.stream(request(message("Monday", task_id=before.id))))
    assert kinds(read) == ["task", "artifact_update", "status_update"]
    assert read[0].task.id == before.id
    assert text_of(read[0].task.history[-1]) == "Monday"
    assert states(read)[-1] == COMPLETED


@covers("STRM-5")
async def test_the_stream_of_a_message_to_a_working_task_begins_with_it_and_ends_with_its_own_turn() -> None:
    gate = asyncio.Event()
    agent = Agent("Turns", "Takes its turns.")

    @agent.skill()
    async def work(turn: Turn) -> InputRequired:
        if turn.text == "first":
            await gate.wait()
        return InputRequired(f"{turn.text}?")

    async with asyncio.timeout(30), serving(agent) as served:
        first = served.stream(request("first"))
        task_id = (await elements(first, 2))[0].task.id
        second = served.stream(request(message("second", task_id=task_id)))
        opening = await elements(second, 1)
        gate.set()
        rest = await elements(second)
        assert states(await elements(first)) == [INPUT_REQUIRED]
    assert (opening[0].task.id, opening[0].task.status.state) == (task_id, WORKING)
    assert states(rest) == [INPUT_REQUIRED, WORKING, INPUT_REQUIRED]
    assert [text_of(element.status_update.status.message) for element in rest] == ["first?", "", "second?"]


@covers("STRM-7", "OPEN-4")
async def test_completion_is_the_end_of_the_stream_with_ok_after_the_terminal_event(served: Served) -> None:
    for _ in range(20):
        call = served.stream(request())
        read = await elements(call)
        assert await call.code() is grpc.StatusCode.OK
        assert event_state(read[-1]) == COMPLETED


@covers("STRM-4")
async def test_return_immediately_does_not_shorten_a_stream(served: Served) -> None:
    read = await elements(served.stream(scripted({"status": "one"}, {"complete": "two"}, immediately=True)))
    assert states(read) == [SUBMITTED, WORKING, WORKING, COMPLETED]


# -- errors


@covers("STRM-8")
async def test_the_errors_of_a_send_come_as_the_status_before_any_element(served: Served) -> None:
    ended = (await served.send(request())).task
    push = request(task_push_notification_config=TaskPushNotificationConfig(url="https://example.org/hook"))
    failed, invalid = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT
    refusals = [
        (request(message(task_id="nowhere")), grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND"),
        (request(message(task_id=ended.id)), failed, "UNSUPPORTED_OPERATION"),
        (push, failed, "PUSH_NOTIFICATION_NOT_SUPPORTED"),
        (request(message(message_id="")), invalid, "INVALID_PARAMS"),
    ]
    for asked, code, reason in refusals:
        # The first thing that can be read is the error.
        refused = await refusal(anext(aiter(served.stream(asked))))
        assert (refused.code, refused.reason) == (code, reason)


@covers("STRM-8")
async def test_a_media_type_that_the_agent_does_not_take_is_refused_before_any_element() -> None:
    agent = Agent("Reading", "Reads text.", input_modes=["text/plain"])

    @agent.skill()
    async def read(turn: Turn) -> None:
        return None

    async with serving(agent) as served:
        asked = request()
        asked.message.parts.append(Part(raw=b"x", media_type="image/png"))
        refused = await refusal(served.stream(asked))
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CONTENT_TYPE_NOT_SUPPORTED")
    assert refused.fields == ["message.parts[1].media_type"]


# -- interrupted tasks


@covers("STRM-9", "OPEN-1")
async def test_a_stream_stays_open_in_auth_required_and_goes_on_with_the_next_message() -> None:
    async with asyncio.timeout(30), serving(scripted_agent()) as served:
        call = served.stream(scripted({"auth": "Log in at the desk."}))
        read = await elements(call, 3)
        assert states(read) == [SUBMITTED, WORKING, AUTH_REQUIRED]
        answered = (await served.send(scripted({"complete": "thanks"}, task_id=read[0].task.id))).task
        rest = await elements(call)
        assert await call.code() is grpc.StatusCode.OK
    assert answered.status.state == COMPLETED
    assert states(rest) == [WORKING, COMPLETED]


@covers("STRM-9", "OPEN-1")
async def test_a_stream_ends_ok_after_input_required(served: Served) -> None:
    call = served.stream(scripted({"input": "Which date?"}))
    read = await elements(call)
    assert states(read) == [SUBMITTED, WORKING, INPUT_REQUIRED]
    assert text_of(read[-1].status_update.status.message) == "Which date?"
    assert await call.code() is grpc.StatusCode.OK
    assert (await served.get(read[0].task.id)).status.state == INPUT_REQUIRED


@covers("STRM-9", "OPEN-1")
async def test_a_stream_ends_ok_when_its_handler_waits_for_an_answer(served: Served) -> None:
    call = served.stream(scripted({"input": "Which date?"}, {"status": "thanks"}))
    assert states(await elements(call)) == [SUBMITTED, WORKING, INPUT_REQUIRED]
    assert await call.code() is grpc.StatusCode.OK


@covers("STRM-9", "OPEN-1")
async def test_the_question_of_an_earlier_turn_does_not_end_the_stream_of_a_later_one(served: Served) -> None:
    task_id = (await served.send(scripted({"input": "first?"}))).task.id
    read = await elements(served.stream(scripted({"input": "second?"}, task_id=task_id)))
    assert states(read) == [WORKING, INPUT_REQUIRED]
    assert text_of(read[-1].status_update.status.message) == "second?"


# -- failures


@covers("STRM-10", "ST-4")
async def test_a_failure_after_elements_is_told_as_failed_and_the_stream_ends_ok(served: Served) -> None:
    call = served.stream(scripted({"artifact": {"id": "a", "text": "half"}}, {"raise": "SECRET"}))
    read = await elements(call)
    assert kinds(read) == ["task", "status_update", "artifact_update", "status_update"]
    assert read[-1].status_update.status.state == FAILED
    assert await call.code() is grpc.StatusCode.OK
    assert not any(b"SECRET" in element.SerializeToString() for element in read[1:])


# -- order


@covers("EVT-1")
async def test_a_thousand_events_arrive_in_order_each_once(served: Served) -> None:
    read = await elements(served.stream(scripted({"chunks": {"id": "c", "count": 1000, "text": "{i}"}})))
    chunks = [element.artifact_update for element in read if element.HasField("artifact_update")]
    assert [text_of(chunk.artifact) for chunk in chunks] == [str(i) for i in range(1000)]
    assert [chunk.append for chunk in chunks] == [False] + [True] * 999
    assert [chunk.last_chunk for chunk in chunks] == [False] * 999 + [True]
    assert [fault for element in read for fault in faults(element)] == []
