"""The context of a trace: read from the metadata of a call, written into metadata, and kept as text.

The format is the one that the program has chosen for OpenTelemetry, by default that of the W3C (`traceparent`,
`tracestate`, `baggage`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Context: TypeAlias = Any
"""A context of OpenTelemetry, which holds the current span."""

_W3C = TraceContextTextMapPropagator()
_NONE: Context = contexts.Context()


def fields() -> dict[str, str]:
    """Return the names of the propagator's fields, by the names of their metadata, which have small letters."""
    return {name.lower(): name for name in propagate.get_global_textmap().fields}


def received(metadata: Iterable[tuple[str, str | bytes]], wanted: Mapping[str, str]) -> Context:
    """Return the context that a caller has sent; one without a span if the caller has sent none.

    Args:
        metadata: The metadata of the call.
        wanted: The result of `fields`.
    """
    carrier = {wanted[name]: value for name, value in metadata if name in wanted and isinstance(value, str)}
    return propagate.extract(carrier, _NONE) if carrier else _NONE


def headers_of(span: Any) -> dict[str, str]:
    """Return the metadata that tell another program of a span, and of the current baggage.

    Args:
        span: The span.
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    return {name.lower(): value for name, value in carrier.items()}


def w3c_of(span: Any) -> dict[str, str]:
    """Return `traceparent` and `tracestate` of a span, without the baggage.

    Args:
        span: The span.
    """
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, alone(span))
    return carrier


def of_w3c(carrier: object) -> Context:
    """Return the context that `w3c_of` has written; one without a span if it is damaged.

    Args:
        carrier: The result of `w3c_of`.
    """
    if not isinstance(carrier, dict) or not all(isinstance(value, str) for value in carrier.values()):
        return _NONE
    return _W3C.extract(carrier, _NONE)


def text_of(span: Any) -> str:
    """Return a span as text, to be stored; empty if it is none.

    Args:
        span: The span.
    """
    carrier = w3c_of(span)
    return json.dumps(carrier, separators=(",", ":")) if carrier else ""


def of_text(text: str) -> Context:
    """Return the context that `text_of` has written; one without a span if the text is damaged.

    Args:
        text: The result of `text_of`.
    """
    return of_w3c(stored(text)) if text else _NONE


def stored(text: str) -> dict[str, Any]:
    """Return the JSON object of a stored text. It is empty if the text is, or is damaged, as by an edited export.

    Args:
        text: The text.
    """
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def alone(span: Any) -> Context:
    """Return a context with a span and nothing else.

    Args:
        span: The span; None for a context without one.
    """
    return _NONE if span is None else trace.set_span_in_context(span, _NONE)


def make_current(span: Any, context: Context = None) -> None:
    """Make a span the current one of this Python task, until the task ends or another span is made current.

    The former span does not come back. So this is only for tasks that work for one span.

    Args:
        span: The span.
        context: The context to put the span in; by default the current one.
    """
    contexts.attach(trace.set_span_in_context(span, context))


def make_muted(span: Any) -> None:
    """Make a span the current one, as `make_current` does, and have instrumentations make no spans in this task.

    Args:
        span: The span.
    """
    contexts.attach(contexts.set_value(contexts._SUPPRESS_INSTRUMENTATION_KEY, True, alone(span)))


@contextmanager
def muted() -> Iterator[None]:
    """Have instrumentations make no spans of their own in the block, because the call has one. Do not await in it."""
    token = contexts.attach(contexts.set_value(contexts._SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        yield
    finally:
        contexts.detach(token)
