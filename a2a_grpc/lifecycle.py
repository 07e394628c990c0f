"""The life of a task as pure functions: which state may follow which, what a log of events adds up to.

    (new) ──▶ any state
    SUBMITTED ──▶ WORKING, INPUT_REQUIRED, AUTH_REQUIRED, terminal
    WORKING ──▶ WORKING, INPUT_REQUIRED, AUTH_REQUIRED, terminal
    INPUT_REQUIRED, AUTH_REQUIRED ──▶ WORKING, INPUT_REQUIRED, AUTH_REQUIRED, terminal
    terminal ──▶ nothing

Nothing leads back to SUBMITTED. The specification gives no table; this one is derived from its sentences (ST-2).
"""

from collections.abc import Iterable

from a2a_grpc.wire import Artifact, Message, StreamResponse, Task, TaskState

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
"""States that end the wait of a blocking send (SEND-2)."""

_ONWARD = frozenset({WORKING}) | SETTLED
NEXT: dict[TaskState, frozenset[TaskState]] = {
    SUBMITTED: _ONWARD,
    WORKING: _ONWARD,
    INPUT_REQUIRED: _ONWARD,
    AUTH_REQUIRED: _ONWARD,
    **{state: frozenset[TaskState]() for state in TERMINAL},
}


class IllegalTransition(ValueError):
    """A status that may not follow the task's present one."""


def state_name(state: int) -> str:
    """`WORKING` for TASK_STATE_WORKING; `UNKNOWN(42)` for a number that the contract does not know."""
    value = TaskState.DESCRIPTOR.values_by_number.get(state)
    return value.name.removeprefix("TASK_STATE_") if value else f"UNKNOWN({state})"


def check(before: TaskState, after: TaskState) -> None:
    """Raises IllegalTransition unless a status `after` may follow a status `before`."""
    if after not in NEXT.get(before, frozenset()):
        raise IllegalTransition(f"{state_name(after)} cannot follow {state_name(before)}")


def fold(task: Task, steps: Iterable[tuple[StreamResponse, Message | None]]) -> Task:
    """Applies events, each with the user's message that came with it, to `task` in place, in order; returns it.

    A status message that is superseded moves into the history, then comes the user's message, then the new status
    applies: so a question stands before its answer. Cost: proportional to the events, plus one look at the artifacts
    that the task has already.
    """
    artifacts = {artifact.artifact_id: artifact for artifact in task.artifacts}
    for event, message in steps:
        match event.WhichOneof("payload"):
            case "task":
                task.CopyFrom(event.task)
                artifacts = {artifact.artifact_id: artifact for artifact in task.artifacts}
            case "status_update":
                if task.status.HasField("message"):
                    task.history.add().CopyFrom(task.status.message)
                if message is not None:
                    task.history.add().CopyFrom(message)
                task.status.CopyFrom(event.status_update.status)
                if event.status_update.HasField("metadata"):
                    task.metadata.MergeFrom(event.status_update.metadata)
            case "artifact_update":
                update = event.artifact_update
                known = artifacts.get(update.artifact.artifact_id)
                if known is None:
                    known = artifacts[update.artifact.artifact_id] = task.artifacts.add()
                if update.append:
                    _extend(known, update.artifact)
                else:
                    known.CopyFrom(update.artifact)
    return task


def _extend(artifact: Artifact, chunk: Artifact) -> None:
    """ART-2: parts are concatenated, metadata upserted, extensions united, a name or description given again wins."""
    extensions = list(artifact.extensions)
    artifact.MergeFrom(chunk)
    if chunk.extensions:
        del artifact.extensions[:]
        artifact.extensions.extend(dict.fromkeys([*extensions, *chunk.extensions]))
