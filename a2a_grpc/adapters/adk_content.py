"""What an ADK agent reads and says, as parts and back, and how the events of its session are kept with a task."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping

from google.adk.events.event import Event
from google.genai import types

from a2a_grpc.adapters.past import Said
from a2a_grpc.parts import to_python
from a2a_grpc.wire import Artifact, Message, Part, Task

KEPT = "a2a-part:"
"""The beginning of the address that stands for a file which the task has, in events that are kept."""
UNKNOWN = "application/octet-stream"


def content_of(message: Message) -> types.Content:
    """Return a message of the user for the agent. Data are JSON in a text."""
    return types.Content(role="user", parts=[said(part) for part in message.parts])


def said(part: Part) -> types.Part:
    """Return a part for the agent."""
    name, media_type = part.filename or None, part.media_type or UNKNOWN
    match part.WhichOneof("content"):
        case "data":
            return types.Part(text=json.dumps(to_python(part.data), ensure_ascii=False))
        case "raw":
            return types.Part(inline_data=types.Blob(data=part.raw, mime_type=media_type, display_name=name))
        case "url":
            return types.Part(file_data=types.FileData(file_uri=part.url, mime_type=media_type, display_name=name))
        case _:
            return types.Part(text=part.text)


def file_of(part: types.Part, name: str = "") -> Part | None:
    """Return the file that a part of an agent holds, or None if it holds none.

    Args:
        part: The part.
        name: The name of the file; by default the one that the part gives.
    """
    if (blob := part.inline_data) is not None and blob.data is not None:
        named = name or blob.display_name or ""
        return Part(raw=blob.data, media_type=blob.mime_type or UNKNOWN, filename=named)
    if (file := part.file_data) is not None and file.file_uri:
        named = name or file.display_name or ""
        return Part(url=file.file_uri, media_type=file.mime_type or UNKNOWN, filename=named)
    return None


def code_of(part: types.Part) -> str:
    """Return code that the model ran, or its result, as text; empty if the part is neither."""
    if part.executable_code is not None:
        return f"\n```\n{(part.executable_code.code or '').rstrip()}\n```\n"
    if part.code_execution_result is not None:
        return f"\n```\n{(part.code_execution_result.output or '').rstrip()}\n```\n"
    return ""


def events_of(past: Iterable[Said], author: str) -> list[Event]:
    """Return what was said in earlier tasks as events of a session.

    Args:
        past: What was said.
        author: The name of the agent that gave the results.
    """
    return [
        Event(
            author="user" if is_user else author,
            invocation_id=f"earlier-{place}",
            content=types.Content(role="user" if is_user else "model", parts=[types.Part(text=text)]),
        )
        for place, (is_user, text) in enumerate(past)
    ]


def lean(event: Event, task: Task) -> Event:
    """Return an event without the files that the task has in its messages and artifacts: with their digests."""
    known = _files(task)

    def without(part: types.Part) -> types.Part:
        if (blob := part.inline_data) is None:
            return part
        digest = hashlib.sha256(blob.data or b"").hexdigest()
        if digest not in known:
            return part
        file = types.FileData(file_uri=KEPT + digest, mime_type=blob.mime_type, display_name=blob.display_name)
        return types.Part(file_data=file)

    return _with(event, without)


def whole(event: Event, task: Task) -> Event:
    """Return an event that `lean` has returned, with the files of the task."""
    known = _files(task)

    def filled(part: types.Part) -> types.Part:
        if (file := part.file_data) is None or not (file.file_uri or "").startswith(KEPT):
            return part
        raw = known.get((file.file_uri or "").removeprefix(KEPT), b"")
        return types.Part(inline_data=types.Blob(data=raw, mime_type=file.mime_type, display_name=file.display_name))

    return _with(event, filled)


def _with(event: Event, change: Callable[[types.Part], types.Part]) -> Event:
    """Return an event with its parts changed."""
    content: types.Content | None = event.content
    if content is None or not content.parts:
        return event
    parts = [change(part) for part in content.parts]
    return event.model_copy(update={"content": types.Content(role=content.role, parts=parts)})


def _files(task: Task) -> Mapping[str, bytes]:
    """Return the files with bytes that a task has, by their digests."""
    holders: list[Message | Artifact] = [*task.history, *task.artifacts]
    raws = [part.raw for holder in holders for part in holder.parts if part.WhichOneof("content") == "raw"]
    return {hashlib.sha256(raw).hexdigest(): raw for raw in raws}
