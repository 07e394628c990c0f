"""The differences between a known task and a later snapshot, with which a stream goes on if events have no seq."""

from collections.abc import Iterator

from a2a_grpc.lifecycle import Event, extend
from a2a_grpc.wire import Artifact, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent


def snapshot_diff(known: Task, snapshot: Task) -> list[Event]:
    """Return the events that lead from a known task to a later snapshot of it; none if nothing changed.

    Applied to `known` they give the snapshot's artifacts, status and metadata. An artifact that grew comes as one
    appended chunk, one that changed in any other way comes whole. The status comes last, so that nothing follows a
    terminal one. Statuses between the two are left out; the history of the snapshot has their messages.
    """
    events: list[Event] = list(artifact_diff(known, snapshot))
    has_metadata = any(known.metadata.fields.get(key) != entry for key, entry in snapshot.metadata.fields.items())
    if known.status != snapshot.status or has_metadata:
        update = TaskStatusUpdateEvent(task_id=snapshot.id, context_id=snapshot.context_id, status=snapshot.status)
        if has_metadata:
            update.metadata.CopyFrom(snapshot.metadata)
        events.append(update)
    return events


def artifact_diff(known: Task, snapshot: Task) -> Iterator[TaskArtifactUpdateEvent]:
    """Yield the part of `snapshot_diff` that is about artifacts."""
    before = {artifact.artifact_id: artifact for artifact in known.artifacts}
    for artifact in snapshot.artifacts:
        old = before.get(artifact.artifact_id)
        if old == artifact:
            continue
        chunk = _growth(old, artifact) if old is not None else None
        yield TaskArtifactUpdateEvent(
            task_id=snapshot.id,
            context_id=snapshot.context_id,
            artifact=chunk or artifact,
            append=chunk is not None,
        )


def _growth(old: Artifact, new: Artifact) -> Artifact | None:
    """Return the chunk by which an artifact grew; None if appending a chunk does not lead to the new artifact."""
    length = len(old.parts)
    if len(new.parts) <= length or list(new.parts[:length]) != list(old.parts):
        return None
    chunk = Artifact(artifact_id=new.artifact_id, parts=new.parts[length:])
    for field in ("name", "description"):
        if getattr(new, field) != getattr(old, field):
            setattr(chunk, field, getattr(new, field))
    if new.metadata != old.metadata:
        chunk.metadata.CopyFrom(new.metadata)
    if new.extensions != old.extensions:
        chunk.extensions.extend(new.extensions)
    grown = Artifact()
    grown.CopyFrom(old)
    extend(grown, chunk)
    return chunk if grown == new else None


def tells_its_status(task: Task) -> bool:
    """Return True if the message of the task's status is in its history, as with servers of other makes."""
    said = task.status.message.message_id
    return bool(said) and any(message.message_id == said for message in task.history)
