"""Pickles and deep-copies every message class; a program, and a function for tests.

`picklable.py FIRST`: FIRST is `sdk` or `ours`, the package that is imported first. It prints the number of classes.
"""

import copy
import importlib
import pickle
import sys
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import Struct, Value

SCALARS: dict[int, Any] = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_INT32: 7,
    FieldDescriptor.CPPTYPE_INT64: 7,
    FieldDescriptor.CPPTYPE_ENUM: 1,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
}


def filled(message: ProtobufMessage, depth: int = 0) -> ProtobufMessage:
    """Sets every field, four levels down; of a oneof the last."""
    match message:
        case Struct():
            message["key"] = "value"
            return message
        case Value():
            message.list_value.append(None)
            return message
    for field in message.DESCRIPTOR.fields:
        here: Any = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            if value.message_type is None:
                here["key"] = SCALARS[value.cpp_type]
            elif depth < 4:
                filled(here["key"], depth + 1)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if depth < 4:
                here = here.add() if field.is_repeated else here
                here.SetInParent()
                filled(here, depth + 1)
        else:
            scalar = SCALARS[field.cpp_type] if field.type != FieldDescriptor.TYPE_BYTES else b"\0raw"
            here.append(scalar) if field.is_repeated else setattr(message, field.name, scalar)
    return message


def examples() -> list[ProtobufMessage]:
    """One message of each class of the contract."""
    from a2a_grpc.wire import SERVICE

    pool = importlib.import_module("a2a_grpc_pb.a2a_pb2")
    return [filled(getattr(pool, name)()) for name in SERVICE.file.message_types_by_name]


def check(message: ProtobufMessage) -> None:
    """Asserts that all ways to copy a message give an equal one, of the same class, that is another."""
    assert message.ByteSize() > 0, message.DESCRIPTOR.name
    copies = [pickle.loads(pickle.dumps(message, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    copies += [copy.deepcopy(message), copy.copy(message), copy.deepcopy([message])[0]]
    for made in copies:
        assert type(made) is type(message), message.DESCRIPTOR.name
        assert made == message, message.DESCRIPTOR.name
        assert made is not message
        made.Clear()
        assert message.ByteSize() > 0, message.DESCRIPTOR.name


def main() -> None:
    order = ["a2a.types", "a2a_grpc"] if sys.argv[1] == "sdk" else ["a2a_grpc", "a2a.types"]
    modules = {name: importlib.import_module(name) for name in order}
    assert modules["a2a.types"].Task is modules["a2a_grpc"].Task
    made = examples()
    for message in made:
        check(message)
    print(len(made))


if __name__ == "__main__":
    main()
