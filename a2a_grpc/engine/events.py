"""Make the events of a task, and check its limits: pure functions, and the clock that they need."""

import time
from datetime import datetime, timedelta

from a2a_grpc.agent import Failed
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.store import TaskKey
from a2a_grpc.wire import Artifact, Message, Part, StreamResponse, TaskState, TaskStatus

EPOCH = datetime(1970, 1, 1)

MAX_REFILLS = 64
"""Texts that an event is used for, because a message of protobuf keeps the memory of all that it has held."""


def now_us() -> int:
    """Return the time in microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def written(at_us: int) -> str:
    """Return a time in ISO 8601, UTC."""
    return f"{(EPOCH + timedelta(microseconds=at_us)).isoformat(timespec='microseconds')}Z"


def set_status(status: TaskStatus, state: TaskState, at_us: int) -> None:
    status.state, timestamp = state, status.timestamp
    timestamp.seconds, timestamp.nanos = at_us // 1_000_000, at_us % 1_000_000 * 1000


def status_event(
    key: TaskKey, context_id: str, state: TaskState, at_us: int, message: Message | None = None
) -> StreamResponse:
    """Return the event of a new status."""
    element = StreamResponse()
    update = element.status_update  # filled in place: messages that are made first are copied into each other
    update.task_id, update.context_id = key.id, context_id
    set_status(update.status, state, at_us)
    if message is not None:
        update.status.message.CopyFrom(message)
    return element


def artifact_event(
    key: TaskKey, context_id: str, artifact: Artifact, *, append: bool, last_chunk: bool
) -> StreamResponse:
    """Return the event of an artifact."""
    element = StreamResponse()
    update = element.artifact_update
    update.task_id, update.context_id = key.id, context_id
    update.append, update.last_chunk = append, last_chunk
    update.artifact.CopyFrom(artifact)
    return element


def text_event(
    key: TaskKey, context_id: str, artifact_id: str, text: str, *, name: str, append: bool, last_chunk: bool
) -> StreamResponse:
    """Return the event of an artifact of one text, or of a text that is appended to one."""
    element = StreamResponse()
    update = element.artifact_update
    update.task_id, update.context_id = key.id, context_id
    update.append, update.last_chunk = append, last_chunk
    artifact = update.artifact
    artifact.artifact_id, artifact.name = artifact_id, name
    artifact.parts.add().text = text
    return element


class Chunks:
    """Makes the events of texts that are appended to one artifact.

    One event is used for many texts, as only the text differs. So an event must be serialized before the next one is
    made.
    """

    __slots__ = ("_context_id", "_element", "_key", "_left", "_text", "artifact_id")

    def __init__(self, key: TaskKey, context_id: str, artifact_id: str) -> None:
        self._key = key
        self._context_id = context_id
        self.artifact_id = artifact_id
        self._element: StreamResponse
        self._text: Part
        self._left = 0

    def of(self, text: str) -> StreamResponse:
        """Return the event of a text."""
        if self._left:
            self._left -= 1
            self._text.text = text
            return self._element
        self._left = MAX_REFILLS
        self._element = text_event(
            self._key, self._context_id, self.artifact_id, text, name="", append=True, last_chunk=False
        )
        self._text = self._element.artifact_update.artifact.parts[0]
        return self._element


class OverLimit(Failed):
    """The end of a task that has reached a limit, or whose next event would be over it."""


def check_limits(settings: EngineSettings, seq: int, size: int, event: int, message: int = 0) -> None:
    """Raise OverLimit if an event and a message of so many bytes are too much for a task of `seq` records with `size`
    bytes."""
    if event > settings.max_event_bytes:
        raise OverLimit(
            f"an event of {event} bytes is over the limit of {settings.max_event_bytes} bytes (--max-event-bytes); "
            "give the content in chunks, or as a part with a url"
        )
    if size + event + message > settings.max_task_bytes:
        raise OverLimit(
            f"the task's events have reached the limit of {settings.max_task_bytes} bytes (--max-task-bytes); "
            "give large content as parts with a url"
        )
    if seq >= settings.max_task_records:
        raise OverLimit(f"the task has reached the limit of {settings.max_task_records} events (--max-task-records)")
