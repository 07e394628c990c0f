"""Cancel the task of another agent although its caller was canceled."""

import asyncio
from contextlib import suppress

from a2a_grpc import lifecycle
from a2a_grpc.client.client import Client
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.errors import A2AError

CANCEL_TIMEOUT_S = 5.0
"""Seconds that a canceled caller waits for the cancellation of the remote task."""


async def cancel_remote(client: Client, events: TaskStream, beginning: "asyncio.Task[None]") -> None:
    """Cancel a remote task, although the caller itself was canceled. Wait at most `CANCEL_TIMEOUT_S` for it."""

    async def cancel() -> None:
        await beginning  # the message may have made a task whose first event has not come yet
        if events.task_id and events.state not in lifecycle.TERMINAL:
            await client.cancel(events.task_id)

    canceling = asyncio.create_task(cancel(), name="a2a-grpc:cancel")
    with suppress(A2AError, TimeoutError):
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            await asyncio.shield(canceling)
    for task in (canceling, beginning):
        task.cancel()
