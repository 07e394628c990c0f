"""Python values as parts, artifacts and messages."""

import mimetypes
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

from a2a_grpc.ids import new_id
from a2a_grpc.parts.json_values import Json, encodable, struct, value
from a2a_grpc.plain import Object, plain
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER, Artifact, Message, Part

Content: TypeAlias = str | bytes | bytearray | memoryview | Part | Json | Object
"""A value that becomes one part. It is a text, the bytes of a file, a `Part`, or any other value as structured data."""

Contents: TypeAlias = Content | Sequence[Content]
"""A value that becomes one part. A list that holds a `Part` becomes several parts, one for each item."""

Holder = TypeVar("Holder", Message, Artifact)


def part(content: Content, holder: str = "") -> Part:
    """Return the part for a value.

    A `str` becomes a text, `bytes` become a file, and a `Part` stays as it is. Any other value becomes structured data:
    JSON values, dataclasses, pydantic models and members of an Enum. Dates, times, UUIDs and Decimals become texts.

    Args:
        content: The value.
        holder: The beginning of the path in errors, for example `parts[2].`.

    Raises:
        TypeError: The value holds an object that JSON does not have, such as a set. The message names its path.
        ValueError: The value holds NaN, a cycle, more than 32 levels, an integer beyond 2^53, which the wire cannot
            carry, or a text that cannot be encoded. The message names its path.
    """
    match content:
        case Part():
            return content
        case str():
            return Part(text=encodable(content, (f"{holder}text",)))
        case bytes() | bytearray() | memoryview():
            return Part(raw=bytes(content), media_type="application/octet-stream")
        case None | int() | float() | list() | tuple() | Mapping():
            return Part(data=value(content, path=(f"{holder}data",)))
    return part(plain(content, (f"{holder}data",)), holder)


def parts(content: Contents) -> list[Part]:
    """Return the parts for a value: one for each item of a list that holds a `Part`, or one for any other value.

    Args:
        content: The value.

    Raises:
        TypeError: An object cannot become JSON, as in `part`.
        ValueError: A value cannot be sent, as in `part`.
    """
    if isinstance(content, (list, tuple)) and any(isinstance(item, Part) for item in content):
        return [part(item, f"parts[{place}].") for place, item in enumerate(content)]
    return [part(cast("Content", content))]


def put(content: Contents, holder: Holder) -> Holder:
    """Add parts for a value to a message or an artifact. Return the message or artifact."""
    if isinstance(content, str):  # the usual case: the part is made in its place, and not copied
        holder.parts.add().text = encodable(content, ("text",))
    else:
        holder.parts.extend(parts(content))
    return holder


def agent_message(content: Contents | Message, *, context_id: str, task_id: str = "") -> Message:
    """Return a message of the agent (spec §4.1.4). It has a new id, unless the content is a message that has one."""
    if isinstance(content, Message):
        message = Message()
        message.CopyFrom(content)
        message.message_id = message.message_id or new_id()
        message.context_id, message.task_id, message.role = context_id, task_id, ROLE_AGENT
        return message
    return put(content, Message(message_id=new_id(), context_id=context_id, task_id=task_id, role=ROLE_AGENT))


def user_message(
    content: Contents,
    *,
    task_id: str = "",
    context_id: str = "",
    reference_task_ids: Iterable[str] = (),
    metadata: dict[str, Json] | None = None,
) -> Message:
    """Return a message of the user with a new id (spec §4.1.4). `Client.send` makes such a message itself.

    Args:
        content: A text, bytes (a file), a JSON value, a dataclass, a `Part`, or a list with a `Part` in it.
        task_id: The task that the message goes on with; empty for a new task.
        context_id: The conversation that the message belongs to; empty for a new one.
        reference_task_ids: Ids of earlier tasks that the message is about (spec §3.4.3).
        metadata: JSON values, by key. The key `skill` chooses a skill of the agent.

    Raises:
        TypeError: An object cannot become JSON, as in `part`.
        ValueError: A value cannot be sent, as in `part`.
    """
    message = Message(
        message_id=new_id(),
        task_id=task_id,
        context_id=context_id,
        role=ROLE_USER,
        parts=parts(content),
        reference_task_ids=reference_task_ids,
    )
    if metadata:
        message.metadata.CopyFrom(struct(metadata))
    return message


def file_part(path: str | pathlib.Path, *, media_type: str = "") -> Part:
    """Return a part with the bytes and the name of a file.

    Bytes of the name that are not UTF-8 become U+FFFD.

    Args:
        path: The path of the file.
        media_type: The media type; by default guessed from the name, or `application/octet-stream`.

    Raises:
        OSError: The file cannot be read.
    """
    path = pathlib.Path(path)
    return named_part(path.name, path.read_bytes(), media_type=media_type)


def named_part(name: str, content: bytes, *, media_type: str = "") -> Part:
    """Return a part with the content and the name of a file. The media type is by default guessed from the name."""
    guessed = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Part(raw=content, filename=os.fsencode(name).decode(errors="replace"), media_type=guessed)
