"""What the current Python task works for: the span of the call that it serves, and the span of its own calls."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from a2a_grpc.telemetry.call import CallSpan

served: "ContextVar[CallSpan | None]" = ContextVar("a2a_grpc span of the call that is served", default=None)
"""The span of the call that the task serves."""

within: "ContextVar[CallSpan | None]" = ContextVar("a2a_grpc span of several calls", default=None)
"""The span that stands for all calls that the task makes. They get no spans of their own."""
