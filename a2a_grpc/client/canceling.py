"""A stream that has begun, whose remote task can be canceled although the caller itself was canceled."""

import asyncio
from contextlib import suppress

from a2a_grpc import lifecycle
from a2a_grpc.client.client import Client
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.errors import A2AError

CANCEL_TIMEOUT_S = 5.0
"""Seconds that a canceled caller waits for the cancelation of the remote task."""


class BegunStream:
    """A stream whose call begins now. If the caller is canceled meanwhile, the call goes on.

    Attributes:
        stream: The stream.
    """

    def __init__(self, client: Client, stream: TaskStream) -> None:
        self.stream = stream
        self._client = client
        self._beginning = asyncio.create_task(stream.begin(), name="a2a-grpc:begin")

    async def begun(self) -> None:
        """Wait for the first event. Raise an A2AError if it cannot be had."""
        await asyncio.shield(self._beginning)

    async def cancel(self) -> None:
        """Cancel the remote task. Wait at most `CANCEL_TIMEOUT_S` for it."""
        canceling = asyncio.create_task(self._cancel(), name="a2a-grpc:cancel")
        with suppress(A2AError, TimeoutError):
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await asyncio.shield(canceling)
        canceling.cancel()
        self._beginning.cancel()

    def close(self) -> None:
        """End the call. The remote task goes on."""
        self._beginning.cancel()
        self.stream.close()

    async def _cancel(self) -> None:
        await self._beginning  # the message may have made a task whose first event has not come yet
        if self.stream.task_id and self.stream.state not in lifecycle.TERMINAL:
            await self._client.cancel(self.stream.task_id)
