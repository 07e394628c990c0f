"""Count the fields of a serialised protobuf message before anything is parsed.

An empty part has two bytes in a message, and takes a hundred bytes when it is parsed, so that 4 MB become 200 MB. A
`Counter` reads the bytes instead. It makes no objects, skips strings and bytes, and stops at the first field over its
limit. So the limits bound the work for a message of any size.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from google.protobuf.message import Message as ProtobufMessage

FIELDS_PER_STEP = 1000
"""Fields between two pauses of `Counter.steps`. They take less than a millisecond."""

MAX_DEPTH = 128
"""Levels of nesting. Protobuf itself reads 100."""

SHORTEST_FIELD_BYTES = 2
"""The smallest size of a field: a tag and a length, or the two tags of a group."""

VARINT, FIXED64, DELIMITED, GROUP, END_GROUP, FIXED32 = range(6)

WHOLE = 0
"""The place of the limit for all fields of a message together."""


class TooMany(ValueError):
    """A message has more of a field than its limit.

    `path` names the field, beginning with the outermost message. It is empty for the limit of all fields together.
    """

    def __init__(self, path: str, limit: int) -> None:
        super().__init__(f"{path or 'the message'} has more than {limit} {'items' if path else 'fields'}")
        self.path = path
        self.limit = limit


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


Table: TypeAlias = "dict[int, tuple[str, int, Table | None]]"
"""The fields of a message that hold messages or have a limit, by tag: name, place of the limit, fields of the message.

A field without a limit of its own has place 0.
"""


class Counter:
    """Counts the fields of serialised messages of one kind.

    Guarantees:

    - A message that `check` accepts has no more of any field than its limit, when it is parsed.
    - `check` accepts each message that is within the limits and that protobuf can parse.
    - The work is bounded by `whole` for a message of any size.

    Args:
        kind: The kind of message.
        limits: The limits by the full name of a field (`lf.a2a.v1.Message.parts`), each for all its places in the
            message. A field that this kind does not have is ignored.
        whole: The limit of all fields together, also of unknown ones.
    """

    def __init__(self, kind: type[ProtobufMessage], limits: Mapping[str, int], *, whole: int) -> None:
        self._limits = [whole, *limits.values()]
        self._places = {name: place for place, name in enumerate(limits, start=1)}
        self._tables: dict[str, Table] = {}
        self._root = self._table(kind.DESCRIPTOR)
        self._harmless = SHORTEST_FIELD_BYTES * min(self._limits)
        """The size in bytes up to which a message cannot exceed a limit."""

    def check(self, raw: bytes) -> None:
        """Raise TooMany at the first field over its limit, or Malformed."""
        if len(raw) > self._harmless:
            for _ in self.steps(raw):
                pass

    def steps(self, raw: bytes) -> Iterator[None]:
        """Do what `check` does, with a pause after each `FIELDS_PER_STEP` fields."""
        try:
            yield from self._walk(raw)
        except IndexError:
            raise Malformed("the message ends within a field") from None

    def _walk(self, raw: bytes) -> Iterator[None]:
        left, fields, end, group = list(self._limits), self._root, len(raw), 0
        outer: list[tuple[Table, int, int, str]] = []  # of each message or group around this one
        at, until_pause = 0, FIELDS_PER_STEP
        while True:
            while at >= end:
                if at > end or group:
                    raise Malformed("a field ends beyond the message that holds it")
                if not outer:
                    self._spend(left, FIELDS_PER_STEP - until_pause)
                    return
                fields, end, group, _ = outer.pop()
            if not until_pause:
                self._spend(left, FIELDS_PER_STEP)
                until_pause = FIELDS_PER_STEP
                yield
            until_pause -= 1
            tag = raw[at]
            at += 1
            if tag > 0x7F:
                tag, at = varint(raw, at - 1)
            wire_type = tag & 7
            if wire_type == DELIMITED:
                size = raw[at]
                at += 1
                if size > 0x7F:
                    size, at = varint(raw, at - 1)
                if tag not in fields:
                    at += size
                    continue
                name, limit, inner = fields[tag]
                if limit:
                    left[limit] -= 1
                    if left[limit] < 0:
                        raise TooMany(".".join([*(around[3] for around in outer), name]), self._limits[limit])
                if inner is None or not size:
                    at += size
                    continue
                outer.append((fields, end, group, name))
                if at + size > end or len(outer) > MAX_DEPTH:
                    raise Malformed("a message is longer than the one around it, or nested too deeply")
                fields, end, group = inner, at + size, 0
            elif wire_type == VARINT:
                if raw[at] > 0x7F:
                    _, at = varint(raw, at)
                else:
                    at += 1
            elif wire_type == FIXED64:
                at += 8
            elif wire_type == FIXED32:
                at += 4
            elif wire_type == GROUP:  # proto3 has no groups, so this is an unknown field
                outer.append((fields, end, group, ""))
                if len(outer) > MAX_DEPTH:
                    raise Malformed("a group is nested too deeply")
                fields, group = {}, tag >> 3
            elif wire_type == END_GROUP and group == tag >> 3 > 0:
                fields, _, group, _ = outer.pop()
            else:
                raise Malformed(f"tag {tag} is none")

    def _spend(self, left: list[int], fields: int) -> None:
        """Subtract fields that were read from the limit of the whole. Raise TooMany if it is used up."""
        left[WHOLE] -= fields
        if left[WHOLE] < 0:
            raise TooMany("", self._limits[WHOLE])

    def _table(self, kind: Any) -> Table:
        table = self._tables.get(kind.full_name)
        if table is None:
            table = self._tables[kind.full_name] = {}  # stored before its fields are, because a Value holds Values
            for field in kind.fields:
                if field.is_packed:
                    raise ValueError(f"{field.full_name} is packed: its items are no fields, and cannot be counted")
                limit = self._places.get(field.full_name, WHOLE)
                if field.message_type is not None:
                    table[field.number << 3 | DELIMITED] = field.name, limit, self._table(field.message_type)
                elif limit:
                    table[field.number << 3 | DELIMITED] = field.name, limit, None
        return table


def varint(raw: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    number = shift = 0
    while True:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise Malformed("a number has more than ten bytes")
