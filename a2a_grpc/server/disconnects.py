"""Cancel the tasks of callers that disconnect, if this is wanted."""

import asyncio
import logging

import grpc.aio

from a2a_grpc.engine import Engine
from a2a_grpc.errors import A2AError
from a2a_grpc.server.admission import Call
from a2a_grpc.store import TaskKey

logger = logging.getLogger("a2a_grpc.server")

GONE = (asyncio.CancelledError, grpc.aio.InternalError, GeneratorExit)
"""The exceptions that a handler gets if its caller has left: while it waits, while it writes, and in a write."""


class Disconnects:
    """Cancels the tasks of callers that disconnect, in the background."""

    def __init__(self, engine: Engine, *, cancel: bool) -> None:
        self._engine = engine
        self._cancel_by_default = cancel
        self._canceling: set[asyncio.Task[None]] = set()

    def handle(self, call: Call, key: TaskKey) -> None:
        """Cancel the task of a caller that has disconnected, if the deployment or the request asks for this.

        A caller whose credentials have ended has not disconnected. It gets new credentials and subscribes to the task.
        """
        asked = call.metadata.cancel_on_disconnect
        is_wanted = self._cancel_by_default if asked is None else asked
        if is_wanted and not call.caller.has_expired:
            task = asyncio.create_task(self._cancel(key), name=f"a2a-grpc:disconnect:{key.id}")
            self._canceling.add(task)
            task.add_done_callback(self._canceling.discard)

    async def _cancel(self, key: TaskKey) -> None:
        try:
            await self._engine.cancel(key)
        except A2AError as error:
            logger.info("caller disconnected task=%s reason=%s", key.id, error.message)
