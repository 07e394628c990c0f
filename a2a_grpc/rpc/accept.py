"""A grpc.aio server whose accept loop survives every path that a call can name.

grpc.aio decodes the path of each call in the loop that accepts calls. Since 1.84 a path that is not UTF-8 ends this
loop, and the server accepts no further calls. gRPC's core needs no path to tell apart the calls of registered methods.
So each method is registered here, with a loop of its own. A call of any other path gets its answer without a look at
the path.

This overrides two methods of grpc.aio's `AioServer`. If a version of grpc.aio has other methods, its own loop accepts
the calls, and `AcceptingServer.ended` reports the end of this loop.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from grpc._cython import cygrpc
from grpc.aio import _server as grpc_aio_server

from a2a_grpc.config import GRPC_MOST
from a2a_grpc.forking import FORK
from a2a_grpc.rpc.entries import EntryCounter
from a2a_grpc.rpc.limits import counted_bytes
from a2a_grpc.rpc.methods import Methods
from a2a_grpc.rpc.naming import Naming
from a2a_grpc.rpc.reset import outer_task
from a2a_grpc.rpc.traffic import Traffic, calling_peer
from a2a_grpc.rpc.turns import Turns
from a2a_grpc.rpc.wakeups import gather_wakeups

logger = logging.getLogger("a2a_grpc.rpc")

KNOWN_SIGNATURES = {
    "_handle_rpc": ("method_name", "method_resolver", "interceptors", "rpc_state", "loop", "concurrency_exceeded"),
    "_schedule_rpc_coro": ("rpc_coro", "rpc_state", "loop", "method_name"),
}
"""The arguments of the functions of grpc.aio 1.84 and 1.85 that serve an accepted call."""

LAST_CALLS_S = 1.0
"""Seconds that the tasks of calls have to end after gRPC has stopped."""

SIDE_BY_SIDE = 32
"""The largest number of tasks that accept calls of one method. gRPC gives each task a call at once."""


class AcceptingServer(grpc_aio_server.Server):
    """A grpc.aio server of the methods of one port.

    Guarantees:

    - With the versions of grpc.aio that `accepts_any_path` knows, no path ends the accept loop.
    - If the accept loop ends for another reason, `ended` has the reason. Calls in progress go on, and `stop` works.
    - gRPC's core writes into no memory that was freed, also after the end of the accept loop.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, Any]],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        *,
        traffic: Traffic | None = None,
        max_streams: int = GRPC_MOST,
    ) -> None:
        # The constructor of the parent would make another AioServer, which leaks if it never starts.
        self._loop = cygrpc.get_working_loop()
        augmented = grpc_aio_server._augment_channel_arguments(tuple(options), None)
        self._server = _AioServer(self._loop, augmented, tuple(interceptors), traffic or Traffic(), max_streams)
        gather_wakeups(self._loop)
        FORK.uses_grpc(self)

    async def stop(self, grace: float | None) -> None:
        """Stop, as `grpc.aio.Server.stop` does. Then wait for the tasks of calls that gRPC has ended."""
        await super().stop(grace)
        if calls := self._server.calls:
            await asyncio.wait(list(calls), timeout=LAST_CALLS_S)
        if self._server.naming is not None:
            await self._server.naming.close()
        FORK.done(self)

    @property
    def ended(self) -> "asyncio.Future[BaseException | None]":
        """A future that is done when the accept loop ends. Its exception is the reason. After `stop` its result is
        None."""
        ended: asyncio.Future[BaseException | None] = self._server.ended
        return ended

    def serve(self, methods: Methods) -> None:
        """Set the methods to serve, before `start`."""
        self._server.serve(methods)

    @property
    def turns(self) -> Turns:
        """The accepted calls that were not begun yet."""
        turns: Turns = self._server.turns
        return turns

    def drop_calls(self) -> None:
        """Begin no further call. gRPC cancels the calls that come."""
        self.turns.only(lambda peer: False)
        self.turns.drop(())

    async def wait_for_calls(self, timeout_s: float) -> None:
        """Wait until no call is open or waits for its turn, and all answers are written. Wait at most `timeout_s`
        seconds."""
        end = self._loop.time() + timeout_s
        await self.turns.wait()
        while (calls := list(self._server.calls)) and (left_s := end - self._loop.time()) > 0:
            await asyncio.wait(calls, timeout=left_s)
            await self.turns.wait()


