"""Calls made of bytes: paths and requests as any client of any language could send them."""

from collections.abc import Awaitable
from typing import Any

from tests.harness import V1, Refusal, Served, refusal

SERVICE = "/lf.a2a.v1.A2AService"
SENDS = ("SendMessage", "SendStreamingMessage")
STREAMS = ("SendStreamingMessage", "SubscribeToTask")


def raw_call(
    served: Served, method: str, body: bytes, metadata: tuple[tuple[str, str], ...] = V1, service: str = SERVICE
) -> Any:
    """The call of a method by its path; requests and responses are bytes."""
    path = f"{service}/{method}"
    kind: Any = served.channel.unary_stream if method in STREAMS else served.channel.unary_unary
    return kind(path)(body, metadata=metadata)


async def raw_refusal(served: Served, method: str, body: bytes) -> Refusal:
    call: Awaitable[Any] = raw_call(served, method, body)
    return await refusal(call)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field: a string, bytes, or a message."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def number(number: int, value: int) -> bytes:
    """A field with an integer or an enum."""
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def nested_struct(depth: int) -> bytes:
    """A serialised Struct: so many objects, one in the other."""
    value = field(3, b"x")
    for level in range(depth):
        struct = field(1, field(1, b"k") + field(2, value))
        value = field(5, struct) if level < depth - 1 else struct
    return value


def nested_list(depth: int) -> bytes:
    """A serialised Value: so many arrays, one in the other."""
    value = field(3, b"x")
    for _ in range(depth):
        value = field(6, field(1, value))
    return value


TEXT_PART = field(1, b"hello")


def raw_message(*extra: bytes, part: bytes = TEXT_PART, message_id: bytes = b"m-1") -> bytes:
    """A serialised Message with further fields."""
    return field(1, message_id) + number(4, 1) + field(5, part) + b"".join(extra)


def raw_send(message: bytes, *extra: bytes) -> bytes:
    """A serialised SendMessageRequest with further fields."""
    return field(2, message) + b"".join(extra)
