"""What an ADK agent reads and says, as parts and back."""

import json
from collections.abc import Iterable

from google.adk.events.event import Event
from google.genai import types

from a2a_grpc.adapters.past import Said
from a2a_grpc.parts import to_python
from a2a_grpc.wire import Message, Part

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
