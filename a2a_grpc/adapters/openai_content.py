"""What an agent of the OpenAI Agents SDK reads and makes, as parts and back, and what is kept of a task."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import to_json, to_jsonable_python

from a2a_grpc.adapters.calls import Call
from a2a_grpc.adapters.kept import keep, kept
from a2a_grpc.adapters.past import Said
from a2a_grpc.agent import Turn
from a2a_grpc.parts import Contents, Json, to_python
from a2a_grpc.wire import Message, Part

NAME = "openai-agents"
"""The name under which the run is kept with a task."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a task between its turns and attempts.

    Attributes:
        turn_id: The turn that the run is about.
        artifact_id: The artifact of the answer; empty if it has not begun.
        agent: The name of the agent that was at work; empty for the first one.
        items: What its model was called with last; empty if the run waits for the user.
        state: The run that waits for the user, as the SDK writes it, or None.
        calls: The calls that wait for the user.
    """

    turn_id: str
    artifact_id: str
    agent: str
    items: list[Any]
    state: dict[str, Any] | None
    calls: list[Call]


async def keep_run(turn: Turn, what: Kept) -> bool:
    """Keep a run with the task of a turn. Return False if it is too large."""
    return await keep(turn, NAME, to_json(asdict(what)).decode())


async def kept_run(turn: Turn) -> Kept | None:
    """Return what `keep_run` has kept, or None."""
    text = await kept(turn, NAME)
    if text is None:
        return None
    fields = json.loads(text)
    return Kept(**fields | {"calls": [Call(**call) for call in fields["calls"]]})


def input_of(message: Message) -> dict[str, Any]:
    """Return a message of the user for the model. Data are JSON in a text."""
    contents = [_content(part) for part in message.parts]
    if len(contents) == 1 and contents[0]["type"] == "input_text":
        return {"role": "user", "content": contents[0]["text"]}
    return {"role": "user", "content": contents}


def _content(part: Part) -> dict[str, Any]:
    match part.WhichOneof("content"):
        case "text":
            return {"type": "input_text", "text": part.text}
        case "data":
            return {"type": "input_text", "text": json.dumps(to_python(part.data), ensure_ascii=False)}
    media_type = part.media_type or "application/octet-stream"
    encoded = f"data:{media_type};base64,{base64.b64encode(part.raw).decode()}"
    if media_type.startswith("image/"):
        return {"type": "input_image", "detail": "auto", "image_url": part.url or encoded}
    if part.url:
        return {"type": "input_file", "file_url": part.url}
    return {"type": "input_file", "filename": part.filename or "file", "file_data": encoded}


def items_of(said: Iterable[Said]) -> list[Any]:
    """Return what was said in earlier tasks as input of the model."""
    return [{"role": "user" if is_user else "assistant", "content": text} for is_user, text in said]


def contents_of(output: object) -> Contents:
    """Return the final output of a run as contents of an artifact."""
    return output if isinstance(output, str) else to_jsonable_python(output)


def field(raw: object, *names: str) -> str:
    """Return the first field with a text that a raw item of the SDK has, which is a dict or an object."""
    for name in names:
        value = raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)
        if isinstance(value, str) and value:
            return value
    return ""


def arguments_of(raw: object) -> Json:
    """Return what a raw item gives its tool: arguments, the text of a custom tool, commands, or a change of a file."""
    for name in ("arguments", "input", "action", "operation"):
        given = raw.get(name) if isinstance(raw, Mapping) else getattr(raw, name, None)
        if given is None:
            continue
        if name != "arguments":
            return to_jsonable_python(given, exclude_none=True)  # type: ignore[no-any-return]
        try:
            return json.loads(given or "{}")  # type: ignore[no-any-return]
        except ValueError:
            return str(given)
    return {}


def tool_name(raw: object) -> str:
    """Return the name of the tool that a raw item calls. A tool of the model's provider is named by its type."""
    return field(raw, "name") or field(raw, "type").removesuffix("_call")


def image_of(raw: object) -> Part | None:
    """Return the image that a raw item has, or None."""
    if field(raw, "type") != "image_generation_call" or not (encoded := field(raw, "result")):
        return None
    kind = field(raw, "output_format") or "png"
    return Part(raw=base64.b64decode(encoded), media_type=f"image/{kind}")
