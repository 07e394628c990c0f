"""Python values as parts, artifacts and messages, and the way back."""

import math
import mimetypes
import pathlib
import reprlib
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar, cast

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from a2a_grpc.ids import new_id
from a2a_grpc.plain import Object, Path, dotted, plain
from a2a_grpc.text import HALF_A_PAIR, is_encodable
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER, Artifact, Message, Part, Task

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""A JSON value: None, a bool, a number, a text, a list or a tuple, or a dict with texts as keys."""
Content: TypeAlias = str | bytes | bytearray | memoryview | Part | Json | Object
"""A value that becomes one part. It is a text, the bytes of a file, a `Part`, or any other value as structured data."""
Contents: TypeAlias = Content | Sequence[Content]
"""A value that becomes one part. A list that holds a `Part` becomes several parts, one for each item."""
Holder = TypeVar("Holder", Message, Artifact)

VALUES_PER_STEP = 250
"""JSON values between two pauses of `json_steps`. They take less than a millisecond."""

MAX_INTEGER = 2**53
"""The largest integer up to which a double holds every integer."""
MAX_SHOWN_BITS = 256
"""The number of bits of an integer up to which an error message has its digits."""

MAX_DEPTH = 31
"""The number of levels below the outermost value of a JSON value that is sent or accepted, so there are 32 in all. With
one more, and the message around it, protobuf parsers would refuse it."""


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

    Args:
        path: The path of the file.
        media_type: The media type; by default guessed from the name, or `application/octet-stream`.

    Raises:
        OSError: The file cannot be read.
    """
    path = pathlib.Path(path)
    guessed = media_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Part(raw=path.read_bytes(), filename=path.name, media_type=guessed)


def text_of(source: Task | Message | Artifact | Iterable[Part]) -> str:
    """Return the text parts, joined without anything between them; empty if there are none.

    The text of a task is the text of all its artifacts in their order. If no artifact has text, it is the text of the
    message of its status.

    Args:
        source: A task, a message, an artifact, or parts.

    Raises:
        TypeError: The source is none of these.
    """
    if isinstance(source, Task):
        return "".join(map(text_of, source.artifacts)) or text_of(source.status.message)
    return "".join(piece.text for piece in _parts_of(source) if piece.WhichOneof("content") == "text")


def data_of(source: Task | Message | Artifact | Iterable[Part]) -> Json:
    """Return the first part with structured data as a Python value; None if there is none.

    For a task this is the first one of the last artifact that has any. If no artifact has any, it is that of the
    message of the status. Numbers are doubles on the wire; whole numbers up to 2^53 come back as `int`.

    Args:
        source: A task, a message, an artifact, or parts.

    Raises:
        TypeError: The source is none of these.
    """
    if isinstance(source, Task):
        holders: list[Artifact | Message] = [*reversed(source.artifacts), source.status.message]
        pieces = next((found for holder in holders if (found := _data_parts(holder))), [])
    else:
        pieces = _data_parts(source)
    return to_python(pieces[0].data) if pieces else None


def files_of(source: Task | Message | Artifact | Iterable[Part]) -> list[Part]:
    """Return the parts that are files. A file has its bytes in `raw`, or its address in `url`.

    The files of a task are those of all its artifacts.

    Args:
        source: A task, a message, an artifact, or parts.

    Raises:
        TypeError: The source is none of these.
    """
    if isinstance(source, Task):
        return [piece for artifact in source.artifacts for piece in files_of(artifact)]
    return [piece for piece in _parts_of(source) if piece.WhichOneof("content") in ("raw", "url")]


def _parts_of(source: Message | Artifact | Iterable[Part]) -> Iterable[Part]:
    """Return the parts of a message or an artifact, or the parts that are given. Raise TypeError for anything else."""
    if isinstance(source, (Message, Artifact)):
        return source.parts
    wrong: object = source
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes, Mapping)):
        given = list(source)
        if all(isinstance(piece, Part) for piece in given):
            return given
        wrong = next(piece for piece in given if not isinstance(piece, Part))
    raise TypeError(
        f"source is {reprlib.repr(wrong)}, of type {type(wrong).__name__}; it must be a Task, Message, Artifact or "
        "a list of Part"
    )


