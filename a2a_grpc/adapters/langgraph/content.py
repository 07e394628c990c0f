"""Messages of LangChain from parts, and parts from messages and values of a graph."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.past import Said
from a2a_grpc.parts import Contents, data_of, files_of, text_of, to_python
from a2a_grpc.wire import Message, Part

needed("langchain_core.messages", "langgraph")
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages  # noqa: E402

STRUCTURED = "structured_response"
"""The key in the state with which agents of LangChain give a structured answer."""
KINDS = ("image", "audio", "video")
"""Media types whose beginning is the type of their content block."""


def human_message(message: Message) -> HumanMessage:
    """Return a message of the user with the same id. Text alone stays a text; other parts make content blocks."""
    kinds = {part.WhichOneof("content") for part in message.parts}
    content = text_of(message) if kinds <= {"text"} else [block(part) for part in message.parts]
    return HumanMessage(content, id=message.message_id)


def past_message(said: Said) -> BaseMessage:
    """Return what was said in an earlier task as a message."""
    return HumanMessage(said.text) if said.is_user else AIMessage(said.text)


def block(part: Part) -> dict[str, Any]:
    """Return a part as a content block. Data is a text in JSON."""
    match part.WhichOneof("content"):
        case "text":
            return {"type": "text", "text": part.text}
        case "data":
            return {"type": "text", "text": json.dumps(to_python(part.data), ensure_ascii=False)}
        case "url":
            source = {"url": part.url}
        case _:
            source = {"base64": base64.b64encode(part.raw).decode()}
    beginning = part.media_type.partition("/")[0]
    made: dict[str, Any] = {"type": beginning if beginning in KINDS else "file", **source}
    if part.media_type:
        made["mime_type"] = part.media_type
    if part.filename:
        made["extras"] = {"filename": part.filename}
    return made


def answer_in(message: Message) -> Any:
    """Return what an interrupt gets from the user's answer: its data, or its text, or blocks if it has files."""
    if files_of(message):
        return [block(part) for part in message.parts]
    data = data_of(message)
    return text_of(message) if data is None else data


def file_parts(message: BaseMessage) -> list[Part]:
    """Return the files in the content of a message."""
    if isinstance(message.content, str):
        return []
    return [part for found in message.content_blocks if (part := _file(found)) is not None]


def _file(found: Mapping[str, Any]) -> Part | None:
    """Return the file of a content block; None if the block is none, or names a file at the provider of the model."""
    if found.get("type") not in (*KINDS, "file"):
        return None
    media_type = str(found.get("mime_type") or "")
    name = str(found.get("filename") or (found.get("extras") or {}).get("filename") or "")
    if encoded := found.get("base64"):
        return Part(raw=base64.b64decode(encoded), media_type=media_type, filename=name)
    if url := found.get("url"):
        return Part(url=str(url), media_type=media_type, filename=name)
    return None


def result_of(values: Any, keys: str | Sequence[str], *, is_streamed: bool) -> Contents:
    """Return the result that a final state says, as far as it was not streamed.

    It is the structured answer of LangChain's agents, or the last message if that is the model's, or the state as data.

    Args:
        values: The state, or the value of a graph that has no state.
        keys: The keys of the output.
        is_streamed: True if messages of models were streamed.
    """
    if not isinstance(values, Mapping):
        value: Contents = plain_value(values)
        return None if is_streamed else value
    if (structured := values.get(STRUCTURED)) is not None:
        made: Contents = plain_value(structured)
        return made
    if is_streamed:
        return None
    messages = values.get("messages")
    if isinstance(messages, Sequence) and messages and isinstance(last := _message(messages[-1]), AIMessage):
        text = str(last.text)
        return [*([Part(text=text)] if text else []), *file_parts(last)] or None
    wanted = [keys] if isinstance(keys, str) else keys
    return {key: plain_value(values[key]) for key in wanted if key in values and key != "messages"} or None


def _message(given: object) -> object:
    """Return a message in a dict, as a node may return one, as the object. Return anything else as it is."""
    if not isinstance(given, Mapping):
        return given
    try:
        return convert_to_messages([given])[0]
    except (ValueError, NotImplementedError):  # it has no role that LangChain knows
        return given


def plain_value(given: Any) -> Any:
    """Return a value of a graph with its messages as texts."""
    if isinstance(given, BaseMessage):
        return str(given.text)
    if isinstance(given, Mapping):
        return {str(key): plain_value(one) for key, one in given.items()}
    if isinstance(given, (list, tuple)):
        return [plain_value(one) for one in given]
    return given
