"""Read, parse and join large messages in steps.

A call of protobuf or `bytes` holds the interpreter until its end, in a thread as well. To join 60 MiB takes 40 ms, and
to serialise them takes 120 ms, in which the event loop does not run. Here no call handles more than about a MiB, so
that other threads, or the event loop, run between the calls.
"""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.counting import DELIMITED, FIXED32, FIXED64, VARINT, Malformed, varint
from a2a_grpc.offload import offload

Parsed = TypeVar("Parsed", bound=ProtobufMessage)
Raw: TypeAlias = bytes | memoryview

COPIED_BYTES = 1 << 20
"""Bytes that are copied at a time, in less than a millisecond."""
PARSED_BYTES = 16 * 1024
"""Bytes that are parsed at a time, unless a single text is larger. Small values take longest, about a millisecond."""


class Field(NamedTuple):
    """The places of one field in a serialised message."""

    number: int
    start: int
    content: int
    """The place of the field's content, after the tag and the length."""
    end: int


def fields(message: Raw) -> Iterator[Field]:
    """Yield the fields at the top level of a serialised message. Raise Malformed for bytes that are no field."""
    start, size = 0, len(message)
    while start < size:
        tag, at = (message[start], start + 1) if message[start] < 0x80 else varint(message, start)
        content = at
        kind = tag & 7
        if kind == DELIMITED:
            length, content = varint(message, at)
            end = content + length
        elif kind == VARINT:
            _, end = varint(message, at)
        elif kind in (FIXED64, FIXED32):
            end = at + (8 if kind == FIXED64 else 4)
        else:
            raise Malformed(f"wire type {kind} is in no message of the contract")
        yield Field(tag >> 3, start, content, end)
        start = end


def joined(pieces: Iterable[Raw]) -> bytes:
    """Return the pieces as one `bytes`. Large pieces are copied a MiB at a time."""
    pieces = list(pieces)
    size = sum(map(len, pieces))
    if size <= COPIED_BYTES:
        return b"".join(pieces)
    if len(pieces) == 1 and isinstance(pieces[0], bytes):
        return pieces[0]
    out = BytesIO(bytes(size))  # which is never copied: pages of zeros come from the system as they are written to
    for piece in pieces:
        for start in range(0, len(piece), COPIED_BYTES):
            out.write(memoryview(piece)[start : start + COPIED_BYTES])
    return out.getvalue()


async def whole(pieces: Sequence[Raw]) -> bytes:
    """Return the pieces as one `bytes`, joined in a thread if they are large."""
    return await offload(sum(map(len, pieces)), joined, pieces)


def parsing(message: ProtobufMessage, raw: Raw) -> Iterator[None]:
    """Merge a serialised message into `message`, in steps. Raise DecodeError as protobuf does.

    A field that is larger than a step, and holds a message, is parsed in steps as well.
    """
    whole, done = memoryview(raw), 0
    if len(whole) > PARSED_BYTES:
        try:
            for field in fields(whole):
                if field.end > len(whole):
                    break  # protobuf says what is wrong
                if field.end - field.start > PARSED_BYTES:
                    if field.start > done:
                        message.MergeFromString(whole[done : field.start])  # type: ignore[arg-type]
                        yield
                    yield from _parsing_field(message, field, whole)
                    done = field.end
                elif field.end - done > PARSED_BYTES:
                    message.MergeFromString(whole[done : field.end])  # type: ignore[arg-type]
                    yield
                    done = field.end
        except (Malformed, IndexError):
            pass  # protobuf says what is wrong, or knows how to skip it
    message.MergeFromString(whole[done:])  # type: ignore[arg-type]
    yield


def _parsing_field(message: ProtobufMessage, field: Field, whole: memoryview) -> Iterator[None]:
    descriptor = message.DESCRIPTOR.fields_by_number.get(field.number)
    if descriptor is None or descriptor.message_type is None:
        message.MergeFromString(whole[field.start : field.end])  # type: ignore[arg-type]
        yield
        return
    found: Any = getattr(message, descriptor.name)
    content = whole[field.content : field.end]
    if descriptor.message_type.GetOptions().map_entry:
        entry = _entry(content)
        if entry is None or descriptor.message_type.fields_by_name["value"].message_type is None:
            message.MergeFromString(whole[field.start : field.end])  # type: ignore[arg-type]
            yield
            return
        key, content = entry
        found.pop(key, None)
        yield from parsing(found[key], content)
    elif descriptor.is_repeated:
        yield from parsing(found.add(), content)
    else:
        found.SetInParent()
        yield from parsing(found, content)


def _entry(content: memoryview) -> tuple[str, memoryview] | None:
    """Return the key of a serialised map entry, and the bytes of its value. Return None for an entry of another
    form."""
    parts = {field.number: content[field.content : field.end] for field in fields(content)}
    if parts.keys() != {1, 2}:
        return None
    try:
        return bytes(parts[1]).decode(), parts[2]
    except UnicodeDecodeError:
        raise DecodeError("a key is not UTF-8") from None


def parsed(message: Parsed, raw: Raw) -> Parsed:
    """Merge a serialised message into `message`, in steps between which other threads run. Return `message`."""
    for _ in parsing(message, raw):
        pass
    return message
