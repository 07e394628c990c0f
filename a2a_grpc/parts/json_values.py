"""JSON values as the messages of protobuf, and back."""

import math
import reprlib
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from a2a_grpc.plain import Path, dotted, plain
from a2a_grpc.text import HALF_A_PAIR, is_encodable

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""A JSON value: None, a bool, a number, a text, a list or a tuple, or a dict with texts as keys."""

MAX_INTEGER = 2**53
"""The largest integer up to which a double holds every integer."""

MAX_SHOWN_BITS = 256
"""The number of bits of an integer up to which an error message has its digits."""

MAX_DEPTH = 31
"""The number of levels below the outermost value of a JSON value that is sent or accepted, so there are 32 in all. With
one more, and the message around it, protobuf parsers would refuse it."""


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
