"""Whatever callers do, in whatever order: each sees exactly the tasks that it made."""

from collections import defaultdict
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc.wire import CancelTaskRequest, GetTaskRequest, ListTasksRequest, SubscribeToTaskRequest, TaskState
from tests.auth.callers import ISSUERS, Site, as_caller, site
from tests.covers import covers
from tests.harness import elements, message, request, scripted, scripted_agent

CALLERS = st.tuples(
    st.sampled_from(sorted(ISSUERS)),
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["", "acme"]),
    st.sampled_from(["", "team"]),
)
"""The kind of a caller, its subject, its tenant, its group."""
STEPS = st.lists(
    st.tuples(CALLERS, st.sampled_from(["send", "get", "cancel", "subscribe", "follow up", "list"]), st.integers(0, 9)),
    max_size=20,
)


def owner(caller: tuple[str, str, str, str]) -> tuple[str, ...]:
    """What two callers have in common if they share their tasks."""
    kind, subject, tenant, group = caller
    return (*ISSUERS[kind], tenant, "group", group) if group else (*ISSUERS[kind], tenant, "subject", subject)


def metadata_of(caller: tuple[str, str, str, str]) -> Any:
    kind, subject, _, group = caller
    return as_caller(kind, subject, **({"group": group} if group else {}))


async def try_step(running: Site, caller: tuple[str, str, str, str], step: str, task_id: str) -> grpc.StatusCode:
    """Do something to a task as a caller. Return the status of the call."""
    stub, metadata, tenant = running.stub, metadata_of(caller), caller[2]
    call: Any
    match step:
        case "get":
            call = stub.GetTask(GetTaskRequest(id=task_id, tenant=tenant), metadata=metadata)
        case "cancel":
            call = stub.CancelTask(CancelTaskRequest(id=task_id, tenant=tenant), metadata=metadata)
        case "subscribe":
            call = stub.SubscribeToTask(
                SubscribeToTaskRequest(id=task_id, tenant=tenant), metadata=(*metadata, ("a2a-grpc-after", "0"))
            )
            try:
                await elements(call, 1)
            except grpc.aio.AioRpcError as error:
                return error.code()
            call.cancel()
            return grpc.StatusCode.OK
        case _:
            call = stub.SendMessage(
                request(message(task_id=task_id), tenant=tenant, immediately=True), metadata=metadata
            )
    code: grpc.StatusCode = await call.code()
    return code


@covers("SEC-4", "LIST-1")
@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_each_caller_sees_the_tasks_that_it_made_and_no_others(running: Site, steps: Any) -> None:
    made: dict[tuple[str, ...], set[str]] = defaultdict(set)
    everything: list[tuple[str, tuple[str, ...]]] = []
    before = {}
    for caller, step, place in steps:
        if owner(caller) not in before:
            before[owner(caller)] = await listed(running, caller)
        if step == "send" or not everything:
            asked = scripted({"artifact": {"text": "x"}}, tenant=caller[2])
            task = (await running.stub.SendMessage(asked, metadata=metadata_of(caller))).task
            made[owner(caller)].add(task.id)
            everything.append((task.id, owner(caller)))
            assert task.status.state == TaskState.TASK_STATE_COMPLETED
        elif step == "list":
            assert await listed(running, caller) - before[owner(caller)] == made[owner(caller)]
        else:
            task_id, whose = everything[place % len(everything)]
            code = await try_step(running, caller, step, task_id)
            if whose != owner(caller):
                assert code is grpc.StatusCode.NOT_FOUND
            elif step in ("get", "subscribe"):
                assert code is grpc.StatusCode.OK
            else:
                assert code is grpc.StatusCode.FAILED_PRECONDITION  # the task has ended


async def listed(running: Site, caller: tuple[str, str, str, str]) -> set[str]:
    """The ids of all tasks that a caller can list."""
    found: set[str] = set()
    asked = ListTasksRequest(page_size=100, tenant=caller[2])
    while True:
        page = await running.stub.ListTasks(asked, metadata=metadata_of(caller))
        found |= {task.id for task in page.tasks}
        if not page.next_page_token:
            return found
        asked.page_token = page.next_page_token


@pytest.fixture
async def running() -> Any:
    async with site(scripted_agent()) as served:
        yield served
