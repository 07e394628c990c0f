"""The limit of a call's metadata, applied before the call's request is awaited."""

from collections.abc import Sequence
from contextvars import ContextVar
from itertools import chain
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.rpc.status import abort, to_status
from a2a_grpc.rpc.traffic import Traffic, calling_peer

ENTRY_BYTES = 32
"""What HPACK counts for each entry of a header list, beside its name and its value (RFC 7541 section 4.1)."""

_size: ContextVar[int] = ContextVar("a2a_grpc bytes of the call's metadata", default=0)


def metadata_bytes() -> int:
    """Return the size of the metadata of the current call."""
    return _size.get()


class MetadataLimit:
    """Refuses the calls that carry too much metadata.

    gRPC's own limit begins when the client acknowledges the server's SETTINGS. Before that the limit is 16 MiB a call,
    and the calls of an HPACK bomb held as much each for as long as their requests were not sent. This refusal does not
    wait for the request.
    """

    def __init__(self, max_bytes: int, traffic: Traffic) -> None:
        self._max_bytes = max_bytes
        self._traffic = traffic
        self.refusal: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._refuse)
        """The handler for calls whose metadata is too large."""

    def is_exceeded(self, metadata: Sequence[tuple[str, str | bytes]]) -> bool:
        """Return True if names and values together are larger than the limit.

        The caller's connection is charged then, before further calls of the connection are begun.
        """
        size = sum(map(len, chain.from_iterable(metadata)))
        counted = size + ENTRY_BYTES * len(metadata)
        _size.set(counted)
        if size <= self._max_bytes:
            return False
        if peer := calling_peer.get():
            self._traffic.charge(peer, counted)
        return True

    async def _refuse(self, requests: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        error = ResourceExhaustedError(f"the call's metadata is larger than the limit of {self._max_bytes} bytes")
        await abort(context, to_status(error))
