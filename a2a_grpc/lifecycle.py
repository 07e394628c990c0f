"""The life of a task as pure functions: which state may follow which, what a log of events adds up to.

    (new) ──▶ any state
    SUBMITTED ──▶ WORKING, INPUT_REQUIRED, AUTH_REQUIRED, terminal
    WORKING ──▶ WORKING, INPUT_REQUIRED, AUTH_REQUIRED, terminal
    INPUT_REQUIRED, AUTH_REQUIRED ──▶ WORKING, INPUT_REQUIRED, AUTH_REQUIRED, terminal
    terminal ──▶ nothing

Nothing leads back to SUBMITTED. The specification gives no table; this one is derived from its sentences (ST-2).
"""

from collections.abc import Iterable
from typing import TypeAlias

from a2a_grpc.wire import (
    Artifact,
    Message,
    Part,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)

Event: TypeAlias = Task | Message | TaskStatusUpdateEvent | TaskArtifactUpdateEvent
"""An event of a stream: the task, a message of an agent that answers without a task, or a change of the task."""

SUBMITTED = TaskState.TASK_STATE_SUBMITTED
WORKING = TaskState.TASK_STATE_WORKING
COMPLETED = TaskState.TASK_STATE_COMPLETED
FAILED = TaskState.TASK_STATE_FAILED
CANCELED = TaskState.TASK_STATE_CANCELED
INPUT_REQUIRED = TaskState.TASK_STATE_INPUT_REQUIRED
REJECTED = TaskState.TASK_STATE_REJECTED
AUTH_REQUIRED = TaskState.TASK_STATE_AUTH_REQUIRED

TERMINAL = frozenset({COMPLETED, FAILED, CANCELED, REJECTED})
INTERRUPTED = frozenset({INPUT_REQUIRED, AUTH_REQUIRED})
SETTLED = TERMINAL | INTERRUPTED
"""The states that end the wait of a blocking send (SEND-2)."""

_ONWARD = frozenset({WORKING}) | SETTLED
NEXT: dict[TaskState, frozenset[TaskState]] = {
    SUBMITTED: _ONWARD,
    WORKING: _ONWARD,
    INPUT_REQUIRED: _ONWARD,
    AUTH_REQUIRED: _ONWARD,
    **{state: frozenset[TaskState]() for state in TERMINAL},
}


class IllegalTransition(ValueError):
    """A status may not follow the present status of the task."""


def state_name(state: int) -> str:
    """Return the name of a state, for example "WORKING" for `TASK_STATE_WORKING`.

    Args:
        state: The number of the state. For a number that the protocol does not have, the name is like "UNKNOWN(42)".
    """
    value = TaskState.DESCRIPTOR.values_by_number.get(state)
    return value.name.removeprefix("TASK_STATE_") if value else f"UNKNOWN({state})"


def check(before: TaskState, after: TaskState) -> None:
    """Raise IllegalTransition unless a status `after` may follow a status `before`."""
    if after not in NEXT.get(before, frozenset()):
        raise IllegalTransition(f"{state_name(after)} cannot follow {state_name(before)}")


class Fold:
    """A task to which the events of its log are added. The cost of an event does not depend on the size of the task.

    Args:
        task: The task, which is changed in place.
        is_told: True if the history has the message of the task's status already.
    """

    def __init__(self, task: Task, *, is_told: bool = False) -> None:
        self.task = task
        """Changed in place."""
        self._is_told = is_told
        self._artifacts = {artifact.artifact_id: artifact for artifact in task.artifacts} if task.artifacts else {}

    def apply(self, event: StreamResponse | Event, message: Message | None = None) -> None:
        """Apply the next event, with the user's message that came with it. A bare message changes nothing."""
        match payload_of(event) if isinstance(event, StreamResponse) else event:
            case TaskArtifactUpdateEvent() as update:
                self.put(update)
            case TaskStatusUpdateEvent() as update:
                self.move(update, message)
            case Task() as whole:
                self.begin(whole)

    def begin(self, task: Task) -> None:
        """Begin again with a task."""
        self.task.CopyFrom(task)
        self._artifacts = {artifact.artifact_id: artifact for artifact in self.task.artifacts}

    def put(self, update: TaskArtifactUpdateEvent) -> None:
        """Add, replace or extend an artifact."""
        artifact = update.artifact
        known = self._artifacts.get(artifact.artifact_id)
        if known is not None and is_seal(update):
            return
        if known is None:
            known = self._artifacts[artifact.artifact_id] = self.task.artifacts.add()
        if update.append:
            extend(known, artifact)
        else:
            known.CopyFrom(artifact)

    def move(self, update: TaskStatusUpdateEvent, message: Message | None = None) -> None:
        """Apply a new status, with the user's message that came with it.

        First the message of the old status is added to the history, then the user's message. So a question is before
        its answer.
        """
        task = self.task
        status = task.status
        if status.HasField("message") and not self._is_told:
            task.history.append(status.message)
        self._is_told = False
        if message is not None:
            task.history.append(message)
        status.CopyFrom(update.status)
        if update.HasField("metadata"):
            task.metadata.MergeFrom(update.metadata)


def fold(task: Task, steps: Iterable[tuple[StreamResponse, Message | None]]) -> Task:
    """Apply events in order to `task` in place. Each comes with the user's message that came with it. Return `task`."""
    folding = Fold(task)
    for event, message in steps:
        folding.apply(event, message)
    return task


def payload_of(element: StreamResponse) -> Event | None:
    """Return the payload of an element of a stream, or None if this contract knows no such payload."""
    match element.WhichOneof("payload"):
        case "artifact_update":
            return element.artifact_update
        case "status_update":
            return element.status_update
        case "task":
            return element.task
        case "message":
            return element.message
    return None


def element_of(event: Event) -> StreamResponse:
    """Return the element of a stream for an event. This is the inverse of `payload_of`."""
    match event:
        case Task():
            return StreamResponse(task=event)
        case Message():
            return StreamResponse(message=event)
        case TaskStatusUpdateEvent():
            return StreamResponse(status_update=event)
    return StreamResponse(artifact_update=event)


def is_seal(update: TaskArtifactUpdateEvent) -> bool:
    """Return True for an appended last chunk that has only one empty text. It ends an artifact and adds no part.

    The contract has no chunk without parts. A generator's piece is sent before it is known that it was the last one.
    """
    if not (update.append and update.last_chunk and len(update.artifact.parts) == 1):
        return False
    return update.artifact == Artifact(artifact_id=update.artifact.artifact_id, parts=[Part(text="")])


def extend(artifact: Artifact, chunk: Artifact) -> None:
    """Add a chunk to an artifact (ART-2).

    Parts are appended, metadata merged, extensions united. A name or a description in the chunk replaces the former
    one.
    """
    extensions = list(artifact.extensions)
    artifact.MergeFrom(chunk)
    if chunk.extensions:
        del artifact.extensions[:]
        artifact.extensions.extend(dict.fromkeys([*extensions, *chunk.extensions]))
