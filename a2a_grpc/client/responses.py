"""Parse the responses of agents. Return a checked message, or an error that says what is wrong with the response.

Every response of an agent passes through this module before the caller gets it.
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import grpc.aio
from google.protobuf import message_factory
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.struct_pb2 import Struct, Value

from a2a_grpc.bounded import Broken, TooLarge, inflated
from a2a_grpc.client.errors import ResponseTooLargeError
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.counting import Counter, Malformed, TooMany
from a2a_grpc.errors import A2AError, InvalidAgentResponseError
from a2a_grpc.harmless import one_line
from a2a_grpc.parts import children
from a2a_grpc.wire import SERVICE, SERVICE_NAME, Task

MAX_ID = 100
"""The largest length of an id in an error."""

Reader: TypeAlias = Callable[[bytes], ProtobufMessage | A2AError]

FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799
"""From year 1 to year 9999: the seconds that a Timestamp may have."""
NANOS_PER_S = 1_000_000_000


def reader(method: str, kind: type[ProtobufMessage], *, max_bytes: int, max_fields: int) -> Reader:
    """Return the deserializer of a method's responses.

    The deserializer returns an error instead of raising the error: grpc.aio would log the exception and lose it.
    """
    counter = Counter(kind, {}, whole=max_fields)

    def read(content: bytes) -> ProtobufMessage | A2AError:
        try:
            content = inflated(content, max_bytes)
            counter.check(content)
            message = kind.FromString(content)
        except TooLarge as error:
            return too_many_bytes(f"the agent's response to {method} is too large: {error}")
        except TooMany:
            return too_many_fields(f"the agent's response to {method}", max_fields)
        except Broken as error:
            return unreadable(method, str(error))
        except (DecodeError, Malformed):
            return unreadable(method, "it is not what the contract says")
        if len(content) <= SMALL_BYTES and SUSPECT.search(content) is None:
            return message  # most are: to look at each field takes ten times as long as to parse them
        problem = value_problem(message)
        return unreadable(method, problem) if problem else message

    return read


def unreadable(method: str, problem: str) -> InvalidAgentResponseError:
    """Return the error for a response that cannot be used."""
    return InvalidAgentResponseError(f"the agent's response to {method} cannot be read: {problem}")


def too_many_bytes(what: str) -> ResponseTooLargeError:
    """Return the error for more bytes than the client reads, with what to do."""
    return ResponseTooLargeError(
        f"{what}; raise max_response_bytes (--max-response-bytes), or ask for less: get(…, artifacts=False), "
        "get --no-artifacts"
    )


def too_many_fields(what: str, limit: int) -> ResponseTooLargeError:
    """Return the error for more fields than the client reads."""
    return ResponseTooLargeError(
        f"{what} has more than {limit} fields; raise max_response_fields (--max-response-fields), or ask for less"
    )


def accepted(method: str, response: Any) -> Any:
    """Return the response. Raise the error that the deserializer returned in its place."""
    if isinstance(response, A2AError):
        raise response
    if response is None:  # grpc.aio's own answer to a deserializer that failed, such as for want of memory
        raise unreadable(method, "it could not be parsed")
    return response


def is_of_task(response: Any, task_id: str) -> Any:
    """Return the response. Raise InvalidAgentResponseError if it is another task than the one with this id."""
    if isinstance(response, Task) and response.id != task_id:
        raise other_task(response.id, task_id)
    return response


def other_task(found: str, task_id: str) -> InvalidAgentResponseError:
    """Return the error for a response about another task."""
    return InvalidAgentResponseError(
        f"the agent was asked for task '{one_line(task_id, MAX_ID)}' and answered with task '{one_line(found, MAX_ID)}'"
    )


KINDS_OF_CALLS = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})
"""The methods of a channel that make a callable."""


class CheckedChannel:
    """A channel that checks responses: those of the agent's service with `reader`, those of others with `inflated`.

    All else is done by the channel itself.
    """

    def __init__(self, channel: grpc.aio.Channel, settings: ClientSettings) -> None:
        self._channel = channel
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._channel, name)
        return partial(self._checked, found) if name in KINDS_OF_CALLS else found

    def _checked(
        self,
        make: Callable[..., Any],
        path: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        **options: Any,
    ) -> Any:
        """Do what a method of the channel does, with a deserializer that checks."""
        return make(path, request_serializer, self._reader(path, response_deserializer), **options)

    def _reader(self, path: str, deserializer: Any) -> Any:
        """Return what reads the responses in place of a stub's deserializer."""
        settings, (_, service, method) = self._settings, path.split("/")
        if service == SERVICE_NAME:
            kind = message_factory.GetMessageClass(SERVICE.methods_by_name[method].output_type)
            limits = {"max_bytes": settings.max_response_bytes, "max_fields": settings.max_response_fields}
            return reader(method, kind, **limits)
        deserialize = deserializer or bytes
        return lambda content: deserialize(inflated(content, settings.max_response_bytes))


