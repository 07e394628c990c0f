"""The message that brings the result of a task to the agent that asked for it."""

from a2a_grpc.agent.callback import Arrived, CallbackTask, asked_in
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.lifecycle import state_name
from a2a_grpc.wire import ROLE_USER, Message, Part, SendMessageConfiguration, SendMessageRequest, Task

MAX_BYTES = 3 << 20
"""The largest size of the parts of a result. gRPC servers read messages of 4 MiB by default."""
MAX_PARTS = 1000


def request_of(task: Task, seq: int, data: object = None) -> SendMessageRequest:
    """Return the call that brings the result of a task. It is the same in each attempt.

    Args:
        task: The task, which is settled.
        seq: The place of its last event.
        data: The JSON value that the caller has given for the agent.
    """
    parts = [part for artifact in task.artifacts for part in artifact.parts]
    is_cut = len(parts) > MAX_PARTS or sum(part.ByteSize() for part in parts) > MAX_BYTES
    if is_cut:
        parts = [Part(text=f"The result of task {task.id} is too large for a message; read it with GetTask.")]
    parts = parts or list(task.status.message.parts)
    state = state_name(task.status.state)
    message = Message(
        message_id=f"callback-{task.id}-{seq}",
        role=ROLE_USER,
        context_id=task.context_id,
        reference_task_ids=[task.id],
        parts=parts or [Part(text=f"Task {task.id} is {state}.")],
    )
    Arrived(task.id, seq, state, data, is_cut).put(message)  # type: ignore[arg-type]
    return SendMessageRequest(message=message, configuration=SendMessageConfiguration(return_immediately=True))


def asked_for(task: Task, url: str) -> CallbackTask | None:
    """Return what the messages of a task ask for at a url; None if the config was registered in another way."""
    for message in reversed(task.history):
        try:
            asked = asked_in(message)
        except InvalidRequestError:
            continue  # a server that did not know the extension has taken the message
        if asked is not None and asked.endpoint == url:
            return asked
    return None
