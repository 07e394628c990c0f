"""Operations that take more than one call: sending and following, canceling, waiting."""

import uuid
from contextlib import suppress
from typing import cast

from a2a_grpc import lifecycle
from a2a_grpc.agent.callbacks import Callbacks
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.connection import Connection
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.offers import check_callbacks
from a2a_grpc.client.sending import SendOptions, send_headers, with_history
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.client.waiting import NO_CALLBACKS, Strategy, be_called_back, poll
from a2a_grpc.errors import TaskNotCancelableError
from a2a_grpc.parts import Json, struct
from a2a_grpc.protocol import CALLBACK_EXTENSION
from a2a_grpc.wire import CancelTaskRequest, GetTaskRequest, Message, SendMessageRequest, SendMessageResponse, Task


def stream_of(calls: Calls, request: SendMessageRequest, options: SendOptions) -> TaskStream:
    """Return the stream of a message. Nothing is sent before the first event is read."""
    return TaskStream(calls, send=request, metadata=options.get("headers", ()), send_metadata=send_headers(options))


async def send_and_follow(calls: Calls, request: SendMessageRequest, options: SendOptions) -> Task | Message:
    """Send a message and follow its task. Return the task when it is settled, or the message that answers."""
    options = {**options, "idempotency_key": options.get("idempotency_key") or str(uuid.uuid4())}
    async with stream_of(calls, request, options) as events:
        async for event in events:
            if isinstance(event, Message):
                return event
            if events.is_paused:
                break
    assert events.task is not None  # a send's stream ends after a message or a settled task
    return with_history(events.task, options)


async def start(
    calls: Calls, connection: Connection, request: SendMessageRequest, options: SendOptions
) -> Task | Message:
    """Send a message. Return what the agent answers at once."""
    request.configuration.return_immediately = True
    if "callback" in options and await connection.card() is None:  # a card is looked at before each call
        retry = calls.retry_policy()
        check_callbacks(await calls.extensions.offers(CALLBACK_EXTENSION, retry), connection.target)
    metadata = (*options.get("headers", ()), *send_headers(options))
    response: SendMessageResponse = await calls.unary("SendMessage", request, metadata=metadata, is_safe=False)
    return response.message if response.HasField("message") else response.task


def cancel_request(task_id: str, metadata: dict[str, Json] | None) -> CancelTaskRequest:
    """Return the request to cancel a task."""
    return CancelTaskRequest(id=task_id, metadata=struct(metadata) if metadata else None)


async def cancel(calls: Calls, request: CancelTaskRequest, headers: Metadata) -> Task:
    """Cancel a task. Return it when the agent has stopped."""
    retry = calls.retry_policy()
    try:
        return cast(Task, await calls.unary("CancelTask", request, metadata=headers, retry=retry))
    except TaskNotCancelableError:
        if not retry.may_have_acted:
            raise
        task = cast(Task, await calls.unary("GetTask", GetTaskRequest(id=request.id), metadata=headers))
        if task.status.state != lifecycle.CANCELED:  # by an earlier try, whose answer was lost
            raise
        return task


async def wait(
    calls: Calls, task: Task | str, *, strategy: Strategy, poll_s: float | None, callbacks: Callbacks | None
) -> Task:
    """Wait until a task is settled, by one of the strategies of `Client.wait`. Return the task."""
    task_id = task if isinstance(task, str) else task.id
    if poll_s is not None and (strategy in ("subscribe", "callback") or not poll_s > 0):
        raise ValueError(f"poll_s is {poll_s:g}; it must be positive, and is not for the strategy '{strategy}'")
    if strategy == "callback":
        if callbacks is None:
            raise ValueError("the strategy 'callback' needs an agent to call back: connect(…, callback=agent)")
        return await be_called_back(calls, task, callbacks)
    if strategy == "poll" or poll_s is not None:
        at_work = isinstance(task, Task) and task.status.state not in lifecycle.SETTLED
        return await poll(calls, task_id, interval_s=poll_s, at_once=not at_work)
    if strategy == "auto" and callbacks is not None and callbacks.address:
        with suppress(*NO_CALLBACKS):
            return await be_called_back(calls, task, callbacks)
    return await _follow(calls, task_id, max_lost=calls.settings.max_lost_streams if strategy == "auto" else None)


async def _follow(calls: Calls, task_id: str, *, max_lost: int | None) -> Task:
    async with TaskStream(calls, task_id=task_id, max_lost=max_lost) as events:
        async for _ in events:
            if events.is_paused:
                break
    assert events.task is not None  # a subscription begins with the task
    return events.task
