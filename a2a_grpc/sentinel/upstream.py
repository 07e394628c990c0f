"""An agent to which a sentinel passes calls on: its connections, and the calls that are open on them."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.client.origin import UNREACHED
from a2a_grpc.client.pool import Pool
from a2a_grpc.errors import A2AError, ResourceExhaustedError
from a2a_grpc.protocol import STATUS_DETAILS
from a2a_grpc.sentinel.described import Description
from a2a_grpc.sentinel.errors import AgentGoneError
from a2a_grpc.wire import SERVICE, SERVICE_NAME

CUT = frozenset([
    grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL,
])  # fmt: skip
"""The statuses that gRPC gives to calls whose connection has ended."""


class RawStub:
    """The methods of the A2A service on one channel, with requests and responses as bytes.

    A method that the service does not have is one with a stream of responses, which may also be a single one.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        for method in SERVICE.methods:
            make: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
            setattr(self, method.name, make(f"/{SERVICE_NAME}/{method.name}"))

    def __getattr__(self, name: str) -> Any:
        return self._channel.unary_stream(f"/{SERVICE_NAME}/{name}")


class Upstream:
    """Makes calls to one agent, and counts the open ones.

    Guarantees:

    - No more than `max_calls` calls are open.
    - A call that ends because its connection was lost is distinguished from one that the agent has ended.

    Args:
        address: The logical address of the agent.
        max_calls: The number of calls that may be open at the same time.

    Attributes:
        instance: The random name of the process of the agent.
        owner: The owner of the agent's principal, to whom the address belongs.
        store: The name of the task store of the agent; empty if the agent shares the store with no other agent.
        replaces: True if the agent takes the place of others at its address.
        description: The card of the agent; None if it is not known.
    """

    instance = ""
    owner = ""
    store = ""
    replaces = False
    description: Description | None = None

    def __init__(self, address: str, *, max_calls: int) -> None:
        self.address = address
        self.takes_calls = True
        """False once the agent gets no new calls."""
        self.is_gone = False
        """True once the agent is gone."""
        self.cuts = 0
        """The number of connections that have ended."""
        self.open_calls = 0
        self.since = time.monotonic()
        """When the route or the first tunnel of the agent was made, by the clock of this process."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._max_calls = max_calls
        self._pool: Pool | None = None

    def begin(self, method: str, request: bytes, **options: Any) -> Any:
        """Begin a call. Return gRPC's call, which counts as open until `end`.

        Raises ResourceExhaustedError if too many calls are open.
        """
        assert self._pool is not None
        if self.open_calls >= self._max_calls:
            raise ResourceExhaustedError(f"{self._max_calls} calls to this agent are open, the limit", retry_after_s=1)
        call = self._pool.begin(method, request, **options)
        self.open_calls += 1
        self._idle.clear()
        return call

    def end(self, call: Any) -> None:
        """Cancel a call that `begin` has returned, if it has not ended."""
        assert self._pool is not None
        self.open_calls -= 1
        if not self.open_calls:
            self._idle.set()
        self._pool.end(call)

    async def finish(self, grace_s: float) -> None:
        """Wait until the calls in progress have ended, for `grace_s` at most."""
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """End all calls, and close the connections."""
        self.is_gone, self.takes_calls = True, False
        if self._pool is not None:
            await self._pool.close()

    def failure(self, error: grpc.aio.AioRpcError, cuts: int) -> A2AError | None:
        """Return the error for a call whose connection was lost, or could not be opened. None for other failures.

        Args:
            error: The failure of the call.
            cuts: The value of `cuts` when the call began.
        """
        if not has_no_details(error):
            return None
        is_cut = self.is_gone or self.cuts != cuts or UNREACHED.match(error.details() or "") is not None
        return AgentGoneError() if is_cut else None


def has_no_details(error: grpc.aio.AioRpcError) -> bool:
    """Return True if gRPC itself may have made the status of a call: an agent sends details with such statuses."""
    trailers: Iterable[tuple[str, Any]] = error.trailing_metadata() or ()
    return error.code() in CUT and not any(key == STATUS_DETAILS for key, _ in trailers)
