"""Context and task ids: who makes them, what happens to those that a client gives (spec §3.4)."""

import asyncio
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Message, Part, Turn
from a2a_grpc.wire import ROLE_AGENT, ListTasksRequest, TaskState
from tests.covers import covers
from tests.harness import V1, Served, elements, message, refusal, request, scripted, serving


async def sent_to(served: Served, **ids: str) -> Any:
    """The task that a message with these ids made or went on with."""
    return (await served.send(request(message("hello", **ids)))).task


@covers("IDS-1")
async def test_a_message_without_context_id_gets_one_of_its_own(served: Served) -> None:
    first, second = await sent_to(served), await sent_to(served)
    assert first.context_id
    assert second.context_id
    assert first.context_id != second.context_id
    assert [sent.context_id for sent in first.history] == [first.context_id]


@covers("IDS-1")
async def test_every_event_of_a_stream_carries_the_generated_ids(served: Served) -> None:
    first, *rest = await elements(served.stream(scripted({"status": "thinking"}, {"artifact": {"text": "x"}})))
    ids = (first.task.id, first.task.context_id)
    assert all(ids)
    found = [getattr(event, str(event.WhichOneof("payload"))) for event in rest]
    assert [(update.task_id, update.context_id) for update in found] == [ids] * 4


@covers("IDS-1")
async def test_a_message_for_an_answer_carries_the_generated_context_id(served: Served) -> None:
    answers = [(await served.send(scripted({"message": "hi"}))).message for _ in range(2)]
    assert all(answer.context_id for answer in answers)
    assert answers[0].context_id != answers[1].context_id
    assert [answer.task_id for answer in answers] == ["", ""]


@covers("IDS-1")
async def test_an_answer_that_the_agent_made_itself_carries_the_context_id() -> None:
    agent = Agent("Parrot", "Answers with a message of its own making.")

    @agent.skill(answers="message")
    async def parrot(turn: Turn) -> Message:
        return Message(message_id="r-1", role=ROLE_AGENT, parts=[Part(text=turn.text)])

    async with serving(agent) as served:
        given = (await served.send(request(message("hi", context_id="c-1")))).message
        assert (given.message_id, given.parts[0].text, given.context_id) == ("r-1", "hi", "c-1")
        assert (await served.send(request("hi"))).message.context_id


@covers("IDS-2")
async def test_a_context_id_of_the_client_is_taken_as_it_is(served: Served) -> None:
    assert (await sent_to(served, context_id="Trip/2026 é")).context_id == "Trip/2026 é"
    answer = (await served.send(scripted({"message": "hi"}, context_id="c-1"))).message
    read = await elements(served.stream(request(message(context_id="c-1"))))
    assert (answer.context_id, read[0].task.context_id, read[-1].status_update.context_id) == ("c-1", "c-1", "c-1")


@covers("IDS-2")
async def test_a_context_id_that_cannot_be_taken_is_refused_and_not_replaced(served: Served) -> None:
    refused = await refusal(served.send(request(message("hello", context_id="c" * 257))))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["message.context_id"])
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


@covers("IDS-4", "IDS-9")
async def test_a_context_id_without_task_id_begins_a_new_task_of_the_conversation(served: Served) -> None:
    first = await sent_to(served)
    second = await sent_to(served, context_id=first.context_id)
    assert second.id != first.id
    assert second.context_id == first.context_id
    assert len(second.history) == 1
    page = await served.stub.ListTasks(ListTasksRequest(context_id=first.context_id), metadata=V1)
    assert [task.id for task in page.tasks] == [second.id, first.id]


@covers("IDS-5")
async def test_every_new_task_has_an_id_of_its_own_made_by_the_server(served: Served) -> None:
    tasks = await asyncio.gather(*(sent_to(served) for _ in range(20)))
    assert len({task.id for task in tasks}) == 20
    assert "" not in {task.id for task in tasks}
    assert "m-1" not in {task.id for task in tasks}
    assert all(task.history[0].task_id == task.id for task in tasks)


@covers("IDS-7", "IDS-9", "P16")
@pytest.mark.parametrize("with_context", [False, True])
async def test_a_task_id_goes_on_with_the_task_and_its_context(served: Served, with_context: bool) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}))).task
    task = await sent_to(served, task_id=waiting.id, context_id=waiting.context_id if with_context else "")
    assert (task.id, task.context_id) == (waiting.id, waiting.context_id)
    assert task.status.state == TaskState.TASK_STATE_COMPLETED
    assert [(sent.task_id, sent.context_id) for sent in task.history] == [(waiting.id, waiting.context_id)] * 3


@covers("IDS-8")
@pytest.mark.parametrize("streaming", [False, True])
async def test_a_task_id_with_another_tasks_context_is_refused(served: Served, streaming: bool) -> None:
    other = await sent_to(served)
    waiting = (await served.send(scripted({"input": "Which?"}))).task
    sent = request(message("red", task_id=waiting.id, context_id=other.context_id))
    refused = await refusal(served.stream(sent) if streaming else served.send(sent))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == ["message.context_id"]
    assert waiting.context_id not in refused.text
    assert await served.get(waiting.id) == waiting


@covers("IDS-10", "SEC-4")
async def test_a_task_id_of_another_tenant_is_one_that_does_not_exist(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}, tenant="a"))).task
    sent = request(message("red", task_id=waiting.id, context_id="wrong"), tenant="b")
    refused = await refusal(served.send(sent))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert await served.get(waiting.id, tenant="a") == waiting


@covers("IDS-10", "SEC-4")
async def test_a_context_id_of_another_tenant_joins_nobody(served: Served) -> None:
    theirs = (await served.send(request("hello", tenant="a"))).task
    mine = (await served.send(request(message("hello", context_id=theirs.context_id), tenant="b"))).task
    assert mine.id != theirs.id
    for tenant, task in (("a", theirs), ("b", mine)):
        listing = ListTasksRequest(tenant=tenant, context_id=theirs.context_id)
        page = await served.stub.ListTasks(listing, metadata=V1)
        assert [found.id for found in page.tasks] == [task.id]
