"""Whether a message of the server keeps the contract: REQUIRED fields, oneofs, JSON numbers, down to the last part."""

import math
from collections.abc import Iterator, MutableMapping, MutableSequence
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import Value

MAY_BE_EMPTY = {
    f"lf.a2a.v1.ListTasksResponse.{name}" for name in ("tasks", "next_page_token", "page_size", "total_size")
}
"""REQUIRED, and yet empty on an empty page (WIRE-6)."""


def faults(message: ProtobufMessage, path: str = "") -> list[str]:
    """The path of every REQUIRED field that is not set, of every oneof without a member, of every number that JSON
    does not have."""
    return list(_faults(message, path))


def _faults(message: ProtobufMessage, path: str) -> Iterator[str]:
    if isinstance(message, Value) and not math.isfinite(message.number_value):
        yield f"{path}.number_value"
    if isinstance(message, Value) or message.DESCRIPTOR.file.package == "lf.a2a.v1":
        for oneof in message.DESCRIPTOR.oneofs:
            if not oneof.name.startswith("_") and message.WhichOneof(oneof.name) is None:
                yield f"{path}<{oneof.name}>"
    for field in message.DESCRIPTOR.fields:
        here = f"{path}.{field.name}" if path else field.name
        value = getattr(message, field.name)
        match value:
            case MutableSequence():
                present, children = bool(value), [(f"{here}[{place}]", child) for place, child in enumerate(value)]
            case MutableMapping():
                present, children = bool(value), [(f"{here}[{key}]", value[key]) for key in value]
            case ProtobufMessage():
                present = message.HasField(field.name)
                children = [(here, value)] if present else []
            case _:
                present, children = value != field.default_value, []
        if not present and _is_required(field):
            yield here
        for where, child in children:
            if isinstance(child, ProtobufMessage):
                yield from _faults(child, where)


def _is_required(field: Any) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behaviors and field.full_name not in MAY_BE_EMPTY
