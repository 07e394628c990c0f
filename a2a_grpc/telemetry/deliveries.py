"""The spans of the deliveries of push notifications and callbacks."""

import time
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span

from a2a_grpc.telemetry import names
from a2a_grpc.telemetry.context import Context, make_muted, of_text, text_of, w3c_of

DELIVERED = "delivered"


class DeliverySpans:
    """Begins the spans of deliveries, and measures their durations.

    Args:
        tracer: The tracer; None for no spans.
        durations: The histogram; None for no durations.
        newest: Returns a context with the span of the newest run of a task; None if the task has run elsewhere.
    """

    def __init__(self, tracer: Any, durations: Any, newest: Callable[[str], Context | None]) -> None:
        self._tracer = tracer
        self._durations = durations
        self._newest = newest

    def origin(self, task_id: str) -> str:
        """Return the span to which deliveries of a new config belong, as text; empty if there is none.

        It is that of the newest run of the task, or of the current call if the task has not run here.

        Args:
            task_id: The task.
        """
        if self._tracer is None:
            return ""
        return text_of(get_current_span(self._newest(task_id)))

    def begin(self, task_id: str, destination: str, attempt: int, origin: str = "") -> "DeliverySpan":
        """Begin the span of an attempt, as a child of the newest run of the task.

        If the task has not run in this process, the parent is the span that `origin` has returned.

        Args:
            task_id: The task.
            destination: "webhook" or "callback".
            attempt: Which attempt it is, from 1.
            origin: What was stored with the config.
        """
        if self._tracer is None:
            return DeliverySpan(None, destination, self._durations)
        found: dict[str, Any] = {names.TASK_ID: task_id, names.DESTINATION: destination}
        if attempt > 1:
            found[names.ATTEMPT] = attempt
        parent = self._newest(task_id) or of_text(origin)
        span = self._tracer.start_span(f"push {destination}", parent, SpanKind.PRODUCER, found)
        return DeliverySpan(span, destination, self._durations)


class DeliverySpan:
    """The span of one attempt, as a context manager.

    Args:
        span: The span that has begun; None for none.
        destination: "webhook" or "callback".
        durations: The histogram; None for no durations.

    Attributes:
        headers: The headers that tell the receiver of the span.
    """

    def __init__(self, span: Any, destination: str, durations: Any) -> None:
        self._span = span
        self._destination = destination
        self._durations = durations
        self._begun = time.perf_counter()
        self._verdict = ""
        self.headers = {} if span is None else w3c_of(span)

    def __enter__(self) -> "DeliverySpan":
        if self._span is not None:
            make_muted(self._span)  # the task of the delivery does nothing else
        return self

    def ended(self, verdict: str) -> None:
        """Note what the receiver has done.

        Args:
            verdict: The name of the verdict.
        """
        self._verdict = verdict

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        problem = "" if self._verdict == DELIVERED else self._verdict or (kind.__qualname__ if kind else "")
        if self._durations is not None:
            found = {names.DESTINATION: self._destination, names.VERDICT: self._verdict or "failed"}
            self._durations.record(time.perf_counter() - self._begun, found)
        if self._span is None:
            return
        if self._verdict:
            self._span.set_attribute(names.VERDICT, self._verdict)
        if problem:
            self._span.set_attribute(names.ERROR_TYPE, problem)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
