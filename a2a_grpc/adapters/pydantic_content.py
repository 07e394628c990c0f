"""What a Pydantic AI model reads and says, as parts and back, and what is kept of a task."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TypeAlias

from pydantic import TypeAdapter
from pydantic_ai import (
    AudioUrl,
    BinaryContent,
    DocumentUrl,
    FilePart,
    FileUrl,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    RunUsage,
    TextPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
    VideoUrl,
)
from pydantic_core import PydanticSerializationError, to_jsonable_python

from a2a_grpc.adapters.calls import Call
from a2a_grpc.adapters.kept import keep, kept, log_not_kept
from a2a_grpc.adapters.past import Said
from a2a_grpc.agent import Turn
from a2a_grpc.parts import Content, Contents, to_python
from a2a_grpc.wire import Message, Part

NAME = "pydantic-ai"
"""The name under which the messages of the model are kept with a task."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a task between its turns and attempts.

    Attributes:
        messages: The messages of the model, with those of earlier tasks.
        usage: What the model has used for the task.
        turn_id: The turn that the newest messages of the model are about.
        artifact_id: The artifact of the answer; empty if it has not begun.
        calls: The calls that wait for the user.
    """

    messages: list[ModelMessage]
    usage: RunUsage
    turn_id: str
    artifact_id: str
    calls: list[Call]


USAGE: TypeAdapter[RunUsage] = TypeAdapter(RunUsage)


async def keep_messages(turn: Turn, kept: Kept) -> bool:
    """Keep the messages of a model with the task of a turn. Return False if they cannot be kept."""
    head = {
        "usage": USAGE.dump_python(kept.usage, mode="json"),
        "turn_id": kept.turn_id,
        "artifact_id": kept.artifact_id,
        "calls": [asdict(call) for call in kept.calls],
    }
    try:
        messages = ModelMessagesTypeAdapter.dump_json(kept.messages).decode()
    except PydanticSerializationError as error:  # for example an object in the metadata of a tool's result
        log_not_kept(turn, error)
        return False
    return await keep(turn, NAME, f"{json.dumps(head)}\n{messages}")


async def kept_messages(turn: Turn) -> Kept | None:
    """Return what `keep_messages` has kept, or None."""
    state = await kept(turn, NAME)
    if state is None:
        return None
    head, _, messages = state.partition("\n")
    fields = json.loads(head)
    return Kept(
        ModelMessagesTypeAdapter.validate_json(messages),
        USAGE.validate_python(fields["usage"]),
        fields["turn_id"],
        fields["artifact_id"],
        [Call(**call) for call in fields["calls"]],
    )


def prompt_of(message: Message) -> str | list[UserContent]:
    """Return a message of the user for the model. Data are JSON in a text."""
    contents = [_content(part) for part in message.parts]
    return contents[0] if len(contents) == 1 and isinstance(contents[0], str) else contents


def _content(part: Part) -> UserContent:
    match part.WhichOneof("content"):
        case "text":
            return part.text
        case "data":
            return json.dumps(to_python(part.data), ensure_ascii=False)
        case _:
            return _file(part)


Url: TypeAlias = ImageUrl | AudioUrl | VideoUrl | DocumentUrl
URLS: Mapping[str, type[Url]] = {"image": ImageUrl, "audio": AudioUrl, "video": VideoUrl}


def _file(part: Part) -> BinaryContent | Url:
    """Return a file for the model, which knows it by its name."""
    media_type = part.media_type or "application/octet-stream"
    name = part.filename or None
    if part.WhichOneof("content") == "raw":
        return BinaryContent(part.raw, media_type=media_type, identifier=name)
    kind = URLS.get(media_type.partition("/")[0], DocumentUrl)
    return kind(part.url, media_type=media_type, identifier=name)


def messages_of(said: Iterable[Said]) -> list[ModelMessage]:
    """Return what was said in earlier tasks as messages of the model."""
    return [
        ModelRequest([UserPromptPart(text)]) if is_user else ModelResponse([TextPart(text)]) for is_user, text in said
    ]


def contents_of(output: object) -> Contents:
    """Return the output of an agent as contents of an artifact: texts, files, or data."""
    if isinstance(output, (list, tuple)) and any(isinstance(item, (BinaryContent, FileUrl)) for item in output):
        return [_output(item) for item in output]
    return _output(output)


def _output(output: object) -> Content:
    match output:
        case str() | Part():
            return output
        case BinaryContent() | FileUrl():
            return part_of(output)
        case _:
            return to_jsonable_python(output)  # type: ignore[no-any-return]


def part_of(file: BinaryContent | FileUrl) -> Part:
    """Return a file of the model as a part."""
    if isinstance(file, BinaryContent):
        return Part(raw=file.data, media_type=file.media_type)
    return Part(url=file.url, media_type=file.media_type)


def files_in(messages: Iterable[ModelMessage]) -> list[Part]:
    """Return the files that the model has made."""
    responses = (message for message in messages if isinstance(message, ModelResponse))
    return [part_of(part.content) for one in responses for part in one.parts if isinstance(part, FilePart)]


def closed(messages: list[ModelMessage]) -> list[ModelMessage]:
    """Return messages that a prompt may follow. If a call of the last response has no result, the response is left out.

    The results of other calls of this response are left out, too.
    """
    responses = [place for place, message in enumerate(messages) if isinstance(message, ModelResponse)]
    if not responses:
        return messages
    last = messages[responses[-1]]
    called = {call.tool_call_id for call in last.tool_calls} if isinstance(last, ModelResponse) else set()
    after = [part for message in messages[responses[-1] + 1 :] for part in message.parts]
    returned = {part.tool_call_id for part in after if isinstance(part, (ToolReturnPart, RetryPromptPart))}
    return messages[: responses[-1]] if called - returned else messages
