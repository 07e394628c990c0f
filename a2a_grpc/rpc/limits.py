"""The limit of a call's metadata, applied before the call's request is awaited."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.rpc.status import abort, to_status


class MetadataLimit:
    """Refuses the calls that carry too much metadata.

    gRPC's own limit begins when the client acknowledges the server's SETTINGS. Before that the limit is 16 MiB a call,
    and the calls of an HPACK bomb held as much each for as long as their requests were not sent. This refusal does not
    wait for the request.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.refusal: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._refuse)
        """The handler for calls whose metadata is too large."""

    def is_exceeded(self, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
        """Return True if names and values together are larger than the limit."""
        return sum(map(len, chain.from_iterable(metadata))) > self._max_bytes

    async def _refuse(self, requests: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        error = ResourceExhaustedError(f"the call's metadata is larger than the limit of {self._max_bytes} bytes")
        await abort(context, to_status(error))