def _data_parts(source: Message | Artifact | Iterable[Part]) -> list[Part]:
    return [piece for piece in _parts_of(source) if piece.WhichOneof("content") == "data"]


def check_content(source: Message | Artifact) -> None:
    """Raise ValueError for content that the protocol does not allow, such as no parts, an empty part, or NaN."""
    if not source.parts:
        raise ValueError("there are no parts; the protocol wants at least one")
    structs: list[tuple[str, Value | Struct]] = []
    if source.HasField("metadata"):
        structs.append(("metadata", source.metadata))
    for place, piece in enumerate(source.parts):
        match piece.WhichOneof("content"):
            case None:
                raise ValueError(f"parts[{place}] has no content")
            case "data":
                structs.append((f"parts[{place}].data", piece.data))
        if piece.HasField("metadata"):
            structs.append((f"parts[{place}].metadata", piece.metadata))
    for name, json in structs:
        if problem := json_problem(json, name):
            raise ValueError(f"{problem.path}: {problem.text}")


class Budget:
    """How many JSON values may still be looked at."""

    def __init__(self, limit: float = math.inf) -> None:
        self.limit = self.left = limit

    @property
    def is_spent(self) -> bool:
        return self.left < 0


class Problem(NamedTuple):
    """The reason why a value is not JSON, and the path to the wrong part of it."""

    path: str
    text: str


def json_problem(root: Value | Struct, name: str) -> Problem | None:
    """Return why a value is not JSON: NaN or infinity, no kind, too deep. `name` begins the path."""
    steps = json_steps(root, name, Budget())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("Problem | None", end.value)


def json_steps(root: Value | Struct, name: str, budget: Budget) -> Generator[None, None, Problem | None]:
    """Do what `json_problem` does within a budget, with a pause after each `VALUES_PER_STEP` values."""
    open_values: list[Iterator[Value | Struct]] = [iter((root,))]  # at each depth what is left to look at
    taken = [0]  # at each depth how many were looked at
    looked_at = 0
    while open_values:
        looked_at += 1
        if looked_at % VALUES_PER_STEP == 0:
            yield
        if (node := next(open_values[-1], None)) is None:
            open_values.pop()
            taken.pop()
            continue
        taken[-1] += 1
        problem = f"is nested deeper than {MAX_DEPTH}" if len(open_values) > MAX_DEPTH + 1 else ""
        if isinstance(node, Value):
            match node.WhichOneof("kind"):
                case None:
                    problem = problem or "contains a value without a kind"
                case "number_value" if not math.isfinite(node.number_value):
                    problem = problem or f"contains {node.number_value}, which is not a JSON number"
                case "null_value" if node.null_value:
                    problem = problem or f"contains the null {int(node.null_value)}; there is only 0"
        if problem:
            return Problem(dotted((name, *_path_to(root, taken))), problem)
        inner = children(node)
        budget.left -= len(inner)  # counted before it is walked
        if budget.is_spent:
            return Problem(name, f"has more than {budget.limit} values")
        if inner:
            open_values.append(iter(inner))
            taken.append(0)
    return None


def _path_to(root: Value | Struct, taken: Sequence[int]) -> Iterator[str | int]:
    """Yield the keys and places that lead from the outermost value to the one that was looked at last."""
    node = root
    for count in taken[1:]:
        key: str | int = count - 1
        if isinstance(node, Struct) or node.WhichOneof("kind") == "struct_value":
            key = list(node.fields if isinstance(node, Struct) else node.struct_value.fields)[count - 1]
        yield key
        node = list(children(node))[count - 1]


def children(node: Value | Struct) -> Collection[Value]:
    """Return the values that a JSON object or list holds directly; none for any other value."""
    if isinstance(node, Struct):
        return node.fields.values()
    match node.WhichOneof("kind"):
        case "struct_value":
            return node.struct_value.fields.values()
        case "list_value":
            return node.list_value.values
    return ()


