"""P11, Q9: tenants."""

import asyncio

import grpc
import pytest

from a2a_grpc import TaskState
from a2a_grpc.lifecycle import INPUT_REQUIRED, WORKING
from a2a_grpc.wire import CancelTaskRequest, GetTaskRequest, ListTasksRequest, Task
from tests.covers import covers
from tests.harness import (
    V1,
    Refusal,
    Served,
    elements,
    event_state,
    eventually,
    message,
    refusal,
    request,
    scripted,
)


async def _calls_on_a_task(served: Served, task_id: str, tenant: str) -> dict[str, Refusal]:
    """How each RPC that takes a task id refuses a caller."""
    follow_up = request(message(task_id=task_id), tenant=tenant)
    calls = {
        "GetTask": served.stub.GetTask(GetTaskRequest(id=task_id, tenant=tenant), metadata=V1),
        "CancelTask": served.stub.CancelTask(CancelTaskRequest(id=task_id, tenant=tenant), metadata=V1),
        "SubscribeToTask": served.subscribe(task_id, tenant=tenant),
        "SubscribeToTask after": served.subscribe(task_id, ("a2a-grpc-after", "1"), tenant=tenant),
        "SendMessage": served.send(follow_up),
        "SendStreamingMessage": served.stream(follow_up),
    }
    return {name: await refusal(call) for name, call in calls.items()}


@covers("P11", "TEN-5", "GET-2", "GET-3", "SUB-2", "CANC-2", "SEND-6", "OP-1", "ERR-11", "ERR-13", "ERR-16", "IDS-10")
@pytest.mark.parametrize(("owner", "other"), [("a", "b"), ("a", ""), ("", "b"), ("a", "A"), ("a", "a ")])
async def test_a_task_of_another_tenant_is_not_found_in_the_words_of_an_unknown_one(
    served: Served, owner: str, other: str
) -> None:
    task = await served.start({"status": "at work"}, {"sleep": 600}, tenant=owner)

    refused = await _calls_on_a_task(served, task.id, other)
    unknown = await _calls_on_a_task(served, "no-such-task", other)

    for name, found in refused.items():
        assert (name, found.code, found.reason) == (name, grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
        assert found.text.replace(task.id, "no-such-task") == unknown[name].text
        assert found.metadata == {"task_id": task.id}
    now = await served.get(task.id, tenant=owner)
    assert now.status.state == WORKING
    assert len(now.history) == 1


@covers("P11", "LIST-1", "TEN-5")
async def test_a_list_has_only_the_tasks_of_its_tenant(served: Served) -> None:
    owned = {tenant: (await served.start({"sleep": 600}, tenant=tenant)).id for tenant in ("a", "b", "")}
    for tenant, task_id in owned.items():
        listed = await served.stub.ListTasks(ListTasksRequest(tenant=tenant), metadata=V1)
        assert ([task.id for task in listed.tasks], listed.total_size) == ([task_id], 1)
        foreign = await served.stub.ListTasks(
            ListTasksRequest(tenant=tenant, context_id=(await served.get(owned["a"], tenant="a")).context_id),
            metadata=V1,
        )
        assert foreign.total_size == (tenant == "a")


async def _parked(served: Served, tenant: str) -> Task:
    task = await served.start({"input": "Which?"}, tenant=tenant)

    async def check() -> None:
        assert (await served.get(task.id, tenant=tenant)).status.state == INPUT_REQUIRED

    await eventually(check)
    return task


@covers("Q9")
async def test_subscribe_and_cancel_honour_the_tenant(served: Served) -> None:
    task = await _parked(served, "acme")
    subscription = served.subscribe(task.id, tenant="acme")
    [first] = await elements(subscription, 1)
    assert (first.task.id, first.task.status.state) == (task.id, INPUT_REQUIRED)

    canceled = await served.stub.CancelTask(CancelTaskRequest(id=task.id, tenant="acme"), metadata=V1)

    assert canceled.status.state == TaskState.TASK_STATE_CANCELED
    assert [event_state(event) for event in await elements(subscription)] == [TaskState.TASK_STATE_CANCELED]


@covers("Q9")
async def test_a_send_and_a_streaming_send_to_a_task_honour_the_tenant(served: Served) -> None:
    task = await _parked(served, "acme")
    again = (await served.send(scripted({"input": "And?"}, task_id=task.id, tenant="acme"))).task
    assert (again.id, again.status.state) == (task.id, INPUT_REQUIRED)

    events = await elements(served.stream(request(message(task_id=task.id), tenant="acme")))

    assert events[0].task.id == task.id
    assert event_state(events[-1]) == TaskState.TASK_STATE_COMPLETED


@covers("Q9")
async def test_two_tenants_work_side_by_side_under_one_task_name_each(served: Served) -> None:
    sent = await asyncio.gather(*[served.send(request("mine", tenant=tenant)) for tenant in ("a", "b")])
    assert sent[0].task.id != sent[1].task.id
    for response, tenant in zip(sent, ("a", "b"), strict=True):
        assert (await served.get(response.task.id, tenant=tenant)).artifacts[0].parts[0].text == "mine"
