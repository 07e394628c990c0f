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
from google.protobuf.message import DecodeError

from a2a_grpc.errors import InvalidRequestError, Violation
from a2a_grpc.wire import SERVICE_NAME

SENTINEL = DESCRIPTOR.services_by_name["Sentinel"]
SENTINEL_SERVICE = SENTINEL.full_name
ATTACH = f"/{SENTINEL_SERVICE}/Attach"
PIPE = f"/{SENTINEL_SERVICE}/Pipe"
LOOK = SENTINEL.methods_by_name["Look"]
LOOK_PATH = f"/{SENTINEL_SERVICE}/{LOOK.name}"

Frame = TypeVar("Frame", AgentFrame, SentinelFrame, PipeFrame, LookRequest, Routed, RoutedList)


def parsed(kind: type[Frame], raw: bytes) -> Frame:
    """Return a message. Raise InvalidRequestError if the bytes are no such message.

    Args:
        kind: The class of the message.
        raw: The bytes of the message.
    """
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise InvalidRequestError(f"the bytes are no {kind.DESCRIPTOR.name}") from None


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
    "parsed",
    "tenant_of",
]
