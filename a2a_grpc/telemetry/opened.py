"""The spans and durations of a server's calls, or a client's, if the program wants any."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from a2a_grpc.telemetry.metrics import CLIENT_DURATION, DELIVERIES, SERVER_DURATION, Instruments
from a2a_grpc.telemetry.provider import find_meter, find_tracer

if TYPE_CHECKING:
    from a2a_grpc.telemetry.calls import MadeCalls, ServedCalls
    from a2a_grpc.telemetry.deliveries import DeliverySpans
    from a2a_grpc.telemetry.runs import RunSpans


def served_calls(
    tracer: Any, instruments: Instruments | None, agent: Mapping[str, str] = {}, *, passes_on: bool = False
) -> "ServedCalls | None":
    """Return what makes the spans of a server's calls; None if there are neither traces nor metrics.

    Args:
        tracer: The tracer; None for no traces.
        instruments: Makes the instruments; None for no metrics.
        agent: Attributes of the agent, for each span.
        passes_on: True if calls are passed on with the headers of their spans.
    """
    if tracer is None and instruments is None:
        return None
    from a2a_grpc.telemetry.calls import ServedCalls  # with OpenTelemetry, which is only there if it is used

    durations = instruments.histogram(SERVER_DURATION) if instruments is not None else None
    return ServedCalls(tracer, durations, agent, passes_on=passes_on)


def run_spans(tracer: Any, instruments: Instruments | None) -> "RunSpans | None":
    """Return the observer of a server's runs; None if there are neither traces nor metrics.

    Args:
        tracer: The tracer; None for no traces.
        instruments: Makes the instruments; None for no metrics.
    """
    if tracer is None and instruments is None:
        return None
    from a2a_grpc.telemetry.runs import RunSpans

    return RunSpans(tracer, instruments)


def delivery_spans(tracer: Any, instruments: Instruments | None, runs: "RunSpans | None") -> "DeliverySpans | None":
    """Return what makes the spans of deliveries; None if there are neither traces nor metrics.

    Args:
        tracer: The tracer; None for no traces.
        instruments: Makes the instruments; None for no metrics.
        runs: The spans of runs, to which those of deliveries belong.
    """
    if runs is None:
        return None
    from a2a_grpc.telemetry.deliveries import DeliverySpans

    durations = instruments.histogram(DELIVERIES) if instruments is not None else None
    return DeliverySpans(tracer, durations, runs.newest)


def made_calls() -> "MadeCalls | None":
    """Return what makes the spans of a client's calls; None if the program wants neither traces nor metrics."""
    tracer, meter = find_tracer(), find_meter()
    if tracer is None and meter is None:
        return None
    from a2a_grpc.telemetry.calls import MadeCalls

    return MadeCalls(tracer, Instruments(meter).histogram(CLIENT_DURATION) if meter is not None else None)


def muting() -> "Callable[[], AbstractContextManager[None]]":
    """Return a context manager in which instrumentations make no spans, if this package makes spans."""
    if find_tracer() is None:
        return nullcontext
    from a2a_grpc.telemetry.context import muted

    return muted
