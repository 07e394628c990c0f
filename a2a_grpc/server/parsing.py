"""Parse requests, large ones in steps."""

from collections.abc import Iterator
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc import piecewise
from a2a_grpc.errors import InvalidRequestError, Violation

Request = TypeVar("Request", bound=ProtobufMessage)


def parse(kind: type[Request], raw: bytes) -> Request:
    """Return the request, without fields that the contract does not know (WIRE-5).

    Raises:
        InvalidRequestError: The bytes are no such message, or the message is nested deeper than protobuf reads.
    """
    request = kind()
    try:
        request.ParseFromString(raw)
    except DecodeError:
        raise unreadable(kind) from None
    request.DiscardUnknownFields()
    return request


def parsing(request: ProtobufMessage, raw: bytes) -> Iterator[None]:
    """Do what `parse` does, in steps. The request has to be empty."""
    try:
        yield from piecewise.parsing(request, raw)
    except DecodeError:
        raise unreadable(type(request)) from None
    request.DiscardUnknownFields()


def unreadable(kind: type[ProtobufMessage]) -> InvalidRequestError:
    """Return the error for bytes that are no message of this kind."""
    name = kind.DESCRIPTOR.name
    return InvalidRequestError.of(
        Violation(name, f"the request is not a valid {name}: malformed, not UTF-8, or nested too deeply")
    )
