"""The spans of runs: one for each time that a handler is at work, none for the time in which it waits for its user.

The observer fits `engine.observer.Observer`; the engine does not know this module.
"""

import json
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace as api
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from a2a_grpc import lifecycle
from a2a_grpc.telemetry import names
from a2a_grpc.telemetry.call import name_of_state
from a2a_grpc.telemetry.context import alone, make_current, of_w3c, stored, w3c_of
from a2a_grpc.telemetry.metrics import QUEUE_DURATION, RUN_DURATION, RUNS, TAKEOVERS, Instruments

KNOWN_TASKS = 10_000
"""The number of tasks whose newest trace is remembered, for the deliveries of their events."""
LOST = "lost"
FAILED = "failed"
OPEN = ("WAITING", "PLAYING", "ASKING", "ANSWERING", "ENDING")
"""The states of runs that are counted."""


class RunSpans:
    """Makes the spans of runs, and counts runs.

    Args:
        tracer: The tracer; None for no spans.
        instruments: Makes the instruments; None for no metrics.
    """

    def __init__(self, tracer: Any, instruments: Instruments | None) -> None:
        self.tracer = tracer
        self.states: Counter[str] = Counter()
        """The number of runs in each state."""
        self.queued: Any = None
        self.worked: Any = None
        self._takeovers: Any = None
        self._newest: OrderedDict[str, Any] = OrderedDict()
        if instruments is not None:
            self.queued, self.worked = instruments.histogram(QUEUE_DURATION), instruments.histogram(RUN_DURATION)
            self._takeovers = instruments.counter(TAKEOVERS)
            instruments.observe(
                RUNS, lambda: [(self.states[state], {names.RUN_STATE: state.lower()}) for state in OPEN]
            )

    def accepts(self) -> str:
        """Return the trace of the current call as text; empty if there is none."""
        return "" if self.tracer is None else _text({"call": w3c_of(api.get_current_span())})

    def trace_id(self) -> str:
        """Return the id of the trace of the current call; empty if there is none."""
        found = api.get_current_span().get_span_context()
        return api.format_trace_id(found.trace_id) if self.tracer is not None and found.is_valid else ""

    def begins(
        self, task_id: str, context_id: str, skill: str, *, attempt: int = 1, trace: str | None = None, former: str = ""
    ) -> "RunSpan":
        """Return the observer of a run. The arguments are those of `Observer.begins`."""
        parent = api.get_current_span() if trace is None else _call_of(trace)
        link = _run_of(former) if former else None
        if attempt > 1 and self._takeovers is not None:
            self._takeovers.add(1)
        found: dict[str, Any] = {
            names.TASK_ID: task_id,
            names.CONVERSATION_ID: context_id,
            names.SKILL: skill,
        }
        if attempt > 1:
            found[names.ATTEMPT] = attempt
        return RunSpan(self, f"run {skill}", found, parent, link)

    def remember(self, task_id: str, span: Any) -> None:
        """Remember the newest span of a task, for deliveries."""
        self._newest[task_id] = span.get_span_context()
        self._newest.move_to_end(task_id)
        if len(self._newest) > KNOWN_TASKS:
            self._newest.popitem(last=False)

    def newest(self, task_id: str) -> Any:
        """Return a context with the newest span of a task; None if the task had no run here.

        Args:
            task_id: The id of the task.
        """
        found = self._newest.get(task_id)
        return None if found is None else alone(api.NonRecordingSpan(found))


