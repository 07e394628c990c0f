"""The contents of an agent's answer, given to a reader as its events come, and the progress of the work."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import cast

from a2a_grpc.lifecycle import COMPLETED, Event
from a2a_grpc.parts import data_of, text_of
from a2a_grpc.wire import Artifact, Message, Part, Task, TaskArtifactUpdateEvent, TaskStatus, TaskStatusUpdateEvent


class Pieces:
    """Finds the text and the files that each event of a task adds to what the reader has.

    Guarantees:

    - All texts, joined, are `text_of` the completed task: the text of its artifacts, or of the message of its status if
      no artifact has text.
    - A snapshot of a task gives only what the reader does not have, in any division of the rest into pieces.
    - An agent can take back what the reader has: it replaces an artifact by another text, or adds to an artifact after
      a later one has begun. The new contents are given when they come. The joined texts then differ from `text_of`.
    """

    def __init__(self) -> None:
        self._given: dict[str, list[str | bytes]] = {}
        self._has_text = False

    def text(self, event: Event) -> str:
        """Return the text that the event adds, "" for none."""
        return "".join(text_of(parts) for _, parts in self.parts(event))

    def parts(self, event: Event) -> Iterator[tuple[Artifact | None, list[Part]]]:
        """Yield the parts that the event adds, with the artifact that they belong to; None for those of a message."""
        for artifact, parts in self._added(event):
            self._has_text = self._has_text or bool(text_of(parts))
            if parts:
                yield artifact, parts

    def _added(self, event: Event) -> Iterator[tuple[Artifact | None, list[Part]]]:
        match event:
            case Message():
                yield None, list(event.parts)
            case TaskArtifactUpdateEvent() if event.append:
                self._given.setdefault(event.artifact.artifact_id, []).extend(map(_compared, event.artifact.parts))
                yield event.artifact, list(event.artifact.parts)
            case TaskArtifactUpdateEvent():
                yield event.artifact, self._rest(event.artifact)
            case TaskStatusUpdateEvent():
                yield from self._said(event.status)
            case Task():
                for artifact in event.artifacts:
                    yield artifact, self._rest(artifact)
                yield from self._said(event.status)

    def _rest(self, artifact: Artifact) -> list[Part]:
        """Return the parts of a whole artifact that the reader does not have."""
        given = self._given.get(artifact.artifact_id, [])
        self._given[artifact.artifact_id] = [_compared(part) for part in artifact.parts]
        return _beyond(given, artifact.parts)

    def _said(self, status: TaskStatus) -> Iterator[tuple[None, list[Part]]]:
        """Yield what a task that completed without a text in its artifacts says instead."""
        if status.state == COMPLETED and not self._has_text:
            yield None, list(status.message.parts)


def _beyond(given: list[str | bytes], parts: Iterable[Part]) -> list[Part]:
    """Return the parts that come after those given; all parts if they do not begin with what was given."""
    remaining = list(parts)
    for known in _joined(given):
        if isinstance(known, bytes):
            if not remaining or _compared(remaining[0]) != known:
                return list(parts)
            del remaining[0]
            continue
        while known:
            text = _compared(remaining[0]) if remaining else b""
            if isinstance(text, bytes) or not (text.startswith(known) or known.startswith(text)):
                return list(parts)
            if len(text) > len(known):
                remaining[0] = Part(text=text[len(known) :])
            else:
                del remaining[0]
            known = known[len(text) :]
    return remaining


def _joined(given: list[str | bytes]) -> Iterator[str | bytes]:
    """Yield the parts with texts that follow each other made one."""
    texts: list[str] = []
    for one in given:
        if isinstance(one, str):
            texts.append(one)
            continue
        yield "".join(texts)
        texts.clear()
        yield one
    yield "".join(texts)


def _compared(part: Part) -> str | bytes:
    """Return a part's text; of any other part a digest, so that files are not kept."""
    if part.WhichOneof("content") == "text":
        return part.text
    return hashlib.blake2b(part.SerializeToString(deterministic=True), digest_size=16).digest()


def progress_of(event: Event) -> float | None:
    """Return how much of the work is done, from 0 to 1. Return None for an event that does not say it.

    An event says it if it is an artifact with structured data that has a number `progress`.

    Args:
        event: An event of a stream.
    """
    if not isinstance(event, TaskArtifactUpdateEvent):
        return None
    return progress_in(event.artifact)


def progress_in(artifact: Artifact) -> float | None:
    """Return how much is done, from 0 to 1, if an artifact's data has a numeric `progress`."""
    found = data_of(artifact)
    progress = found.get("progress") if isinstance(found, dict) else None
    is_number = isinstance(progress, (int, float)) and not isinstance(progress, bool)
    return float(cast(float, progress)) if is_number and 0 <= cast(float, progress) <= 1 else None
