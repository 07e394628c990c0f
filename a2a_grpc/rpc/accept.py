"""A grpc.aio server whose accept loop survives every path that a call can name.

grpc.aio decodes the path of each call in the loop that accepts calls. Since 1.84 a path that is not UTF-8 ends that
loop, and nothing is accepted any more. The core tells calls of registered methods apart by itself, so their paths need
no decoding. Therefore every method is registered here, with a loop of its own, and a call of any other path is answered
without a look at the path.

This overrides two methods of grpc.aio's `AioServer`. If a version of grpc.aio has other methods, its own loop serves,
and `AcceptingServer.ended` tells when that loop ends.
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

from a2a_grpc.forking import FORK
from a2a_grpc.rpc.calls import Methods
from a2a_grpc.rpc.limits import counted_bytes
from a2a_grpc.rpc.naming import Naming
from a2a_grpc.rpc.options import UNLIMITED
from a2a_grpc.rpc.reset import outer_task
from a2a_grpc.rpc.traffic import Traffic, calling_peer
from a2a_grpc.rpc.turns import Turns

logger = logging.getLogger("a2a_grpc.rpc")

KNOWN_SIGNATURES = {
    "_handle_rpc": ("method_name", "method_resolver", "interceptors", "rpc_state", "loop", "concurrency_exceeded"),
    "_schedule_rpc_coro": ("rpc_coro", "rpc_state", "loop", "method_name"),
}
"""What the functions of grpc.aio 1.84 and 1.85 take that serve an accepted call."""

SIDE_BY_SIDE = 32
"""Tasks that accept calls of one method, at most. gRPC hands over a call to each without waiting for the event loop."""


class AcceptingServer(grpc_aio_server.Server):
    """A grpc.aio server of the methods of one port.

    Guarantees:

    - With the versions of grpc.aio that `accepts_any_path` knows, no path ends the accept loop.
    - If the accept loop ends nevertheless, `ended` has the reason, calls in progress go on, and `stop` works as usual.
    - gRPC's core writes into no memory that was freed, whatever ends the accept loop.
    """

    def __init__(
        self,
        options: Sequence[tuple[str, Any]],
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        *,
        traffic: Traffic | None = None,
        max_streams: int = UNLIMITED,
    ) -> None:
        # Not the parent's: it would make an AioServer of its own, and those that never start are leaked.
        self._loop = cygrpc.get_working_loop()
        augmented = grpc_aio_server._augment_channel_arguments(tuple(options), None)
        self._server = _AioServer(self._loop, augmented, tuple(interceptors), traffic or Traffic(), max_streams)
        FORK.uses_grpc(self)

    async def stop(self, grace: float | None) -> None:
        """As grpc.aio.Server.stop."""
        await super().stop(grace)
        if self._server.naming is not None:
            await self._server.naming.close()
        FORK.done(self)

    @property
    def ended(self) -> "asyncio.Future[BaseException | None]":
        """Done once the accept loop has ended, with the exception that ended it, or None after `stop`."""
        ended: asyncio.Future[BaseException | None] = self._server.ended
        return ended

    def serve(self, methods: Methods) -> None:
        """Set the methods to serve, before `start`."""
        self._server.serve(methods)

    @property
    def turns(self) -> Turns:
        """The accepted calls that wait to be begun."""
        turns: Turns = self._server.turns
        return turns

    async def wait_for_calls(self, timeout_s: float) -> None:
        """Wait until no call is open or waits for its turn, and all answers are written; or for `timeout_s`."""
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
        """Run grpc.aio's loop. Return when it ends, whatever ends it: `shutdown` could not complete after an error."""
        error: BaseException | None = None
        try:
            await super()._server_main_loop(server_started)
        except (Exception, asyncio.CancelledError) as raised:
            error = raised.with_traceback(None)
        if not self.ended.done():
            self.ended.set_result(error)

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """Return what grpc.aio's loop waits for: not one call of the method, but tasks that serve all of them.

        grpc.aio's loop cancels what it waits for when it ends. The core then still holds pointers into the request for
        a call, and writes to them when the server stops; canceling the request would free that memory. So the loop gets
        a future, not the tasks. They end when the server stops, and serve calls until then.
        """
        waited_for: asyncio.Future[Any] = self._running_loop.create_future()
        if accepts_any_path():
            for _ in range(2):  # two in one round of the event loop tell that more wait
                self._accept_beside(method, waited_for)
        else:
            self._watch(super()._make_request_call_future(method), waited_for)
        return waited_for

    def _accept_beside(self, method: bytes | None, waited_for: "asyncio.Future[Any]") -> None:
        """Accept calls of a method in a further task."""
        self._side_by_side[method] += 1
        task = self._running_loop.create_task(self._accept(method, waited_for), name=f"accept {method!r}")
        self._watch(task, waited_for)

    def _watch(self, task: "asyncio.Task[Any]", waited_for: "asyncio.Future[Any]") -> None:
        self._accepting.add(task)
        task.add_done_callback(lambda done: self._accepted(done, waited_for))

    def _accepted(self, task: "asyncio.Task[Any]", waited_for: "asyncio.Future[Any]") -> None:
        """Pass on how accepting ended, to grpc.aio's loop or, if that has ended before, to the log."""
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
        """Accept calls of a registered method, or of all other methods if None, until the server stops.

        If several calls come in one round of the event loop, a further task accepts them beside this one.
        """
        name = "" if method is None else method.decode()
        while True:
            try:
                state = await (self._request_call() if method is None else self._request_registered_call(method))
            except cygrpc._RequestCallError:
                if not self.is_running():
                    raise  # grpc.aio's loop expects it
                continue
            peer = cygrpc._ServicerContext(state, None, None, self._running_loop).peer()
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
        """Look at what serving a call raised, so that asyncio does not log it; gRPC fails so once a client has gone.

        By now gRPC has freed the call: nothing but its status may be read from the state.
        """
        self.calls.discard(task)
        if cygrpc._ServicerContext(state, None, None, self._running_loop).done():
            self._traffic.answered(peer)
        else:
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
        """The size of what the caller sent, which may be too much to keep; 0 until gRPC asks for the handler."""
        self.outer: asyncio.Task[None] | None = None
        """The task that owns the call. The task that asks for the handler, and runs it, is started by this one."""

    def resolve_handler(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        outer_task.set(self.outer)
        calling_peer.set(self._peer)
        handler = self._methods.service(details)
        self.metadata_bytes = counted_bytes.get()
        return handler
