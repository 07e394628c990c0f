"""Bound the memory for requests that are arriving."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from a2a_grpc.bounded import Broken, TooLarge, inflated, is_compressed
from a2a_grpc.deadlines import Deadlines
from a2a_grpc.errors import A2AError, InvalidRequestError, ResourceExhaustedError
from a2a_grpc.offload import LARGE_BYTES, offload
from a2a_grpc.rpc.behaviors import behavior_of, with_behavior
from a2a_grpc.rpc.interceptors import without_interceptors
from a2a_grpc.rpc.memory import Trimmer
from a2a_grpc.rpc.shares import Shares
from a2a_grpc.rpc.traffic import ALARM_BYTES, Account, Traffic

HURRIED_S = 2.0
"""Seconds that a request may take to arrive while places are scarce: while half of all places, or of those of its
connection, are taken. For new and late connections they are scarce earlier, see `Arrivals`."""
PENALTY_S = 30.0
"""Seconds after a late request in which its connection gets only places of the first half."""
WAIT_S = 10.0
"""Seconds that a call waits for its turn to send its request."""
INFLATED_SHARE = 64
"""A compressed request may become so many times as large, or `LARGE_BYTES`. Text becomes 3 to 20 times as large."""
INFLATED_CHARGE_BYTES = ALARM_BYTES // 16
"""The charge for a compressed request that would become larger. Nothing but an attack sends many of them."""

Refuse: TypeAlias = "Callable[[Any, A2AError], Awaitable[None]]"
"""A function that ends a call, given by its context, with an error."""

Adapt: TypeAlias = "Callable[[str, grpc.RpcMethodHandler[Any, Any]], grpc.RpcMethodHandler[Any, Any]]"
"""A function that returns the handler to use in place of another one, for the full name of a method."""


class Arrivals:
    """Reads the requests of unary calls.

    grpc.aio asks for the request of a unary call before any handler runs. The bytes that have arrived stay in memory
    until the last byte is there. This class serves a unary call as one whose request is a stream. Then the handler runs
    first, and asks for the request when there is room. Until then gRPC takes only the first window of 16 KiB.

    Guarantees:

    - At most `places` requests are asked for at a time, a quarter of them for one connection.
    - A request arrives within `timeout_s`, or within two seconds if places are scarce. Otherwise its call gets
      RESOURCE_EXHAUSTED. Time in which the event loop does not run does not count. The two seconds begin again while
      the server holds the bytes of the connection, which then counts as no late one. Others are charged.
    - Connections with late requests, and new connections from which no request has arrived, share half of the places.
      So there is room for the others. The last quarter of that half is given for two seconds only. So a few connections
      whose requests do not arrive keep no new connection out.
    - Of the connections that wait for a place, the connection with the fewest places is served first.
    - A compressed request is inflated up to `max_bytes`, and not by more than `INFLATED_SHARE`. gRPC would inflate 4
      MiB from each 4 KiB, in the threads that read all connections. Messages of streams of requests are inflated up to
      `LARGE_BYTES`, since this happens in the event loop.
    """

    def __init__(self, *, places: int, timeout_s: float, max_bytes: int, refuse: Refuse, traffic: Traffic) -> None:
        self._shares = Shares(places, max(1, places // 4), is_limited=self._is_limited)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._traffic = traffic
        self._deadlines: Deadlines[asyncio.Task[Any]] = Deadlines(self._end)
        self._reading: dict[asyncio.Task[Any], tuple[Account, float]] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._late_peers: Deadlines[str] = Deadlines(lambda _: self._shares.serve())
        self._trimmer = Trimmer()
        self._loop = asyncio.get_running_loop()

    def asked_for(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
        """Return a handler that asks for the request when there is room for it, and then does what `handler` does."""
        behavior = behavior_of(handler)
        parse = handler.request_deserializer
        is_generator = inspect.isasyncgenfunction(behavior)
        is_async = is_generator or inspect.iscoroutinefunction(behavior)
        if handler.request_streaming and parse is None:
            return handler  # the sentinel inflates these messages itself, once it has explained them as they came
        if handler.request_streaming or not is_async:  # gRPC reads the request for functions of an interceptor
            return with_behavior(handler, self._refusing(behavior) if is_async else behavior, _small(parse))

        async def serve(_: object, context: Any) -> Any:
            raw = await self._read(context)
            if raw is not None:
                return await behavior(parse(raw) if parse else raw, context)
            return None

        async def serve_each(_: object, context: Any) -> None:
            raw = await self._read(context)
            if raw is not None:
                async for element in behavior(parse(raw) if parse else raw, context):
                    await context.write(element)

        if not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(serve, None, handler.response_serializer)
        return grpc.stream_stream_rpc_method_handler(
            serve_each if is_generator else serve, None, handler.response_serializer
        )

    async def _read(self, context: Any) -> bytes | None:
        """Return the request of a call; None if the call has ended."""
        peer = context.peer()
        account = self._traffic.account(peer)
        account.waiting += 1
        try:
            raw = await self._arrived(context, peer, account)
        finally:
            account.waiting -= 1
        if raw is None:
            self._trimmer.wake()
            await self._refuse(context, _too_many())
        elif raw is grpc.aio.EOF:  # most often the client has reset the call
            self._traffic.lose(peer)
            self._trimmer.wake()
            await self._refuse(context, InvalidRequestError("the call ended without a request"))
        else:
            account.arrived += 1
            account.explained += len(raw)
            content = bytes(raw)
            if not is_compressed(content):
                return content
            try:
                return await self._inflated(content, peer)
            except A2AError as error:
                refused = error
            await self._refuse(context, refused)
        return None

    async def _inflated(self, content: bytes, peer: str) -> bytes:
        """Return a compressed request as it was. Raise A2AError if the request is too large, or broken."""
        limit = self._limit(content)
        try:
            return await offload(0 if limit <= LARGE_BYTES else limit, inflated, content, limit)
        except (TooLarge, Broken) as error:
            raise self._refusal(error, peer) from None

    def _refusal(self, error: TooLarge | Broken, peer: str) -> A2AError:
        """Return the error for a compressed message that was not inflated. Charge the connection if it is too large."""
        if isinstance(error, Broken):
            return InvalidRequestError(f"the request cannot be read: {error}")
        self._traffic.charge(peer, INFLATED_CHARGE_BYTES)
        return ResourceExhaustedError(f"the compressed request is too large: {error}")

    def _refusing(self, behavior: Any) -> Any:
        """Return a behavior that refuses a call if a message of its stream of requests cannot be inflated."""

        async def serve(requests: Any, context: Any) -> Any:
            try:
                return await behavior(requests, context)
            except (TooLarge, Broken) as error:
                refused = self._refusal(error, context.peer())
            return await self._refuse(context, refused)

        async def serve_each(requests: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for element in behavior(requests, context):
                    yield element
                return
            except (TooLarge, Broken) as error:
                refused = self._refusal(error, context.peer())
            await self._refuse(context, refused)

        return serve_each if inspect.isasyncgenfunction(behavior) else serve

    async def _arrived(self, context: Any, peer: str, account: Account) -> Any:
        """Ask for a request when there is a place. Return None if there is none in time, or if the request is late."""
        if not self._shares.take(peer, 1) and not await self._shares.wait(peer, 1, WAIT_S):
            return None
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._deadlines.add(task, HURRIED_S if self._is_scarce(peer) else self._timeout_s)
        account.arriving += 1
        began = self._loop.time()
        self._reading[task] = account, began
        try:
            return await context.read()
        except asyncio.CancelledError:
            if task not in self._late:
                self._trimmer.wake()
                raise  # the client is gone
            self._late.discard(task)
            if account.held_at < began:
                self._late_peers.add(peer, PENALTY_S)
                self._traffic.lose(peer)
            task.uncancel()
            return None
        finally:
            self._deadlines.remove(task)
            del self._reading[task]
            self._shares.give_back(peer, 1)
            account.arriving -= 1

    def _limit(self, content: bytes) -> int:
        """Return the size that a message may have once it is inflated."""
        return min(self._max_bytes, max(LARGE_BYTES, INFLATED_SHARE * len(content)))

    def _is_limited(self, peer: str) -> bool:
        return peer in self._late_peers or not self._traffic.account(peer).arrived

    def _is_scarce(self, peer: str) -> bool:
        shares = self._shares
        if self._is_limited(peer) and 8 * shares.held > 3 * shares.total:
            return True
        return 2 * shares.held > shares.total or 2 * shares.held_by(peer) > shares.per_peer

    def _end(self, late: "asyncio.Task[Any]") -> None:
        """End a call whose request is late, unless the server itself has lately held the bytes of its connection."""
        account, began = self._reading[late]
        now = self._loop.time()
        if now - account.held_at < HURRIED_S and now - began < self._timeout_s:
            self._deadlines.add(late, HURRIED_S)
            return
        self._late.add(late)
        late.cancel()


class Asking(grpc.aio.ServerInterceptor):
    """Adapts the handlers of a server with interceptors. The interceptors see the handlers as they were before."""

    def __init__(self, adapt: Adapt) -> None:
        self._adapt = adapt

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        return handler and self._adapt(handler_call_details.method, without_interceptors(handler))


def _small(parse: "Callable[[bytes], Any] | None") -> "Callable[[bytes], Any]":
    """Return a deserializer for messages that may be compressed. It raises TooLarge beyond `LARGE_BYTES`, or Broken."""

    def read(raw: bytes) -> Any:
        content = inflated(raw, LARGE_BYTES)
        return parse(content) if parse else content

    return read


def _too_many() -> ResourceExhaustedError:
    return ResourceExhaustedError("too many requests are on their way in; send yours again", retry_after_s=1.0)