class Inexact(ValueError):
    """A number that the wire cannot carry: it would come back as another one."""

    def __init__(self, path: Path, shown: str, advice: str) -> None:
        super().__init__(f"{dotted(path)}: {shown} is not a JSON number that the wire can carry exactly; {advice}")


def value(json: object, *, path: tuple[str | int, ...] = ("data",)) -> Value:
    """Return the protobuf `Value` for a JSON value. Its numbers are doubles, which hold every integer up to 2^53.

    Args:
        json: The value. Dataclasses, pydantic models, members of an Enum, dates and so on become JSON, as in `part`.
        path: The names and places that lead to the value from the outermost one, for errors.

    Raises:
        TypeError: The value holds an object that JSON does not have.
        ValueError: The value holds a number or a text that a `Value` cannot hold, or has too many levels.
    """
    if len(path) > MAX_DEPTH + 1:
        raise ValueError(f"{dotted(path)}: the value is nested deeper than {MAX_DEPTH}")
    match json:
        case None:
            return Value(null_value=0)  # type: ignore[arg-type]
        case bool():
            return Value(bool_value=json)
        case int():
            if not -MAX_INTEGER <= json <= MAX_INTEGER:
                shown = str(json) if json.bit_length() < MAX_SHOWN_BITS else f"an integer of {json.bit_length()} bits"
                raise Inexact(path, shown, "integers beyond 2^53 lose digits, give it as a string")
            return Value(number_value=json)
        case float():
            if not math.isfinite(json):
                raise ValueError(f"{dotted(path)}: {json} is not a JSON number; give it as a string")
            return Value(number_value=json)
        case str():
            return Value(string_value=json if json.isascii() else encodable(json, path))
        case Mapping():
            return Value(struct_value=struct(json, path=path))
        case list() | tuple():
            items = [value(item, path=(*path, place)) for place, item in enumerate(json)]
            return Value(list_value=ListValue(values=items))
    return value(plain(json, path), path=path)


def struct(json: Mapping[str, Json], *, path: tuple[str | int, ...] = ("metadata",)) -> Struct:
    """Return the protobuf `Struct` for a dict with texts as keys, for example for the field `metadata`.

    Args:
        json: The dict.
        path: The names and places that lead to the dict from the outermost value, for errors.

    Raises:
        TypeError: It is no dict, a key is no text, or a value is an object that JSON does not have.
        ValueError: It holds a number or a text that a `Value` cannot hold, or has too many levels.
    """
    if not isinstance(json, Mapping):
        raise TypeError(f"{dotted(path)} is {reprlib.repr(json)}, of type {type(json).__name__}; it must be a dict")
    fields = {}
    for key, item in json.items():
        if not isinstance(key, str):
            raise TypeError(
                f"{dotted(path)}: the key {key!r} is {type(key).__name__}, but JSON has text as keys alone; "
                "give str(key)"
            )
        if not key.isascii():
            encodable(key, (*path, key))
        fields[key] = value(item, path=(*path, key))
    return Struct(fields=fields)


def encodable(text: str, path: Path) -> str:
    """Return the text itself. Raise ValueError, with the path, if it cannot be encoded."""
    if is_encodable(text):
        return text
    raise ValueError(f"{dotted(path)}: the text {HALF_A_PAIR}")


def to_python(json: Value) -> Json:
    """Return the Python value for a protobuf `Value`. Whole numbers up to 2^53 become `int`.

    Args:
        json: The value.
    """
    match json.WhichOneof("kind"):
        case "struct_value":
            return to_dict(json.struct_value)
        case "list_value":
            return [to_python(item) for item in json.list_value.values]
        case "number_value":
            number = json.number_value
            if not number.is_integer() or abs(number) > MAX_INTEGER:
                return number
            return int(number) if number or math.copysign(1, number) > 0 else number  # -0.0 has no integer
        case "string_value":
            return json.string_value
        case "bool_value":
            return json.bool_value
    return None


def to_dict(json: Struct) -> dict[str, Json]:
    """Return the dict for a protobuf `Struct`, for example for the field `metadata`.

    Args:
        json: The struct.
    """
    return {key: to_python(item) for key, item in json.fields.items()}
