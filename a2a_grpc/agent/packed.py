"""Values that a handler keeps, as bytes and back: JSON, bytes, and messages of protobuf."""

import json
from typing import TypeAlias, TypeVar

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import EncodeError, Message

from a2a_grpc.offload import LARGE_BYTES, offload
from a2a_grpc.parts import Json
from a2a_grpc.plain import Path, dotted

Kept: TypeAlias = Json | bytes | Message
"""A value that a task can keep: a JSON value, bytes, or a message of protobuf."""

K = TypeVar("K", bound=Message)

ITEM_BYTES = 256
"""What an item of a list or a dict is counted with. It takes longer to pack than its bytes do."""
MAX_BYTES = 1 << 20
"""The largest size of a value."""
_JSON, _BYTES, _MESSAGE = b"j", b"b", b"p"
"""The first byte of a packed value. After that of a message come the name of its type and a zero byte."""


def pack(value: object, what: str) -> tuple[bytes, Kept]:
    """Return the bytes that a store keeps of a value, and the value as `unpack` will return it.

    The second value is a copy. A tuple becomes a list, and any kind of bytes becomes `bytes`.

    Args:
        value: The value.
        what: The name of the value, which begins the text of an error.

    Raises:
        TypeError: The value is of a type that cannot be kept.
        ValueError: The value is too large, or it cannot be written as JSON, such as infinity or a list that contains
            itself.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        body = bytes(value)
        return _BYTES + _checked(body, what), body
    if isinstance(value, Message):
        return _packed_message(value, what)
    if (least := _measured(value)[1]) > MAX_BYTES:
        raise _too_large(f"at least {least}", what)
    try:
        return _packed_json(value, what)
    except RecursionError:
        raise ValueError(f"{what} has too many levels to be kept") from None


async def pack_aside(value: object, what: str) -> tuple[bytes, Kept]:
    """Do what `pack` does, for a large value in a thread. Nothing may change the value meanwhile."""
    return await offload(_measured(value)[0], pack, value, what)


def _measured(value: object) -> tuple[int, int]:
    """Return about how many bytes are handled to pack a value, and the least number of bytes that it takes as JSON.

    Once the value is known to be large, the rest of it is not looked at.
    """
    left, size, items = [value], 0, 0
    while left and size < LARGE_BYTES:
        one = left.pop()
        if isinstance(one, str | bytes | bytearray):
            size += len(one)
        elif isinstance(one, memoryview):
            size += one.nbytes
        elif isinstance(one, Message):
            size += one.ByteSize()
        elif isinstance(one, list | tuple | dict):
            items += len(one)
            size += len(one) * ITEM_BYTES
            if size < LARGE_BYTES:
                left += one.values() if isinstance(one, dict) else one
    return size, 2 * items  # an item has a character at least, and one before or after it


def _packed_json(value: object, what: str) -> tuple[bytes, Json]:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except TypeError as error:
        raise _wrong_type(value, what, str(error)) from None
    except ValueError as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from None
    packed = _JSON + _checked(text.encode("utf-8", "surrogatepass"), what)
    copy: Json = json.loads(text)
    if copy != value and (path := _path_of_other_key(value, ())) is not None:
        raise TypeError(f"{what} cannot be kept: {dotted(('value', *path))} is a dict with a key that is not a str")
    return packed, copy


def unpack(packed: bytes, what: str) -> Kept:
    """Return the value of some bytes that `pack` has returned.

    Args:
        packed: The bytes.
        what: The name of the value, which begins the text of an error.

    Raises:
        LookupError: The value is a message whose type this process does not know.
    """
    kind, body = packed[:1], packed[1:]
    if kind == _BYTES:
        return body
    if kind == _JSON:
        kept: Json = json.loads(body.decode("utf-8", "surrogatepass"))
        return kept
    name, _, serialized = body.partition(b"\0")
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(name.decode())
    except KeyError:
        raise LookupError(
            f"{what} is a message of the type '{name.decode()}', which this process does not know; import its module"
        ) from None
    message: Message = message_factory.GetMessageClass(descriptor).FromString(serialized)
    return message


def _checked(body: bytes, what: str) -> bytes:
    if len(body) > MAX_BYTES:
        raise _too_large(str(len(body)), what)
    return body


def _too_large(size: str, what: str) -> ValueError:
    return ValueError(
        f"{what} has {size} bytes; the limit is {MAX_BYTES} bytes; store large content as an artifact or "
        "outside of the task, and keep its id"
    )


def _packed_message(value: K, what: str) -> tuple[bytes, K]:
    try:
        body = _checked(value.SerializeToString(), what)
    except EncodeError as error:
        raise ValueError(f"{what} cannot be serialized: {error}") from None
    packed = _MESSAGE + value.DESCRIPTOR.full_name.encode() + b"\0" + body
    try:
        copy = unpack(packed, what)
    except LookupError:
        copy = None
    if not isinstance(copy, type(value)):  # its type is not one of the default pool
        raise _wrong_type(value, what, "its type is not in the default pool of protobuf")
    return packed, copy


def _wrong_type(value: object, what: str, why: str) -> TypeError:
    return TypeError(
        f"{what} is of type {type(value).__name__}, which cannot be kept ({why}); "
        "possible are JSON values, bytes and messages of protobuf"
    )


def _path_of_other_key(value: object, path: Path) -> Path | None:
    """Return the path of a dict with a key that is not a str, which JSON would change; None without one."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return path
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        return None
    found = (_path_of_other_key(item, (*path, key)) for key, item in items)
    return next((inner for inner in found if inner is not None), None)
