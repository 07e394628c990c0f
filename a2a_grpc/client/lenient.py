"""Read messages from ProtoJSON with mistakes. A mistake costs only the member that has it."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
"""The names in JSON for the Python types."""

MAX_KEY_CHARS = 32
"""The largest length of the key of a map in a problem."""


def fill(message: Message, members: Mapping[str, Any], path: str = "") -> list[str]:
    """Fill a message with what can be read of JSON members. Return a sentence for each member that is not right.

    Unknown members are ignored (WIRE-5). A number or a boolean is read as a string, a single value as a list of one,
    and the words true and false as booleans. Other wrong members are left out.

    Raise ParseError for a member that is given in both of its spellings, since two readers could see two messages.
    """
    if _parsed(message, members):
        return []
    problems: list[str] = []
    for field in message.DESCRIPTOR.fields:
        found = [name for name in dict.fromkeys((field.json_name, field.name)) if name in members]
        if len(found) == 2:
            raise json_format.ParseError(f"the member '{found[0]}' is given twice, in two spellings")
        for name in found:
            if not _parsed(message, {name: members[name]}):
                problems += _fill_field(message, field, members[name], f"{path}.{name}" if path else name)
    return problems


def _parsed(message: Message, members: Mapping[str, Any]) -> bool:
    """Merge members into the message if all of them are as they must be."""
    whole = type(message)()
    try:
        json_format.ParseDict(dict(members), whole, ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeError):
        return False
    message.MergeFrom(whole)
    return True


def _fill_field(message: Message, field: Any, member: Any, path: str) -> list[str]:
    """Fill a field whose member is not as it must be. Return what is wrong with the member."""
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if is_map and isinstance(member, dict):
        pairs = [(key, value) for key, value in member.items() if not _parsed(message, {field.name: {key: value}})]
        return [_wrong(f"{path}.{key[:MAX_KEY_CHARS]}", value) for key, value in pairs]
    if _is_repeated(message, field) and not is_map:
        if not isinstance(member, list):
            return [_wrong(path, member), *_fill_field(message, field, [member], path)]
        problems: list[str] = []
        for place, item in enumerate(member):
            problems += _add(message, field, item, f"{path}[{place}]")
        return problems
    if _has_members(field) and isinstance(member, dict):
        inner = getattr(message, field.name)
        inner.SetInParent()
        return fill(inner, member, path)
    _parsed(message, {field.name: _taken_for(field, member)})
    return [_wrong(path, member)]


def _add(message: Message, field: Any, item: Any, path: str) -> list[str]:
    """Add an item to a list as far as it can be read."""
    if item is not None and _parsed(message, {field.name: [item]}):
        return []
    if _has_members(field) and isinstance(item, dict):
        return fill(getattr(message, field.name).add(), item, path)
    _parsed(message, {field.name: [_taken_for(field, item)]})
    return [_wrong(path, item)]


def _taken_for(field: Any, member: Any) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and isinstance(member, int | float):
        return str(member)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and isinstance(member, str):
        return {"true": True, "false": False}.get(member.strip().lower(), member)
    return member


def _has_members(field: Any) -> bool:
    """Return True for a field whose JSON is an object with the members of a message. A Struct takes any object."""
    kind = field.message_type
    return kind is not None and not kind.GetOptions().map_entry and not kind.full_name.startswith("google.protobuf.")


def _is_repeated(message: Message, field: Any) -> bool:
    return not isinstance(getattr(message, field.name), Message | str | bytes | bool | int | float)


def _wrong(path: str, member: Any) -> str:
    return f"{path} is {KINDS.get(type(member), 'null')}, or has content, that the contract does not allow there"
