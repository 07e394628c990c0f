"""Find the handler of a call, and keep the metadata that gRPC has read for this."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeAlias

import grpc

from a2a_grpc.rpc.limits import MetadataLimit, counted_bytes

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"

KEPT_METADATA_BYTES = 4096
"""The size up to which the metadata of a call are kept. Larger ones are read from gRPC again when they are needed. A
call whose request never comes would hold them, and its connection may have a hundred such calls."""

_metadata: ContextVar[Metadata] = ContextVar("a2a_grpc metadata of the call", default=())


def invocation_metadata(context: Context) -> Metadata:
    """Return the metadata of the call. Small ones are kept since gRPC has read them to find the method."""
    return _metadata.get() or tuple(context.invocation_metadata() or ())


class Methods(grpc.GenericRpcHandler):
    """The handlers of the methods of a port.

    Args:
        handlers: The handlers, by the full names of their methods.
        other: The handler of calls of all other methods. If None, these calls get UNIMPLEMENTED.
        limit: The limit of metadata. It handles calls that exceed it.
        named: A function that returns the handler of another method by its name, or None if `other` is to handle it.
    """

    def __init__(
        self,
        handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]",
        other: "grpc.RpcMethodHandler[Any, Any] | None" = None,
        limit: MetadataLimit | None = None,
        named: "Callable[[str], grpc.RpcMethodHandler[Any, Any] | None] | None" = None,
    ) -> None:
        self._handlers = handlers
        self._named = named
        self._other = other
        self._limit = limit

    @property
    def names(self) -> "Iterable[str]":
        return self._handlers.keys()

    @property
    def needs_names(self) -> bool:
        """True if the name of any other method has to be found out."""
        return self._named is not None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        metadata = handler_call_details.invocation_metadata
        if self._limit is not None and self._limit.is_exceeded(metadata):
            return self._limit.refusal
        if counted_bytes.get() <= KEPT_METADATA_BYTES:
            _metadata.set(metadata)  # each call is a task, with a context of its own
        name = handler_call_details.method
        found = self._handlers.get(name)
        if found is None and self._named is not None:
            found = self._named(name)
        return found or self._other

    def is_bomb(self, entries: int, *, is_attacked: bool) -> bool:
        """Return True if a call has so many metadata entries that it must not be begun."""
        return self._limit is not None and self._limit.is_bomb(entries, is_attacked=is_attacked)

    def charge(self, peer: str, entries: int) -> None:
        """Charge a connection for a call that is not begun, because its metadata have too many entries."""
        if self._limit is not None:
            self._limit.charge(peer, entries)

    def unanswered(self, peer: str, metadata_bytes: int) -> None:
        """Note a call that ended without a status, because its client, or gRPC itself, has ended it."""
        if self._limit is not None:
            self._limit.unanswered(peer, metadata_bytes)
