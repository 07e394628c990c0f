"""Begins the spans of calls: those that a server serves, and those that a client makes."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.trace import SpanKind

from a2a_grpc.protocol import PROTOCOL_VERSION
from a2a_grpc.telemetry import current, names
from a2a_grpc.telemetry.call import CallSpan
from a2a_grpc.telemetry.context import fields, headers_of, make_current, received
from a2a_grpc.wire import SERVICE_NAME


class ServedCalls:
    """Makes the spans of the calls that a server serves, and measures their durations.

    Args:
        tracer: The tracer; None for no spans.
        durations: The histogram; None for no durations.
        agent: Attributes of the agent, for each span.
        passes_on: True if calls are passed on with the headers of their spans.
    """

    def __init__(self, tracer: Any, durations: Any, agent: Mapping[str, str] = {}, *, passes_on: bool = False) -> None:
        self._tracer = tracer
        self._durations = durations
        self._agent = dict(agent)
        self._passes_on = passes_on
        self._wanted = fields()
        self._described = lru_cache(64)(self._describe)

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> CallSpan:
        """Begin the span of a call, and make it the current one of the task that serves the call.

        Args:
            method: The full name of the RPC, such as `lf.a2a.v1.A2AService/GetTask`; `_OTHER` if it is not known.
            metadata: The metadata of the call.
        """
        span = None
        if self._tracer is not None:
            parent = received(metadata, self._wanted)
            name, attributes = self._described(method)
            span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
            make_current(span, parent)
        call = CallSpan(span, method, self._durations, names.SERVER_ERRORS)
        if self._passes_on and span is not None:
            call.headers = headers_of(span)
        current.served.set(call)
        return call

    def _describe(self, method: str) -> tuple[str, dict[str, str]]:
        """Return the name of the spans of a method, and the attributes with which each of them begins."""
        return span_name(method), {**attributes_of(method), **(self._agent if is_a2a(method) else {})}


class MadeCalls:
    """Makes the spans of the calls that a client makes, and measures their durations.

    Args:
        tracer: The tracer; None for no spans.
        durations: The histogram; None for no durations.
    """

    def __init__(self, tracer: Any, durations: Any) -> None:
        self._tracer = tracer
        self._durations = durations

    def begin(self, method: str, attributes: Mapping[str, str | int] = {}) -> CallSpan:
        """Begin the span of a call, as a child of the current span.

        Args:
            method: The full name of the RPC.
            attributes: Further attributes.
        """
        if self._tracer is None:
            return CallSpan(None, method, self._durations)
        found = {**attributes_of(method), **attributes}
        span = self._tracer.start_span(span_name(method), kind=SpanKind.CLIENT, attributes=found)
        call = CallSpan(span, method, self._durations)
        call.headers = headers_of(span)
        return call


def is_a2a(method: str) -> bool:
    """Return True for the full name of a method of the A2A service."""
    return method.startswith(f"{SERVICE_NAME}/")


def span_name(method: str) -> str:
    """Return the name of the span of an RPC: the method of A2A, or the full name for other services."""
    if method == names.OTHER:
        return names.GRPC
    return method.rpartition("/")[2] if is_a2a(method) else method


@lru_cache(64)
def attributes_of(method: str) -> dict[str, str]:
    """Return the attributes of each call of an RPC."""
    found = {names.SYSTEM: names.GRPC, names.METHOD: method}
    if is_a2a(method):
        found |= {names.A2A_METHOD: method.rpartition("/")[2], names.A2A_VERSION: PROTOCOL_VERSION}
    return found
