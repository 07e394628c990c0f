"""The metadata of a question that is passed on for another agent's task, and the id of the call that it is for."""

import hashlib
import uuid
from typing import cast

from a2a_grpc import lifecycle
from a2a_grpc.agent import Turn
from a2a_grpc.client.sending import SendOptions, send_request
from a2a_grpc.parts import Contents, Json, to_dict
from a2a_grpc.protocol import REMOTE
from a2a_grpc.wire import Message, Task


def call_of(turn: Turn, content: Contents | Message, options: SendOptions) -> str:
    """Return an id for a call, the same in every run of the handler if the call has the same content."""
    request = send_request(content, options)
    if not isinstance(content, Message):
        request.message.ClearField("message_id")
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{turn.new_call_id()} {digest}"))


def note_of(call: str, task: Task) -> dict[str, Json]:
    """Return the metadata of the question that another agent's task asks now, for a call of the handler."""
    return {
        REMOTE: {
            "call": call,
            "task": task.id,
            "question": task.status.message.message_id,
            "artifacts": {artifact.artifact_id: len(artifact.parts) for artifact in task.artifacts},
        }
    }


def noted_in(question: Message) -> dict[str, Json]:
    """Return what a question says of the call that asked it; nothing if the handler asked itself."""
    if not question.HasField("metadata") or REMOTE not in question.metadata.fields:
        return {}
    noted = to_dict(question.metadata)[REMOTE]
    return dict(noted) if isinstance(noted, dict) else {}


def call_in(question: Message) -> str:
    return str(noted_in(question).get("call", ""))


def as_of(found: Task, noted: dict[str, Json]) -> Task:
    """Return a task as it was at a question, as far as its artifacts have only grown since then."""
    task, counts = Task(), noted["artifacts"]
    assert isinstance(counts, dict)
    task.CopyFrom(found)
    task.status.Clear()
    task.status.state = lifecycle.WORKING
    del task.artifacts[:], task.history[:]
    for artifact in found.artifacts:
        if count := counts.get(artifact.artifact_id):
            kept = task.artifacts.add()
            kept.CopyFrom(artifact)
            del kept.parts[int(cast(float, count)) :]
    return task
