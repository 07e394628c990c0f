"""The span of one call, with its duration and what is known of the call."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.trace import Status, StatusCode

from a2a_grpc.telemetry import names
from a2a_grpc.text import MAX_CHARS
from a2a_grpc.wire import TaskState

OK = "OK"
MAX_REFERENCES = 100
"""The largest number of references in a span."""


class CallSpan:
    """The span of a call, with what is known of the call. It must be ended.

    Attributes:
        headers: The metadata that tell the next server of the span.
        task_id: The id of the task that the call is about; empty if none is known.
        context_id: The id of the conversation; empty if none is known.
        state: The newest state of the task in the answer; 0 if none is known.
    """

    __slots__ = (
        "_begun",
        "_durations",
        "_errors",
        "_is_ended",
        "_method",
        "_more",
        "_span",
        "context_id",
        "headers",
        "state",
        "task_id",
    )

    def __init__(self, span: Any, method: str, durations: Any, errors: frozenset[str] | None = None) -> None:
        """Take a span that has begun.

        Args:
            span: The span; None if only the duration is measured.
            method: The full name of the RPC.
            durations: The histogram of durations; None if they are not measured.
            errors: The codes that count as errors; by default all except OK.
        """
        self._span = span if span is not None and span.is_recording() else None
        self._method = method
        self._durations = durations
        self._errors = errors
        self._begun = time.perf_counter()
        self._is_ended = False
        self._more: dict[str, Any] = {}
        self.headers: Mapping[str, str] = {}
        self.task_id = self.context_id = ""
        self.state = 0

    @property
    def is_recording(self) -> bool:
        """True if what is noted of the call is recorded."""
        return self._span is not None

    def asked(self, request: Any) -> None:
        """Note the ids that a request names.

        Args:
            request: A request of the A2A service.
        """
        if self._span is None:
            return
        match _place_of_id(request.DESCRIPTOR):
            case "message":
                message = request.message
                self.add(names.MESSAGE_ID, message.message_id)
                self.task_id, self.context_id = message.task_id[:MAX_CHARS], message.context_id[:MAX_CHARS]
                if message.reference_task_ids:
                    self._more[names.REFERENCES] = [
                        each[:MAX_CHARS] for each in message.reference_task_ids[:MAX_REFERENCES]
                    ]
            case "task_id":
                self.task_id = request.task_id[:MAX_CHARS]
            case "id":
                self.task_id = request.id[:MAX_CHARS]
        if request.tenant:
            self.add(names.TENANT, request.tenant)

    def answered(self, response: Any) -> None:
        """Note the ids and the state that a response names.

        Args:
            response: A response to a unary call of the A2A service.
        """
        if self._span is None:
            return
        kind = type(response).DESCRIPTOR.name
        if kind == "SendMessageResponse":
            if response.HasField("message"):
                self.context_id = response.message.context_id
                return
            kind, response = "Task", response.task
        if kind == "Task":
            self.task_id, self.context_id, self.state = response.id, response.context_id, response.status.state

    def add(self, name: str, value: str | int) -> None:
        """Add an attribute. A long text is cut, because requests are not checked yet when their spans note them.

        Args:
            name: The name, from `names`.
            value: The value.
        """
        self._more[name] = value[:MAX_CHARS] if isinstance(value, str) else value

    def end(self, code: str, error: str = "") -> None:
        """End the span, and record the duration. Later calls change nothing.

        Args:
            code: The name of the status code of the call; empty if the call failed before it had one.
            error: The kind of error; by default the code, if it is an error.
        """
        if self._is_ended:
            return
        self._is_ended = True
        if not error and code != OK and (self._errors is None or code in self._errors):
            error = code
        if self._durations is not None:
            self._durations.record(time.perf_counter() - self._begun, _labels(self._method, code, error))
        span, self._span = self._span, None
        if span is None:
            return
        found = self._more
        if code:
            found[names.STATUS_CODE] = code
        if self.task_id:
            found[names.TASK_ID] = self.task_id
        if self.context_id:
            found[names.CONVERSATION_ID] = self.context_id
        if self.state:
            found[names.TASK_STATE] = name_of_state(self.state)
        if error:
            found[names.ERROR_TYPE] = error
            span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(found)
        span.end()


@lru_cache(1024)
def _labels(method: str, code: str, error: str) -> dict[str, str]:
    found = {names.SYSTEM: names.GRPC, names.METHOD: method}
    if code:
        found[names.STATUS_CODE] = code
    return found | {names.ERROR_TYPE: error} if error else found


@lru_cache(16)
def name_of_state(state: int) -> str:
    """Return the name of a state of a task. The cache takes a tenth of the time of protobuf.

    Args:
        state: The state.
    """
    return TaskState.Name(state)


@lru_cache(16)
def _place_of_id(kind: Any) -> str:
    """Return the first field of a kind of request, of those that name what the call is about; empty if it has none."""
    fields = kind.fields_by_name
    return next((name for name in ("message", "task_id", "id") if name in fields), "")
