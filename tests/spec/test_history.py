"""History: what is in it, in which order, and how much of it is sent (spec §3.2.4)."""

from typing import Any

import grpc
import pytest

from a2a_grpc.parts import text_of
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    SendMessageConfiguration,
    SendMessageRequest,
    Task,
)
from tests.covers import covers
from tests.harness import V1, Served, elements, refusal, scripted

WHOLE = ["begin", "Which color?", "red", "Which size?", "large"]
"""The history of the conversation below."""

LENGTHS = [
    (None, WHOLE),
    (0, []),
    (1, ["large"]),
    (2, ["Which size?", "large"]),
    (5, WHOLE),
    (6, WHOLE),
    (2**31 - 1, WHOLE),
]


def said(task: Task) -> list[str]:
    return [text_of(sent) for sent in task.history]


def saying(text: str, *steps: dict[str, Any], task_id: str = "", length: int | None = None) -> SendMessageRequest:
    """A script with a text beside it."""
    sent = scripted(*steps, task_id=task_id)
    sent.message.parts.add(text=text)
    sent.message.message_id = f"m-{text}"
    sent.configuration.CopyFrom(SendMessageConfiguration(history_length=length))
    return sent


async def asked_twice(served: Served) -> str:
    """The id of a task that waits for its third message."""
    task_id: str = (await served.send(saying("begin", {"input": "Which color?"}))).task.id
    await served.send(saying("red", {"input": "Which size?"}, task_id=task_id))
    return task_id


async def conversation(served: Served) -> str:
    """The id of a task with five messages in its history."""
    task_id = await asked_twice(served)
    await served.send(saying("large", {"complete": "done"}, task_id=task_id))
    return task_id


@covers("HIST-5", "OPEN-24")
async def test_the_history_is_chronological_with_questions_before_their_answers(served: Served) -> None:
    task = await served.get(await conversation(served))
    assert said(task) == WHOLE
    assert [sent.role for sent in task.history] == [ROLE_USER, ROLE_AGENT, ROLE_USER, ROLE_AGENT, ROLE_USER]
    assert text_of(task.status.message) == "done"
    assert {(sent.task_id, sent.context_id) for sent in task.history} == {(task.id, task.context_id)}


@covers("HIST-5")
async def test_a_question_of_a_handler_that_waits_stands_before_its_answer_too(served: Served) -> None:
    waiting = (await served.send(saying("begin", {"input": "Which color?"}, {"complete": "done"}))).task
    assert said(waiting) == ["begin"]
    assert text_of(waiting.status.message) == "Which color?"
    task = (await served.send(saying("red", {"complete": "done"}, task_id=waiting.id))).task
    assert said(task) == ["begin", "Which color?", "red"]


@covers("HIST-5")
async def test_superseded_status_messages_move_into_the_history(served: Served) -> None:
    task = (await served.send(saying("begin", {"status": "one"}, {"status": "two"}, {"complete": "three"}))).task
    assert said(task) == ["begin", "one", "two"]
    assert text_of(task.status.message) == "three"


@covers("HIST-1", "HIST-2", "HIST-3", "GET-1", "WIRE-7")
@pytest.mark.parametrize(("length", "expected"), LENGTHS)
async def test_get_task_gives_the_most_recent_messages_asked_for(
    served: Served, length: int | None, expected: list[str]
) -> None:
    task_id = await conversation(served)
    task = await served.stub.GetTask(GetTaskRequest(id=task_id, history_length=length), metadata=V1)
    assert said(task) == expected
    assert len(task.status.message.parts) == 1


@covers("HIST-1", "HIST-2", "HIST-3", "LIST-8", "WIRE-7")
@pytest.mark.parametrize(("length", "expected"), LENGTHS)
async def test_list_tasks_gives_the_most_recent_messages_asked_for(
    served: Served, length: int | None, expected: list[str]
) -> None:
    await conversation(served)
    page = await served.stub.ListTasks(ListTasksRequest(history_length=length), metadata=V1)
    assert [said(task) for task in page.tasks] == [expected]


@covers("HIST-1", "HIST-2", "HIST-3", "SEND-10", "WIRE-7")
@pytest.mark.parametrize(("length", "expected"), LENGTHS)
async def test_send_message_gives_the_most_recent_messages_asked_for(
    served: Served, length: int | None, expected: list[str]
) -> None:
    task_id = await asked_twice(served)
    response = await served.send(saying("large", {"complete": "done"}, task_id=task_id, length=length))
    assert said(response.task) == expected


@covers("HIST-6")
@pytest.mark.parametrize(("length", "expected"), LENGTHS)
async def test_the_task_of_a_sends_stream_has_the_most_recent_messages_asked_for(
    served: Served, length: int | None, expected: list[str]
) -> None:
    task_id = await asked_twice(served)
    sent = saying("large", {"complete": "done"}, task_id=task_id, length=length)
    assert said((await elements(served.stream(sent)))[0].task) == expected


@covers("HIST-3", "SEND-10")
async def test_a_response_without_waiting_is_trimmed_too(served: Served) -> None:
    task_id = await asked_twice(served)
    sent = saying("large", {"sleep": 60}, task_id=task_id, length=1)
    sent.configuration.return_immediately = True
    assert said((await served.send(sent)).task) == ["large"]


@covers("HIST-1", "HIST-2", "HIST-3")
async def test_what_one_caller_asks_for_changes_nothing_for_the_next(served: Served) -> None:
    task_id = await conversation(served)
    before = await served.get(task_id)
    await served.stub.GetTask(GetTaskRequest(id=task_id, history_length=0), metadata=V1)
    assert await served.get(task_id) == before
    assert said(before) == WHOLE


@covers("VAL-4")
async def test_a_negative_length_is_refused_under_its_field(served: Served) -> None:
    calls = {
        "history_length": [
            served.stub.GetTask(GetTaskRequest(id="t-1", history_length=-1), metadata=V1),
            served.stub.ListTasks(ListTasksRequest(history_length=-1), metadata=V1),
        ],
        "configuration.history_length": [
            served.send(saying("begin", length=-1)),
            served.stream(saying("begin", length=-1)),
        ],
    }
    for field, refused_calls in calls.items():
        for call in refused_calls:
            refused = await refusal(call)
            assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


@covers("HIST-4")
async def test_every_message_of_the_agent_in_the_history_is_complete(served: Served) -> None:
    task = await served.get(await conversation(served))
    agents: list[Message] = [sent for sent in task.history if sent.role == ROLE_AGENT]
    assert len(agents) == 2
    assert all(sent.message_id and sent.parts for sent in agents)
    assert len({sent.message_id for sent in agents}) == 2
