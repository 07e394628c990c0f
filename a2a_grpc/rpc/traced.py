"""The outermost frame of a call: its span and its duration, if the program wants traces or metrics."""

import asyncio
import sys
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import grpc.aio

from a2a_grpc.rpc.behaviors import Handler, behavior_of, with_behavior
from a2a_grpc.rpc.other_versions import OTHER_METHODS, OTHER_SERVICES
from a2a_grpc.rpc.status import CODES
from a2a_grpc.telemetry.names import OTHER
from a2a_grpc.wire import SERVICE, SERVICE_NAME

if TYPE_CHECKING:
    from a2a_grpc.telemetry.calls import ServedCalls

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = "tuple[tuple[str, str | bytes], ...]"

KNOWN = frozenset(
    [f"/{SERVICE_NAME}/{method.name}" for method in SERVICE.methods]
    + [f"/{service}/{method}" for service in OTHER_SERVICES for method in OTHER_METHODS]
)
"""The paths of methods that are named in spans and metrics. Callers can make up any number of others."""

OPERATORS = "/grpc."
"""How the paths of health, reflection and channelz begin. Their calls have no spans."""


def traced(
    calls: "ServedCalls | None",
    path: str,
    handler: Handler,
    metadata: Callable[[Context], Metadata],
    *,
    known: Collection[str] = KNOWN,
) -> Handler:
    """Return a handler that does what `handler` does, within a span. Return `handler` itself if there are no spans.

    Args:
        calls: Makes the spans; None for none.
        path: The path of the method.
        handler: The handler.
        metadata: Returns the metadata of a call.
        known: The paths that are named in spans and metrics.
    """
    if calls is None or path.startswith(OPERATORS):
        return handler
    method = path.removeprefix("/") if path in known else OTHER
    behavior = behavior_of(handler)

    # A plain function: grpc.aio inspects the handler at each call, and any other callable takes longer.
    async def serve(requests: Any, context: Context) -> Any:
        call = calls.begin(method, metadata(context))
        try:
            result = behavior(requests, context)
            if hasattr(result, "__aiter__"):
                async for element in result:
                    await context.write(element)
                return None
            return await result
        finally:
            call.end(_code(context))

    return with_behavior(handler, serve)


def _code(context: Context) -> str:
    """Return the name of the status of a call that ends, perhaps with the exception that is on its way."""
    raised = sys.exception()
    if isinstance(raised, asyncio.CancelledError) or context.cancelled():
        left_s = context.time_remaining()
        return "CANCELLED" if left_s is None or left_s > 0 else "DEADLINE_EXCEEDED"
    code: Any = context.code()
    if isinstance(code, int):
        code = CODES.get(code)
    if code:
        return str(code.name)
    return "OK" if raised is None else "UNKNOWN"