class RunSpan:
    """The spans of one run: one before each question of the handler, and one after it.

    Args:
        runs: What it belongs to.
        name: The name of the spans.
        attributes: Their attributes.
        parent: The span of the call that brought the message.
        link: The context of the span of an earlier run for the message; None for none.
    """

    __slots__ = ("_attributes", "_error", "_link", "_name", "_parent", "_runs", "_since", "_span", "_state")

    def __init__(self, runs: RunSpans, name: str, attributes: dict[str, Any], parent: Any, link: Any) -> None:
        self._runs = runs
        self._name = name
        self._attributes = attributes
        self._parent = parent
        self._link = link
        self._error = ""
        self._span: Any = None
        if runs.tracer is not None:
            self._begin()
        self._since = 0.0
        self._state = ""

    @property
    def trace(self) -> str:
        """The call and the run as text, to be stored with the message."""
        if self._span is None:
            return ""
        return _text({"call": w3c_of(self._parent), "run": w3c_of(self._span)})

    @property
    def trace_id(self) -> str:
        """The id of the trace that the run belongs to."""
        span = self._span
        found = self._link if span is None else span.get_span_context()
        return "" if found is None else api.format_trace_id(found.trace_id)

    def moved(self, state: str, task_state: int) -> None:
        """See `RunObserver.moved`."""
        before, self._state = self._state, state
        has_paused = state in ("OVER", "LOST") or (state == "ASKING" and before == "PLAYING")
        if self._runs.worked is not None:
            self._measure(before, state, task_state, has_paused=has_paused)
        if self._runs.tracer is None:
            return
        if state == "PLAYING":
            self._let_work()
        elif has_paused:
            self._end(task_state)

    def answered(self, trace: str) -> None:
        """See `RunObserver.answered`."""
        if trace and self._runs.tracer is not None:
            self._parent = _call_of(trace)

    def raised(self, error: BaseException) -> None:
        """See `RunObserver.raised`."""
        self._error = type(error).__qualname__

    def _measure(self, before: str, state: str, task_state: int, *, has_paused: bool) -> None:
        """Count the runs in each state, and record how long this one has waited and worked."""
        states, now = self._runs.states, time.perf_counter()
        if before in OPEN:
            states[before] -= 1
        if state in OPEN:
            states[state] += 1
        if state == "PLAYING" and before == "WAITING":
            self._runs.queued.record(now - self._since)
        if has_paused and self._since and before != "WAITING":
            self._runs.worked.record(now - self._since, {names.TASK_STATE: name_of_state(task_state)})
        if state in ("WAITING", "PLAYING"):
            self._since = now
        elif has_paused or before == "WAITING":
            self._since = 0.0  # it works no more, or it has not worked

    def _begin(self) -> None:
        links = [Link(self._link)] if self._link is not None else None
        kind, tracer = SpanKind.INTERNAL, self._runs.tracer
        self._span = tracer.start_span(self._name, alone(self._parent), kind, self._attributes, links)
        self._runs.remember(self._attributes[names.TASK_ID], self._span)

    def _let_work(self) -> None:
        """Let the handler work within a span."""
        if self._span is None:
            former = self._link
            self._begin()
            if api.get_current_span().get_span_context() != former:
                return  # the author has a span open around the question, which stays the current one
        make_current(self._span)

    def _end(self, task_state: int) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        self._link = span.get_span_context()
        if span.is_recording():
            span.set_attribute(names.TASK_STATE, name_of_state(task_state))  # `set_attributes` takes longer for one
            if error := self._problem(task_state):
                span.set_attribute(names.ERROR_TYPE, error)
                span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _problem(self, task_state: int) -> str:
        """Return the kind of error with which the run has ended; empty for none."""
        if self._state == "LOST":
            return LOST
        return self._error or FAILED if task_state == lifecycle.FAILED else ""


def _text(spans: Mapping[str, Mapping[str, str]]) -> str:
    """Return spans as text; empty if there are none."""
    found = {name: carrier for name, carrier in spans.items() if carrier}
    return json.dumps(found, separators=(",", ":")) if found else ""


def _call_of(text: str) -> Any:
    """Return the span of the call that a text names."""
    return api.get_current_span(of_w3c(stored(text).get("call")))


def _run_of(text: str) -> Any:
    """Return the context of the span of the run that a text names; that of the call if it names no run."""
    found = stored(text)
    context = api.get_current_span(of_w3c(found.get("run") or found.get("call"))).get_span_context()
    return context if context.is_valid else None
