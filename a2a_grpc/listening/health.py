"""Serve grpc.health.v1, so that clients can check or watch whether the server accepts work."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from a2a_grpc.errors import ResourceExhaustedError, UnavailableError

MAX_WATCHES = 1000
"""The number of watches that may be open. Each takes a stream of its connection and some memory."""
END_S = 1.0
"""Seconds that the watches have to end. A watcher that does not read delays the end of its watch."""

Context = grpc.aio.ServicerContext


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated code has no types
    """Reports SERVING for each service of the server while the server accepts work, and NOT_SERVING otherwise.

    Guarantees:

    - A watcher that does not read delays neither `tell` nor other watchers.
    - Every watcher that reads gets the last status before `end` ends its watch with UNAVAILABLE.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._services = frozenset(services)
        self._status = health_pb2.HealthCheckResponse.NOT_SERVING
        self._changed = asyncio.Event()
        self._watches: set[asyncio.Task[Any]] = set()
        self._has_left = self._is_ending = False

    def set_ready(self, ready: bool) -> None:
        """Set the status of all services, unless the server has left."""
        if not self._has_left:
            response = health_pb2.HealthCheckResponse
            self._set(response.SERVING if ready else response.NOT_SERVING)

    def leave(self) -> None:
        """Set the status of all services to NOT_SERVING. Later changes have no effect."""
        self._has_left = True
        self._set(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def end(self) -> None:
        """End all watches with UNAVAILABLE."""
        self._is_ending = True
        self._wake()
        if watches := list(self._watches):
            # A watch that is canceled while it writes could not end its call, nor write the last status.
            _, unread = await asyncio.wait(watches, timeout=END_S)
            for watch in unread:
                watch.cancel()

    def _set(self, status: int) -> None:
        if status != self._status:
            self._status = status
            self._wake()

    def _wake(self) -> None:
        """Have all watches look at the status again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: Any, context: "Context[Any, Any]") -> Any:
        """Return the status of a service. End the call with NOT_FOUND if the server has no such service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the server has no such service")
        return health_pb2.HealthCheckResponse(status=self._status)

    async def List(self, request: Any, context: "Context[Any, Any]") -> Any:
        """Return the status of every service."""
        status = health_pb2.HealthCheckResponse(status=self._status)
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, status))

    async def Watch(self, request: Any, context: "Context[Any, Any]") -> None:
        """Write the status of a service now, and each time that it changes."""
        if len(self._watches) >= MAX_WATCHES:
            await context.abort(ResourceExhaustedError.code, f"{MAX_WATCHES} watches are open, the limit")
        watch = asyncio.current_task()
        assert watch is not None
        self._watches.add(watch)
        try:
            await self._write_changes(request.service, context)
        except asyncio.CancelledError:
            if not self._has_left:
                raise  # the client is gone
        finally:
            self._watches.discard(watch)
        await context.abort(UnavailableError.code, UnavailableError.shutting_down("watch another").message)

    async def _write_changes(self, service: str, context: "Context[Any, Any]") -> None:
        written = None
        while True:
            changed, status = self._changed, self._status
            if service not in self._services:
                status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != written:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                written = status
            elif self._is_ending:
                return
            else:
                await changed.wait()
