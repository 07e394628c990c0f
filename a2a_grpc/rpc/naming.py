"""Find out which method a call names if gRPC does not know it, although its path may be any bytes.

Only the accept loop of grpc.aio can read the path of such a call, and a path that is not UTF-8 ends this loop (see
`accept`). So the loop of another server, which has no port, reads the paths of such calls. If a path ends this loop,
the next server takes its place.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
from grpc._cython import cygrpc

RENEW_S = 1.0
"""Seconds between two servers. Calls of this time are begun without their names, because bad paths are cheap to send.
"""


class Naming:
    """Begins calls with their names.

    Guarantees:

    - A call is begun once, with its name or without.
    - A path that is not UTF-8 ends no other call.

    Args:
        loop: The event loop.
        resolve: Returns the handler of a call by the call's details, given the name of its peer.
        begin_unnamed: Begins a call whose name is not known, given the name of its peer and gRPC's state of the call.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        resolve: "Callable[[str, grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        begin_unnamed: Callable[[str, Any], None],
    ) -> None:
        self._loop = loop
        self._resolve = resolve
        self._begin_unnamed = begin_unnamed
        self._calls: deque[tuple[str, Any]] = deque()
        self._named: deque[str] = deque()
        self._waiting: asyncio.Future[Any] | None = None
        self._reader: _PathReader | None = None
        self._renew_at = 0.0
        self._ending: set[asyncio.Task[None]] = set()

    def begin(self, peer: str, state: Any) -> None:
        """Begin a call of a method that gRPC does not know."""
        if self._reader is None:
            if self._loop.time() < self._renew_at:
                self._begin_unnamed(peer, state)
                return
            self._reader = _PathReader(self._loop, self)
        self._calls.append((peer, state))
        self._hand_over()

    async def close(self) -> None:
        """Release the other server."""
        reader, self._reader = self._reader, None
        if reader is not None:
            self._end(reader)
        if self._ending:
            await asyncio.wait(self._ending)

    def wait_for(self) -> "asyncio.Future[Any]":
        """Return the future of the next call, for the loop that reads its path."""
        self._waiting = self._loop.create_future()
        self._hand_over()
        return self._waiting

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of a call whose path was read. grpc.aio asks in the order of the calls."""
        return self._resolve(self._named.popleft(), details)

    def ended(self, reader: "_PathReader", *, is_bad_path: bool) -> None:
        """Continue without a server whose loop has ended."""
        if self._reader is not reader:
            return
        self._reader = None
        self._renew_at = self._loop.time() + RENEW_S
        self._end(reader)
        if is_bad_path and reader.last is not None:
            self._named.pop()
            self._begin_unnamed(*reader.last)
        for peer, state in self._calls:
            self._begin_unnamed(peer, state)
        self._calls.clear()

    def _hand_over(self) -> None:
        """Give the loop the next call if the loop waits for one."""
        if self._waiting is None or self._waiting.done() or not self._calls or self._reader is None:
            return
        self._reader.last = peer, state = self._calls.popleft()
        self._named.append(peer)
        self._waiting.set_result(state)

    def _end(self, reader: "_PathReader") -> None:
        """Release a server."""
        ending = self._loop.create_task(reader.end(self._waiting), name="a2a-grpc:naming")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        self._waiting = None


class _PathReader(cygrpc.AioServer):  # type: ignore[misc]  # Cython's classes have no types
    """A server without a port, whose loop reads the paths of the calls that it gets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, naming: Naming) -> None:
        super().__init__(loop, None, (naming,), (), (), None)
        self._naming = naming
        self.last: tuple[str, Any] | None = None
        """The call that the loop got last."""
        self._starting = loop.create_task(self.start(), name="a2a-grpc:naming")

    async def end(self, waiting: "asyncio.Future[Any] | None") -> None:
        """End the loop, which waits for a call, and release the server."""
        await self._starting
        if waiting is not None:
            waiting.cancel()
        await self.shutdown(None)

    async def _server_main_loop(self, server_started: "asyncio.Future[None]") -> None:
        is_bad_path = False
        try:
            await super()._server_main_loop(server_started)
        except UnicodeDecodeError:
            is_bad_path = True
        except (Exception, asyncio.CancelledError):
            pass
        self._naming.ended(self, is_bad_path=is_bad_path)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        return self._naming.wait_for()
