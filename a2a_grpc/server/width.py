"""Count the fields of large requests in their bytes, before they are parsed."""

from collections.abc import Iterator

from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.counting import Counter, Malformed, TooMany
from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.server.parsing import unreadable
from a2a_grpc.server.settings import RequestLimits

LARGE_BYTES = 8 * 1024
"""Requests up to this size are parsed and checked in one step, because 4,000 empty parts take half a millisecond."""

MARGIN = 5
"""The margin: a request with this many times the limit of parts is parsed. 5,000 parts take a millisecond."""

FIELDS_PER_VALUE = 4
"""The fields of a JSON value in an object: the entry, its key, its value, the kind of the value."""
FIELDS_PER_PART = 8
OTHER_FIELDS = 1000
"""Fields of a request in addition to parts, references and JSON values. Fields that the contract does not know count.
"""


class Width:
    """Refuses requests that have more fields than the limits of requests allow.

    The limits here are those of `Checks` with a margin. A request within the margin is parsed, and `Checks` reports all
    that is wrong with it. A larger request is refused at its first field over the limit.
    """

    def __init__(self, limits: RequestLimits) -> None:
        values = limits.max_data_values + limits.max_part_metadata_keys + 2 * limits.max_metadata_keys
        self._limits = {
            "lf.a2a.v1.Message.parts": MARGIN * limits.max_parts,
            "lf.a2a.v1.Message.extensions": MARGIN * limits.max_references,
            "lf.a2a.v1.Message.reference_task_ids": MARGIN * limits.max_references,
            "lf.a2a.v1.SendMessageConfiguration.accepted_output_modes": MARGIN * limits.max_references,
            "google.protobuf.ListValue.values": values,
            "google.protobuf.Struct.fields": values,
        }
        self._whole = (
            FIELDS_PER_VALUE * values
            + MARGIN * FIELDS_PER_PART * limits.max_parts
            + 3 * MARGIN * limits.max_references
            + OTHER_FIELDS
        )
        self._counters: dict[type[ProtobufMessage], Counter] = {}

    def steps(self, kind: type[ProtobufMessage], raw: bytes) -> Iterator[None]:
        """Count the fields of a request, in steps. Raise InvalidRequestError that names the field over its limit."""
        try:
            yield from self._counter(kind).steps(raw)
        except TooMany as error:
            field = error.path or kind.DESCRIPTOR.name
            things = "items" if error.path else "fields"
            raise InvalidRequestError.of(Violation(field, f"has more than {error.limit} {things}")) from None
        except Malformed:
            raise unreadable(kind) from None

    def _counter(self, kind: type[ProtobufMessage]) -> Counter:
        counter = self._counters.get(kind)
        if counter is None:
            counter = self._counters[kind] = Counter(kind, self._limits, whole=self._whole)
        return counter
