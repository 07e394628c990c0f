"""One other sentinel of the store, to which calls are passed on."""

import time
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.client.origin import UNREACHED
from a2a_grpc.errors import A2AError
from a2a_grpc.protocol import Key
from a2a_grpc.sentinel.direct import Direct
from a2a_grpc.sentinel.errors import SentinelUnreachedError
from a2a_grpc.sentinel.upstream import RawStub, has_no_details
from a2a_grpc.sentinel.wire import LOOK, LOOK_PATH, LookRequest

DOWN_S = 2.0
"""Seconds for which a sentinel that could not be reached gets no calls."""
LOOK_S = 5.0
"""Seconds for a sentinel to answer that it looks at an address."""


class PeerStub(RawStub):
    """The methods that one sentinel calls at another one."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        look: Any = channel.unary_unary(LOOK_PATH)
        setattr(self, LOOK.name, look)


class Peer(Direct):
    """Makes calls to agents at another sentinel."""

    prefix = "peer"
    stub = PeerStub
    down_until = 0.0
    """The monotonic time until which the sentinel gets no calls."""
    used_at = 0.0
    """The monotonic time of the last call."""

    def failure(self, error: grpc.aio.AioRpcError, cuts: int) -> A2AError | None:
        """Return the error for a call whose connection was lost, or could not be opened. None for other failures."""
        if has_no_details(error) and UNREACHED.match(error.details() or ""):
            self.down_until = time.monotonic() + DOWN_S
            return SentinelUnreachedError()
        return super().failure(error, cuts)

    async def look(self, address: str, mark: str) -> None:
        """Ask the sentinel to look whether its agents at an address were replaced. Raise AioRpcError if this fails.

        Args:
            address: The logical address.
            mark: The mark of the call.
        """
        assert self._pool is not None
        request = LookRequest(address=address).SerializeToString()
        await self._pool.unary(LOOK.name, request, metadata=((Key.HOP, mark),), timeout=LOOK_S)
