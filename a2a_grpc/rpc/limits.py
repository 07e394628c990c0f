"""Limit the metadata of a call before its request is awaited."""

from collections.abc import Sequence
from contextvars import ContextVar
from itertools import chain
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.rpc.status import abort, to_status
from a2a_grpc.rpc.traffic import ALARM_BYTES, CALL_BYTES, Traffic, calling_peer

ENTRY_BYTES = 32
"""The bytes that HPACK counts for each entry of a header list, in addition to name and value (RFC 7541 section 4.1)."""
ENTRY_MEMORY_BYTES = 160
"""The memory that gRPC takes for an entry, in addition to name and value: two slices in the call, and an element of the
array for this process."""

CUT_BYTES = 600
"""The difference to the limit from which metadata may be the rest of larger ones, since gRPC counts more than it gives.
"""
CUT_CHARGE_BYTES = ALARM_BYTES // 4

counted_bytes: ContextVar[int] = ContextVar("a2a_grpc size of the metadata of the call", default=0)
"""In the task of a handler: the size of the call's metadata as HPACK counts it. 0 if there is no limit."""


def _counted(metadata: Sequence[tuple[str, str | bytes]]) -> int:
    """Return the size of metadata as HPACK counts it."""
    return sum(map(len, chain.from_iterable(metadata))) + ENTRY_BYTES * len(metadata)


class MetadataLimit:
    """Refuses the calls that carry too much metadata.

    gRPC's own limit begins when the client acknowledges the SETTINGS of the server. Before that the limit is 16 MiB for
    each call. The calls of an HPACK bomb held this much memory until their requests were sent. This refusal does not
    wait for the request.
    """

    def __init__(self, max_bytes: int, traffic: Traffic) -> None:
        self._max_bytes = max_bytes
        self._traffic = traffic
        self.refusal: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self._refuse)
        """The handler for calls whose metadata is too large."""

    def is_exceeded(self, metadata: Sequence[tuple[str, str | bytes]]) -> bool:
        """Return True if names and values together are larger than the limit.

        In this case charge the connection, before further calls of the connection are begun. Otherwise count the
        metadata as bytes that the connection had a reason to send.
        """
        counted = _counted(metadata)
        counted_bytes.set(counted)
        size = counted - ENTRY_BYTES * len(metadata)
        is_exceeded = size > self._max_bytes
        if peer := calling_peer.get():
            account = self._traffic.account(peer)
            account.begun += 1
            if is_exceeded:
                self._traffic.charge(peer, counted)
            else:
                account.explained += counted + CALL_BYTES
        return is_exceeded

    def is_bomb(self, entries: int, *, is_attacked: bool) -> bool:
        """Return True if metadata of so many entries are over the limit, and must not be decoded.

        Without an attack, only a bomb is not decoded, so that other calls over the limit get a status.
        """
        is_over = entries * ENTRY_BYTES > self._max_bytes
        return is_over and (is_attacked or entries * ENTRY_MEMORY_BYTES >= ALARM_BYTES)

    def charge(self, peer: str, entries: int) -> None:
        """Charge a connection for a call that is not begun, because its metadata are a bomb."""
        self._traffic.account(peer).begun += 1
        self._traffic.charge(peer, entries * ENTRY_MEMORY_BYTES)

    def unanswered(self, peer: str, counted: int) -> None:
        """Charge a call that ended without a status if its metadata are as large as metadata can be.

        gRPC decodes larger metadata, gives what is within the limit, and ends the call. Calls of HPACK bombs end like
        this.
        """
        if counted > self._max_bytes - CUT_BYTES:
            self._traffic.charge(peer, CUT_CHARGE_BYTES)

    async def _refuse(self, requests: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        error = ResourceExhaustedError(f"the call's metadata is larger than the limit of {self._max_bytes} bytes")
        await abort(context, to_status(error))
