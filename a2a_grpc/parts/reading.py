"""The texts, data and files of parts, as Python values."""

import reprlib
from collections.abc import Iterable, Mapping

from a2a_grpc.parts.json_values import Json, to_python
from a2a_grpc.wire import Artifact, Message, Part, Task


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