# -- values that protobuf reads, and that fail later, once they are used


SMALL_BYTES = 4096
"""Size up to which looking at the bytes is faster than looking at the fields."""

SUSPECT = re.compile(
    rb"[\x11\x00].{6}[\xf0-\xff][\x7f\xff]"  # Value.number_value, a double whose exponent is all ones
    rb"|[\x08\x00][\x80-\xff]{5}"  # Timestamp.seconds, of 2^35 or more, or negative
    rb"|[\x10\x00][\x80-\xff]{4}[\x03-\xff]",  # Timestamp.nanos, of 3 * 2^28 or more, or negative
    re.DOTALL,
)
"""What the bytes of a message contain if `value_problem` finds a problem, and seldom otherwise. A tag may be encoded in
more bytes than it needs, the last of which is zero."""


class Step(NamedTuple):
    """A field of a message that holds, or leads to, a value that has to be checked."""

    name: str
    is_repeated: bool
    check: Callable[[Any], str]
    """A function that returns what is wrong with the content of the field, "" for nothing."""


def value_problem(message: Any) -> str:
    """Return what is wrong with the times and the JSON numbers in a message, with the path to it; "" for nothing.

    A time out of range ends in ValueError once it is converted, a number that is not finite in SerializeToJsonError.
    """
    for name, is_repeated, check in steps(message.__class__):
        if is_repeated:
            for place, item in enumerate(getattr(message, name)):
                if problem := check(item):
                    return f"{name}[{place}].{problem}"
        elif message.HasField(name) and (problem := check(getattr(message, name))):
            return f"{name}.{problem}"
    return ""


def time_problem(time: Any) -> str:
    """Return what keeps a Timestamp from being a time, "" for nothing."""
    if FIRST_S <= time.seconds <= LAST_S and 0 <= time.nanos < NANOS_PER_S:
        return ""
    return f"seconds is {time.seconds}, with {time.nanos} nanos: out of the range of times"


def number_problem(root: Value | Struct) -> str:
    """Return what keeps the numbers in a JSON value from being JSON, "" for nothing."""
    stack: list[Value | Struct] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Value) and not math.isfinite(node.number_value):
            return f"number_value is {node.number_value}, which is not a JSON number"
        stack.extend(children(node))
    return ""


CHECKS: dict[str, Callable[[Any], str]] = {
    "google.protobuf.Timestamp": time_problem,
    "google.protobuf.Struct": number_problem,
    "google.protobuf.Value": number_problem,
}


@cache
def steps(kind: type[ProtobufMessage]) -> tuple[Step, ...]:
    """Return the fields of a class that hold, or lead to, a value that has to be checked."""
    return tuple(_steps(kind))


def _steps(kind: type[ProtobufMessage]) -> Iterator[Step]:
    empty = kind()
    for field in kind.DESCRIPTOR.fields:
        inner = field.message_type
        if inner is None or inner.GetOptions().map_entry:  # the contract has no map that leads to such a value
            continue
        check = CHECKS.get(inner.full_name)
        if check is None and steps(message_factory.GetMessageClass(inner)):  # type: ignore[arg-type]
            check = value_problem
        if check is not None:
            yield Step(field.name, not isinstance(getattr(empty, field.name), ProtobufMessage), check)
