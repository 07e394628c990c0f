"""The messages between agents and sentinels, and what a sentinel reads of a request."""

from typing import TypeVar

from a2a_grpc_pb.sentinel_pb2 import (
    DESCRIPTOR,
    AgentFrame,
    Bye,
    Described,
    Dial,
    Drain,
    Heartbeat,
    Hello,
    LookRequest,
    LookResponse,
    PipeFrame,
    Routed,
    RoutedList,
    SentinelFrame,
    Welcome,
)
from google.protobuf.message import DecodeError, Message

from a2a_grpc.bounded import Broken, TooLarge, inflated
from a2a_grpc.errors import InvalidRequestError, ResourceExhaustedError, Violation
from a2a_grpc.logical import FORM, is_logical
from a2a_grpc.offload import LARGE_BYTES
from a2a_grpc.wire import SERVICE_NAME

SENTINEL = DESCRIPTOR.services_by_name["Sentinel"]
SENTINEL_SERVICE = SENTINEL.full_name
ATTACH = f"/{SENTINEL_SERVICE}/Attach"
PIPE = f"/{SENTINEL_SERVICE}/Pipe"
LOOK = SENTINEL.methods_by_name["Look"]
LOOK_PATH = f"/{SENTINEL_SERVICE}/{LOOK.name}"

MAX_INSTANCE_CHARS = 64
MAX_STORE_CHARS = 128

Frame = TypeVar("Frame", bound=Message)


def parsed(kind: type[Frame], raw: bytes) -> Frame:
    """Return a message of a stream, which may be compressed.

    Args:
        kind: The class of the message.
        raw: The bytes of the message, as they were sent.

    Raises:
        InvalidRequestError: The bytes are no such message.
        ResourceExhaustedError: The message has more than `LARGE_BYTES` once it is inflated.
    """
    try:
        return kind.FromString(inflated(raw, LARGE_BYTES))
    except TooLarge as error:
        raise ResourceExhaustedError(f"the {kind.DESCRIPTOR.name} is too large: {error}") from None
    except (Broken, DecodeError):
        raise InvalidRequestError(f"the bytes are no {kind.DESCRIPTOR.name}") from None


def check_hello(hello: Hello) -> None:
    """Raise InvalidRequestError if a field of what an agent says of itself is malformed.

    Args:
        hello: What the agent says of itself.
    """
    for field, is_right, wanted in (
        ("address", is_logical(hello.address), f"must be {FORM}"),
        ("instance", 0 < len(hello.instance) <= MAX_INSTANCE_CHARS, f"must have 1 to {MAX_INSTANCE_CHARS} characters"),
        ("store", len(hello.store) <= MAX_STORE_CHARS, f"must have at most {MAX_STORE_CHARS} characters"),
    ):
        if not is_right:
            raise InvalidRequestError.of(Violation(f"hello.{field}", wanted))


def tenant_of(method: str, raw: bytes) -> str:
    """Return the tenant of a request. No other field of the request is looked at.

    Args:
        method: The name of the RPC, without its service.
        raw: The bytes of the request.

    Raises:
        InvalidRequestError: The bytes are no protobuf message, or the tenant is no text.
    """
    kind = RoutedList if method == "ListTaskPushNotificationConfigs" else Routed
    try:
        return str(kind.FromString(raw).tenant)
    except DecodeError:
        raise InvalidRequestError.of(Violation("request", f"is no message of {SERVICE_NAME}/{method}")) from None


__all__ = [
    "ATTACH",
    "LOOK",
    "LOOK_PATH",
    "PIPE",
    "SENTINEL_SERVICE",
    "AgentFrame",
    "Bye",
    "Described",
    "Dial",
    "Drain",
    "Heartbeat",
    "Hello",
    "LookRequest",
    "LookResponse",
    "PipeFrame",
    "SentinelFrame",
    "Welcome",
    "check_hello",
    "parsed",
    "tenant_of",
]