def accepts_any_path() -> bool:
    """Return True if this version of grpc.aio has the methods that are overridden here."""
    return hasattr(cygrpc.AioServer, "_make_request_call_future") and all(
        getattr(getattr(cygrpc, name, None), "__code__", None) is not None
        and _parameters(getattr(cygrpc, name)) == parameters
        for name, parameters in KNOWN_SIGNATURES.items()
    )


def _parameters(function: Any) -> tuple[str, ...]:
    code = function.__code__
    return tuple(code.co_varnames[: code.co_argcount])


class _AioServer(cygrpc.AioServer):  # type: ignore[misc]  # Cython's classes have no types
    """The part of a server that grpc.aio writes in Cython."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: tuple[tuple[str, Any], ...],
        interceptors: tuple[grpc.aio.ServerInterceptor, ...],
        traffic: Traffic,
        max_streams: int,
    ) -> None:
        super().__init__(loop, None, (), interceptors, options, None)
        self._running_loop = loop
        self._ours = interceptors
        self._methods = Methods({})
        self._traffic = traffic
        self.calls: set[asyncio.Task[None]] = set()
        self._accepting: set[asyncio.Task[Any]] = set()
        self._side_by_side: Counter[bytes | None] = Counter()
        self.ended: asyncio.Future[BaseException | None] = loop.create_future()
        self.naming: Naming | None = None
        self._entries = EntryCounter(self, loop) if accepts_any_path() else None
        self.turns = Turns(loop, self._begin, traffic=traffic, max_line=2 * max_streams)

    def serve(self, methods: Methods) -> None:
        self._methods = methods
        if methods.needs_names and accepts_any_path() and not self._ours:
            self.naming = Naming(self._running_loop, self._resolved, self._begin_unnamed)
        if accepts_any_path():
            self.add_registered_method_handlers(dict.fromkeys(methods.names))
        else:
            self.add_generic_rpc_handlers((methods,))

    async def _server_main_loop(self, server_started: "asyncio.Future[None]") -> None:
        """Run the loop of grpc.aio. Return when it ends, also after an error, because `shutdown` waits for the end."""
        error: BaseException | None = None
        try:
            await super()._server_main_loop(server_started)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised.with_traceback(None)
        if not self.ended.done():
            self.ended.set_result(error)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """Return a future for the loop of grpc.aio to wait for, while tasks accept the calls.

        The loop cancels what it waits for when it ends. If this were the request for a call, its memory would be freed,
        and gRPC's core would write into it when the server stops. So the loop gets a future, and not the tasks. The
        tasks end when the server stops, and accept calls until then.
        """
        waited_for: asyncio.Future[Any] = self._running_loop.create_future()
        if accepts_any_path():
            for _ in range(2):  # two calls in one round of the event loop mean that more are waiting
                self._accept_beside(method, waited_for)
        else:
            self._watch(super()._make_request_call_future(method), waited_for)
        return waited_for

    def _accept_beside(self, method: bytes | None, waited_for: "asyncio.Future[Any]") -> None:
        """Start a further task that accepts calls of a method."""
        self._side_by_side[method] += 1
        task = self._running_loop.create_task(self._accept(method, waited_for), name=f"accept {method!r}")
        self._watch(task, waited_for)

    def _watch(self, task: "asyncio.Task[Any]", waited_for: "asyncio.Future[Any]") -> None:
        self._accepting.add(task)
        task.add_done_callback(lambda done: self._accepted(done, waited_for))

    def _accepted(self, task: "asyncio.Task[Any]", waited_for: "asyncio.Future[Any]") -> None:
        """Pass the end of accepting to the loop of grpc.aio, or to the log if that loop has ended before."""
        self._accepting.discard(task)
        if task.cancelled():
            waited_for.cancel()
        elif (error := task.exception()) is None:
            if not waited_for.done():
                waited_for.set_result(task.result())
        else:
            if not waited_for.done():
                waited_for.set_exception(error)
                waited_for.exception()  # asyncio would log that nothing has looked at the exception
            if self.ended.done() and not isinstance(error, cygrpc._RequestCallError):
                logger.error("accepting a call failed", exc_info=error)

    async def _accept(self, method: bytes | None, waited_for: "asyncio.Future[Any]") -> None:
        """Accept calls of a registered method until the server stops. None means all other methods.

        If several calls come in one round of the event loop, a further task accepts calls, too.
        """
        name = "" if method is None else method.decode()
        while True:
            try:
                state = await (self._request_call() if method is None else self._request_registered_call(method))
            except cygrpc._RequestCallError:
                if not self.is_running():
                    raise  # the loop of grpc.aio expects it
                continue
            peer = cygrpc._ServicerContext(state, None, None, self._running_loop).peer()
            if not self.turns.is_open(peer):
                del state  # gRPC cancels the call and frees its memory
                continue
            entries = self._entries.count(state) if self._entries else 0
            if self._methods.is_bomb(entries, is_attacked=self.turns.is_attacked):
                del state
                self._methods.charge(peer, entries)
                continue
            self.turns.add(peer, name, state)
            if self.turns.is_crowded and self._side_by_side[method] < SIDE_BY_SIDE:
                self._accept_beside(method, waited_for)

    def _begin(self, peer: str, name: str, state: Any) -> None:
        """Serve an accepted call in a task of its own."""
        if not name and self.naming is not None:
            self.naming.begin(peer, state)
            return
        self._serve(peer, name, state)

    def _begin_unnamed(self, peer: str, state: Any) -> None:
        """Serve a call whose name cannot be read."""
        self._serve(peer, "", state)

    def _resolved(self, peer: str, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of a call whose name was read."""
        calling_peer.set(peer)
        return self._methods.service(details)

    def _serve(self, peer: str, name: str, state: Any) -> None:
        call = _Accepted(self._methods, peer)
        serving = cygrpc._handle_rpc(name, call, self._ours, state, self._running_loop, False)
        call.outer = task = self._running_loop.create_task(
            cygrpc._schedule_rpc_coro(serving, state, self._running_loop, name), name="rpc_task"
        )
        self.calls.add(task)  # the event loop does not hold it
        task.add_done_callback(lambda done: self._served(done, peer, state, call.metadata_bytes))

    def _served(self, task: "asyncio.Task[None]", peer: str, state: Any, metadata_bytes: int) -> None:
        """Mark the error of a call as read, so that asyncio does not log it. gRPC raises such an error if a client has
        left.

        gRPC has freed the call by now, so only its status may be read.
        """
        self.calls.discard(task)
        if cygrpc._ServicerContext(state, None, None, self._running_loop).done():
            self._traffic.answered(peer)
        else:
            self._traffic.lose(peer)
            self._methods.unanswered(peer, metadata_bytes)
        if not task.cancelled() and (error := task.exception()) is not None:
            level = logging.DEBUG if isinstance(error, cygrpc.ExecuteBatchError) else logging.ERROR
            logger.log(level, "serving a call failed", exc_info=error)


class _Accepted:
    """An accepted call. grpc.aio asks this object for the call's handler."""

    __slots__ = ("_methods", "_peer", "metadata_bytes", "outer")

    def __init__(self, methods: Methods, peer: str) -> None:
        self._methods = methods
        self._peer = peer
        self.metadata_bytes = 0
        """The size in bytes of what the caller sent, or 0 until gRPC asks for the handler."""
        self.outer: asyncio.Task[None] | None = None
        """The task that owns the call. It starts another task, which asks for the handler and runs it."""

    def resolve_handler(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        outer_task.set(self.outer)
        calling_peer.set(self._peer)
        handler = self._methods.service(details)
        self.metadata_bytes = counted_bytes.get()
        return handler
