"""A limit for the task that the events of a stream build."""

from a2a_grpc.client.responses import too_many_bytes, too_many_fields
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.counting import Counter, TooMany
from a2a_grpc.lifecycle import Event
from a2a_grpc.wire import Task

FIRST_LOOK_BYTES = 1 << 20
"""Bytes of events before the task is measured for the first time."""


class Growth:
    """Measures a task once its events have added half of its size to it, so that an event costs what the event holds.

    The task is refused at twice the client's limits at the latest; a task within the limits is never refused.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._max_bytes = settings.max_response_bytes
        self._max_fields = settings.max_response_fields
        self._counter = Counter(Task, {}, whole=settings.max_response_fields)
        self._left = min(FIRST_LOOK_BYTES, settings.max_response_bytes)

    def add(self, event: Event, task: Task) -> None:
        """Count an event that was applied to the task. Raise ResponseTooLargeError if the task is too large."""
        self._left -= event.ByteSize()
        if self._left >= 0:
            return
        content = task.SerializeToString()
        if len(content) > self._max_bytes:
            raise too_many_bytes(f"task '{task.id}' has grown to more than {self._max_bytes} bytes")
        try:
            self._counter.check(content)
        except TooMany:
            raise too_many_fields(f"task '{task.id}'", self._max_fields) from None
        self._left = max(min(FIRST_LOOK_BYTES, self._max_bytes), len(content) // 2)
