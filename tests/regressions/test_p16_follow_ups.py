"""P16: a follow-up belongs to its task, and no message is lost."""

from a2a_grpc import TaskState
from tests.covers import covers
from tests.harness import Served, elements, message, request, scripted

pytestmark = covers("P16")


async def test_the_events_of_a_follow_up_carry_the_context_id_of_the_task(served: Served) -> None:
    task = (await served.send(scripted({"input": "Which?"}))).task
    events = await elements(served.stream(request(message("this", task_id=task.id, message_id="m-2"))))
    assert events[0].task.context_id == task.context_id
    updates = [event.status_update or event.artifact_update for event in events[1:]]
    assert updates
    for event in events[1:]:
        update = event.artifact_update if event.HasField("artifact_update") else event.status_update
        assert (update.task_id, update.context_id) == (task.id, task.context_id)


async def test_a_message_with_a_repeated_id_is_kept_in_the_history(served: Served) -> None:
    task = (await served.send(scripted({"input": "Which?"}))).task

    again = (await served.send(request(message("this", task_id=task.id, message_id="m-1")))).task

    assert again.status.state == TaskState.TASK_STATE_COMPLETED
    users = [sent for sent in again.history if sent.message_id == "m-1"]
    assert len(users) == 2
    assert users[1].parts[0].text == "this"
