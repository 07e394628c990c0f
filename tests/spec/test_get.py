"""GetTask: reading a task (spec §3.1.3)."""

import grpc
import pytest

from a2a_grpc.wire import CancelTaskRequest, GetTaskRequest, ListTasksRequest, Task, TaskState
from tests.covers import covers
from tests.harness import V1, Served, elements, eventually, refusal, request, scripted, scripted_agent, serving, texts
from tests.spec.required import faults

pytestmark = pytest.mark.usefixtures("any_way")

STATES: dict[TaskState, list[dict[str, object]]] = {
    TaskState.TASK_STATE_COMPLETED: [{"artifact": {"id": "a", "text": "one"}}, {"complete": "Done."}],
    TaskState.TASK_STATE_FAILED: [{"artifact": {"id": "a", "text": "one"}}, {"fail": "No."}],
    TaskState.TASK_STATE_REJECTED: [{"artifact": {"id": "a", "text": "one"}}, {"reject": "No."}],
    TaskState.TASK_STATE_INPUT_REQUIRED: [{"artifact": {"id": "a", "text": "one"}}, {"input": "?"}],
    TaskState.TASK_STATE_AUTH_REQUIRED: [{"artifact": {"id": "a", "text": "one"}}, {"auth": "?"}],
}
IDS = [TaskState.Name(state) for state in STATES]


async def get(served: Served, task_id: str, history_length: int | None = None) -> Task:
    task: Task = await served.stub.GetTask(GetTaskRequest(id=task_id, history_length=history_length), metadata=V1)
    return task


@covers("GET-1", "GET-4")
@pytest.mark.parametrize("state", STATES, ids=IDS)
async def test_get_task_gives_status_artifacts_and_history_in_the_state(served: Served, state: TaskState) -> None:
    sent = scripted(*STATES[state])
    answered = (await served.send(sent)).task
    task = await get(served, answered.id)
    assert task.status.state == state
    assert texts(task) == ["one"]
    assert [message.parts for message in task.history] == [sent.message.parts]
    assert task == answered
    assert faults(task) == []


@covers("GET-1", "GET-4")
async def test_get_task_gives_a_task_at_work_as_it_is_now(served: Served) -> None:
    started = await served.start({"artifact": {"id": "a", "text": "one"}}, {"status": "on it"}, {"sleep": 60})

    async def at_work() -> None:
        task = await get(served, started.id)
        assert task.status.message.parts[0].text == "on it"
        assert (task.status.state, texts(task)) == (TaskState.TASK_STATE_WORKING, ["one"])

    await eventually(at_work)


@covers("GET-4")
async def test_get_task_gives_a_canceled_task_with_its_artifacts(served: Served) -> None:
    started = await served.start({"artifact": {"id": "a", "text": "one"}}, {"input": "?"})

    async def asking() -> None:
        assert (await get(served, started.id)).status.state == TaskState.TASK_STATE_INPUT_REQUIRED

    await eventually(asking)
    canceled = await served.stub.CancelTask(CancelTaskRequest(id=started.id), metadata=V1)
    task = await get(served, started.id)
    assert (task.status.state, texts(task)) == (TaskState.TASK_STATE_CANCELED, ["one"])
    assert task == canceled


@covers("GET-1")
async def test_get_task_gives_a_task_that_waits_for_a_place_as_submitted() -> None:
    async with serving(scripted_agent(), max_runs=1) as served:
        await served.start({"sleep": 60})
        waiting = await served.start({"complete": "never"})
        task = await get(served, waiting.id)
    assert task.status.state == TaskState.TASK_STATE_SUBMITTED
    assert (len(task.history), len(task.artifacts)) == (1, 0)
    assert faults(task) == []


@covers("GET-1")
async def test_get_task_gives_what_the_stream_gave(served: Served) -> None:
    read = await elements(
        served.stream(scripted({"chunks": {"id": "c", "count": 3, "text": "{i}"}}, {"complete": "!"}))
    )
    task = await get(served, read[0].task.id)
    assert texts(task) == ["012"]
    assert task.status == read[-1].status_update.status


@covers("GET-1", "OP-4")
async def test_get_task_changes_nothing(served: Served) -> None:
    task_id = (await served.send(scripted({"input": "?"}))).task.id
    assert await get(served, task_id) == await get(served, task_id)
    listed = await served.stub.ListTasks(ListTasksRequest(include_artifacts=True), metadata=V1)
    assert list(listed.tasks) == [await get(served, task_id)]


@covers("GET-2")
async def test_an_unknown_id_is_not_found_and_the_error_names_it(served: Served) -> None:
    refused = await refusal(served.get("nowhere"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
    assert refused.domain == "a2a-protocol.org"
    assert refused.metadata == {"task_id": "nowhere"}
    assert "nowhere" in refused.text


@covers("GET-2", "OPEN-28")
async def test_a_purged_task_is_not_found() -> None:
    async with serving(scripted_agent(), retention_s=0.0, sweep_interval_s=0.01) as served:
        task_id = (await served.send(request(immediately=True))).task.id

        async def gone() -> None:
            refused = await refusal(served.get(task_id))
            assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")

        await eventually(gone)


@covers("GET-2")
@pytest.mark.parametrize("task_id", [" ", "t/../t", "x" * 256, "ünï", "%00", "'; drop table tasks"])
async def test_any_valid_but_unknown_id_is_not_found(served: Served, task_id: str) -> None:
    refused = await refusal(served.get(task_id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
