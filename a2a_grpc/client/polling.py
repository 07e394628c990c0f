"""The events of a task from an agent that does not stream. The task is read from time to time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from a2a_grpc import lifecycle
from a2a_grpc.backoff import Backoff
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.waiting import FIRST_INTERVAL_S, LAST_INTERVAL_S
from a2a_grpc.wire import (
    GetTaskRequest,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
)


class PolledCall:
    """Takes the place of a stream's call. Its elements are the task as it is, then the task each time it has changed.

    Guarantees:

    - The message of a send is sent once, with `return_immediately`; retries are those of any unary call.
    - It ends once the task has ended. The call of a send also ends once the agent asks for input. The question that the
      message answers does not count, although an agent may show it for a while.
    - The pauses between two looks begin at `FIRST_INTERVAL_S`, grow to `LAST_INTERVAL_S`, and are short again after a
      change.
    """

    def __init__(
        self,
        calls: Calls,
        request: SendMessageRequest | SubscribeToTaskRequest,
        *,
        metadata: Metadata = (),
        send_metadata: Metadata = (),
        could_stream: bool = False,
    ) -> None:
        self._calls = calls
        self._request = request
        self._metadata = metadata
        self._send_metadata = send_metadata
        self._could_stream = could_stream
        """True if the agent streams, and only the connections of this stream were lost."""
        self._elements = self._look()
        self._reading: asyncio.Task[Any] | None = None
        self._is_canceled = False

    async def initial_metadata(self) -> None:
        """Return None, since there is no metadata."""

    async def read(self) -> Any:
        """Return the next element, EOF after the last one. Raise the A2AError that a call failed with."""
        if self._is_canceled:
            return grpc.aio.EOF
        self._reading = asyncio.create_task(self._next(), name="a2a-grpc:poll")
        return await self._reading

    def cancel(self) -> None:
        """End a read that is under way; there are no more elements."""
        self._is_canceled = True
        if self._reading is not None:
            self._reading.cancel()

    async def _next(self) -> Any:
        async for element in self._elements:
            return element
        return grpc.aio.EOF

    async def _look(self) -> AsyncIterator[StreamResponse]:
        before = Task()
        request = self._request
        if isinstance(request, SubscribeToTaskRequest):
            task = await self._get(request.id)
        else:
            if request.message.task_id:
                before = await self._get(request.message.task_id)
            response = await self._start(request)
            if response.HasField("message"):
                yield StreamResponse(message=response.message)
                return
            task = response.task
        is_send = isinstance(request, SendMessageRequest)
        is_ended = task.status.state in lifecycle.TERMINAL  # such a task cannot be subscribed to anywhere
        if not self._could_stream and (is_send or not is_ended):
            self._calls.found_not_streaming(is_send=is_send)
        yield StreamResponse(task=task)
        pace = Backoff(FIRST_INTERVAL_S, LAST_INTERVAL_S)
        while not self._is_over(before, task):
            await asyncio.sleep(pace.next_s())
            known, task = task, await self._get(task.id)
            if task != known and not self._is_stale(before, task):
                pace.reset()
                yield StreamResponse(task=task)

    async def _get(self, task_id: str) -> Task:
        task: Task = await self._calls.unary("GetTask", GetTaskRequest(id=task_id), metadata=self._metadata)
        return task

    async def _start(self, request: SendMessageRequest) -> SendMessageResponse:
        at_once = SendMessageRequest()
        at_once.CopyFrom(request)
        at_once.configuration.return_immediately = True
        metadata = [*self._metadata, *self._send_metadata]
        response: SendMessageResponse = await self._calls.unary(
            "SendMessage", at_once, metadata=metadata, is_safe=False
        )
        return response

    def _is_over(self, before: Task, task: Task) -> bool:
        if task.status.state in lifecycle.TERMINAL:
            return True
        is_asking = task.status.state == lifecycle.INPUT_REQUIRED and isinstance(self._request, SendMessageRequest)
        return is_asking and not self._is_stale(before, task)

    def _is_stale(self, before: Task, task: Task) -> bool:
        """Return True if the task still shows the question that the message answers."""
        if not isinstance(self._request, SendMessageRequest) or task.status.state not in lifecycle.INTERRUPTED:
            return False
        status, old = task.status, before.status
        if (status.state, status.timestamp) != (old.state, old.timestamp):
            return False
        asked = status.message.message_id
        is_same = asked in (old.message.message_id, "")  # some agents take it out of the status once it is answered
        return is_same and not _is_answered(task, asked, self._request.message.message_id)


def _is_answered(task: Task, asked: str, sent: str) -> bool:
    """Return True if a question was asked after a message was sent, as the history of the task tells."""
    told = [message.message_id for message in task.history]
    return bool(asked) and sent in told and asked not in told[: told.index(sent)]
