"""A task that grows with the events of its log and is wanted as bytes in the end."""

from collections.abc import Sequence

from a2a_grpc.lifecycle import Fold, is_seal
from a2a_grpc.piecewise import Raw, fields, joined
from a2a_grpc.store.values import Record
from a2a_grpc.wire import Artifact, Message, StreamResponse, Task, TaskArtifactUpdateEvent, framing

ARTIFACTS = Task.DESCRIPTOR.fields_by_name["artifacts"].number
HISTORY = Task.DESCRIPTOR.fields_by_name["history"].number
ARTIFACT_ID = Artifact.DESCRIPTOR.fields_by_name["artifact_id"].number
EXTENSIONS = Artifact.DESCRIPTOR.fields_by_name["extensions"].number

UPDATE = StreamResponse.DESCRIPTOR.fields_by_name["artifact_update"].number
ARTIFACT = TaskArtifactUpdateEvent.DESCRIPTOR.fields_by_name["artifact"].number

SPLICED_BYTES = 64 * 1024
"""Size of an event from which on its content is not copied into a message."""
LOOSE_BYTES = 1 << 20
"""Size up to which what a task has grown by is kept as messages."""


class Growing(Fold):
    """Folds events into a task; what makes the task large is kept serialised.

    Messages of protobuf that follow each other merge: an artifact that is extended is the bytes that it had, then those
    of its new parts. So a large task is never parsed, serialised or copied as a whole.

    Guarantee: `take` returns bytes of the task that `Fold` makes of the same events.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.size = 0
        """Bytes of the events that were folded, and of the task that it began with."""
        self._loose = 0
        """Those of them that `task` holds."""
        self._history: list[Raw] = []
        self._kept: dict[str, list[Raw]] = {}
        """The content of each artifact, as far as it was serialised, by the artifacts' ids in their order."""

    @classmethod
    def of(cls, pieces: Sequence[bytes]) -> "Growing":
        """Begin with a serialised task, given in pieces."""
        task = Task()
        growing = cls(task)
        growing.size = sum(map(len, pieces))
        for piece in pieces:
            if len(piece) <= LOOSE_BYTES:
                task.MergeFromString(piece)
                growing._loose += len(piece)
            else:
                growing._put_away()
                growing._keep_piece(piece)
        if growing._kept or growing._history:
            growing._put_away()
        growing._artifacts = {artifact.artifact_id: artifact for artifact in task.artifacts}
        return growing

    def _keep_piece(self, piece: bytes) -> None:
        whole = memoryview(piece)
        for field in fields(piece):
            content = whole[field.content : field.end]
            if field.number == ARTIFACTS:
                self._kept[id_of(content)] = [content]
            elif field.number == HISTORY:
                self._history.append(whole[field.start : field.end])
            else:
                self.task.MergeFromString(whole[field.start : field.end])  # type: ignore[arg-type]

    def begin(self, task: Task) -> None:
        self._history.clear()
        self._kept.clear()
        super().begin(task)

    def put(self, update: TaskArtifactUpdateEvent) -> None:
        if (kept := self._kept.get(update.artifact.artifact_id)) is not None:
            if is_seal(update):
                return
            if not update.append:
                kept.clear()
        super().put(update)

    def grown(self, size: int) -> None:
        """Note that events of so many bytes were folded."""
        self.size += size
        self._loose += size
        if self._loose > LOOSE_BYTES:
            self._put_away()

    def splice(self, update: TaskArtifactUpdateEvent, event: bytes) -> None:
        """Fold an update of an artifact. The content of a large one is cut out of its serialised event."""
        artifact = update.artifact
        if len(event) <= SPLICED_BYTES or artifact.extensions or is_seal(update):
            self.put(update)
            self.grown(len(event))
            return
        self._put_away()
        kept = self._kept.setdefault(artifact.artifact_id, [])
        if not update.append:
            kept.clear()
        kept.append(_artifact_in(event))
        self.size += len(event)

    def add(self, records: Sequence[Record]) -> None:
        """Fold records."""
        for record in records:
            self.add_one(record)

    def add_one(self, record: Record, element: StreamResponse | None = None) -> None:
        """Fold a record. `element` is its parsed event, if the caller has it."""
        _, event, _, _, _, incoming = record
        if element is None:
            element = StreamResponse.FromString(event)
        if element.HasField("artifact_update"):
            self.splice(element.artifact_update, event)
            return
        message = Message.FromString(incoming) if incoming else None
        if element.HasField("status_update"):
            self.move(element.status_update, message)
        else:
            self.apply(element, message)
        self.grown(len(event) + len(incoming))

    def take(self) -> bytes:
        """Return the serialised task."""
        if not (self._kept or self._history):
            return self.task.SerializeToString()
        self._put_away()
        pieces: list[Raw] = [self.task.SerializeToString(), *self._history]
        for content in self._kept.values():
            pieces += (framing(ARTIFACTS, sum(map(len, content))), *content)
        return joined(pieces)

    def _put_away(self) -> None:
        """Serialise the history and the artifacts of `task`, and take them out of it."""
        task = self.task
        for message in task.history:
            serialized = message.SerializeToString()
            self._history += (framing(HISTORY, len(serialized)), serialized)
        del task.history[:]
        for artifact in task.artifacts:
            kept = self._kept.setdefault(artifact.artifact_id, [])
            if kept:
                artifact.ClearField("artifact_id")
                _forget_known(artifact, kept)
            kept.append(artifact.SerializeToString())
        del task.artifacts[:]
        self._artifacts.clear()
        self._loose = 0


def folded(start: Sequence[bytes], records: Sequence[Record]) -> bytes:
    """Return the serialised task of a snapshot, given in pieces, and the records after it."""
    growing = Growing.of(start)
    growing.add(records)
    return growing.take()


def id_of(artifact: Raw) -> str:
    """Return the id of a serialised artifact."""
    for field in fields(artifact):
        if field.number == ARTIFACT_ID:
            return bytes(artifact[field.content : field.end]).decode()
    return ""


def _artifact_in(event: bytes) -> Raw:
    """Return the content of the artifact in a serialised event."""
    content: Raw = memoryview(event)
    for number in (UPDATE, ARTIFACT):
        (found,) = [field for field in fields(content) if field.number == number]
        content = content[found.content : found.end]
    return content


def _forget_known(artifact: Artifact, kept: Sequence[Raw]) -> None:
    """Take the extensions out of a chunk that the artifact has already, because each is listed once."""
    if not artifact.extensions:
        return
    known = {
        bytes(content[field.content : field.end]).decode()
        for content in kept
        for field in fields(content)
        if field.number == EXTENSIONS
    }
    new = [extension for extension in artifact.extensions if extension not in known]
    del artifact.extensions[:]
    artifact.extensions.extend(new)
