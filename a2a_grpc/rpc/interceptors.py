"""Serve interceptors of other libraries: streams that can be iterated, and a server that instrumentations find.

In this package the handler of a stream is a coroutine that writes. Interceptors for telemetry iterate over what a
handler returns.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from functools import partial
from types import coroutine
from typing import Any

import grpc
import grpc.aio
from grpc.aio import _server as grpc_aio_server

from a2a_grpc.rpc.behaviors import behavior_of, with_behavior

INSTRUMENTATION = "opentelemetry.instrumentation.grpc"

Behavior = Callable[[Any, Any], Awaitable[Any]]


def instrumented(
    interceptors: Sequence[grpc.aio.ServerInterceptor], *, is_traced: bool = False
) -> tuple[grpc.aio.ServerInterceptor, ...]:
    """Return the interceptors of a server, with those that an instrumentation adds to each server.

    An instrumentation, for example `opentelemetry-instrument`, replaces `grpc.aio.server` by a function that adds an
    interceptor. This package does not make its servers with that function, so it calls the function only to get the
    interceptors.

    Args:
        interceptors: The interceptors that the program has given.
        is_traced: True if the server makes spans of its own. Then the interceptors of OpenTelemetry's instrumentation
            for gRPC are left out, so that a call has one span.
    """
    if grpc.aio.server is grpc_aio_server.server:
        return tuple(interceptors)
    asked: list[grpc.aio.ServerInterceptor] = []
    module: Any = grpc_aio_server
    server_class = module.Server
    module.Server = lambda pool, handlers, interceptors, *_: asked.extend(interceptors)
    try:
        grpc.aio.server(interceptors=list(interceptors))
    finally:
        module.Server = server_class
    if is_traced:
        asked = [one for one in asked if one in interceptors or not type(one).__module__.startswith(INSTRUMENTATION)]
    return tuple(asked)


def for_interceptors(handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler that does the same. If it streams, the result of its behavior can be awaited or iterated."""
    behavior = behavior_of(handler)
    is_writing = handler.response_streaming and inspect.iscoroutinefunction(behavior)
    return with_behavior(handler, EitherWay(behavior)) if is_writing else handler


def without_interceptors(handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    """Return the handler that `for_interceptors` was given, unless an interceptor has wrapped its behavior."""
    behavior = behavior_of(handler)
    return with_behavior(handler, behavior.behavior) if isinstance(behavior, EitherWay) else handler


class EitherWay:
    """The behavior of a stream. The result of a call can be awaited, or iterated for the elements."""

    __slots__ = ("behavior",)

    def __init__(self, behavior: Behavior) -> None:
        self.behavior = behavior

    def __call__(self, request: Any, context: Any) -> "_Call":
        return _Call(self.behavior, request, context)


class _Call:
    __slots__ = ("_behavior", "_context", "_request")

    def __init__(self, behavior: Behavior, request: Any, context: Any) -> None:
        self._behavior, self._request, self._context = behavior, request, context

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._behavior(self._request, self._context).__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Run the behavior in the task that iterates. Yield each element that the behavior writes."""
        steps = self._behavior(self._request, _Yielding(self._context)).__await__()
        resume: Callable[[], Any] = partial(next, steps)
        try:
            while True:
                try:
                    step = resume()
                except StopIteration:
                    return
                if isinstance(step, _Element):
                    yield step.value
                    resume = partial(next, steps)
                    continue
                try:
                    result = await _passed_on(step)
                    resume = partial(steps.send, result)
                except BaseException as raised:  # the behavior has to see every exception, also its cancellation
                    resume = partial(steps.throw, raised)
        finally:
            steps.close()


@coroutine
def _passed_on(step: Any) -> Generator[Any, Any, Any]:
    """Give the event loop what a coroutine waits for. Return what the event loop sends back."""
    return (yield step)


class _Element:
    """An element of a stream, on its way from a behavior to the interceptor that iterates."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator["_Element", None, None]:
        yield self


class _Yielding:
    """The context of a call whose elements are yielded instead of written."""

    __slots__ = ("_context",)

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, element: Any) -> None:
        await _Element(element)
