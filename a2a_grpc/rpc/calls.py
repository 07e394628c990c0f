"""Serve each call: count it, turn errors into statuses, and end it when the server stops.

This could be an interceptor of gRPC. But `Calls` sees the bytes of requests, so it counts them before they are parsed.
A request that cannot be parsed gets a status with details. Health and reflection do not pass through `Calls`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.rpc.status_pb2 import Status

from a2a_grpc.deadlines import Deadlines
from a2a_grpc.errors import A2AError, InternalError, ResourceExhaustedError, UnavailableError, is_closing
from a2a_grpc.rpc.methods import Context
from a2a_grpc.rpc.responses import TINY_BYTES, Responses
from a2a_grpc.rpc.status import abort, to_status
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.rpc")

Behavior: TypeAlias = "Callable[[bytes, Context], Awaitable[bytes | None]]"
"""A function that serves a call, given the bytes of the request. For a unary call it returns the bytes of the response.
For a stream it writes the bytes of each element."""

ABORT_TIMEOUT_S = 1.0
"""Seconds that a status may wait behind data that the client does not read."""


class Calls:
    """The calls that are being served.

    Guarantees:

    - If a behavior raises an exception, the client gets a status of the error tree. The text of an exception that is
      no A2AError does not leave the server.
    - A call over `max_calls`, `max_streams` or `max_bytes` gets RESOURCE_EXHAUSTED at once.
    - Responses of more than 4 KiB are counted until gRPC has sent them, see `Responses`.
    - `end_streams` ends every stream with a status, within seconds even if the client does not read. Calls that come
      later get UNAVAILABLE. `wait` ends the calls that are left with UNAVAILABLE.

    Args:
        max_calls: The number of unary calls that may be open.
        max_streams: The number of streams that may be open.
        max_bytes: The size of all requests that are being served together.
        responses: The memory for responses that clients have not read.
        translate: A function that returns the error for an exception of the server's own parts, such as its store, or
            None for an exception that is a bug.
    """

    def __init__(
        self,
        *,
        max_calls: int,
        max_streams: int,
        max_bytes: int,
        responses: Responses,
        translate: Callable[[BaseException], A2AError | None] = lambda raised: None,
    ) -> None:
        self._room = {False: max_calls, True: max_streams}
        self._running: dict[bool, set[asyncio.Task[Any]]] = {False: set(), True: set()}
        self._max_bytes = max_bytes
        self._responses = responses
        self._translate = translate
        self._bytes = 0
        self._lines = Throttle(logger)
        self._is_ending = False
        self.unread_by: set[str] = set()
        """The clients, as gRPC names them, that did not read what was written to a call before it was ended."""
        self._loop = asyncio.get_running_loop()
        self._limits: Deadlines[asyncio.Timeout] = Deadlines(lambda late: late.reschedule(0.0))

    @property
    def is_tight(self) -> bool:
        """True if the next large response may have to wait for room."""
        return self._responses.is_tight

    @property
    def is_idle(self) -> bool:
        """True while no call is open."""
        return not (self._running[False] or self._running[True])

    @property
    def streams(self) -> int:
        """The number of open streams."""
        return len(self._running[True])

    @property
    def unary(self) -> int:
        """The number of open unary calls."""
        return len(self._running[False])

    def handler(self, method: MethodDescriptor, behavior: Behavior) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return a handler for a method of the service, which gets the request and gives the response as bytes."""
        streaming = method.server_streaming
        running = self._running[streaming]

        # A plain function: grpc.aio inspects the handler at each call, and any other callable takes longer.
        async def serve(request: bytes, context: Context) -> bytes | None:
            task = asyncio.current_task(self._loop)
            assert task is not None
            if self._is_ending:
                await self._abort(context, to_status(UnavailableError.shutting_down("try again at another")))
                return None
            size, is_crowded = len(request), len(running) >= self._room[streaming]
            if is_crowded or self._bytes + size > self._max_bytes:
                await self._abort(context, to_status(self._refusal(streaming, is_crowded)))
                return None
            running.add(task)
            self._bytes += size
            try:
                response = await behavior(request, context)
                if response is not None and (len(response) > TINY_BYTES or self._responses.are_counted(task)):
                    await self._responses.hold(task, context.peer(), len(response))
                    self._responses.sent(task)
                return response
            except A2AError as error:
                status = to_status(error)
            except asyncio.CancelledError:
                if self._is_ending:
                    status = to_status(UnavailableError.shutting_down("resume at another"))
                elif task.cancelling():
                    raise  # the client is gone
                else:
                    logger.exception("call failed")  # code awaited something that was canceled; the client still waits
                    status = to_status(InternalError())
            except grpc.aio.InternalError:
                return None  # a write to a client that is gone
            except BaseException as raised:  # code of other authors may raise anything
                if is_closing(raised, task):
                    raise
                status = self._status_of(raised)
            finally:
                running.discard(task)
                self._bytes -= size
            self._responses.release(task)
            if not await self._abort(context, status) and self._is_ending:
                self.unread_by.add(context.peer())
            return None

        if streaming:
            return grpc.unary_stream_rpc_method_handler(serve)
        return grpc.unary_unary_rpc_method_handler(serve)

    def _status_of(self, raised: BaseException) -> Status:
        """Return the status for an exception that is no A2AError. Log the exception if it is a bug."""
        error = self._translate(raised)
        if error is None:
            logger.exception("call failed")
        return to_status(error or InternalError())

    async def room_for(self, context: Context, size: int) -> None:
        """Wait for room for a response of about `size` bytes. Call this before the response is read from the store.

        Raises:
            ResourceExhaustedError: There is no room in time.
        """
        task = asyncio.current_task(self._loop)
        assert task is not None
        await self._responses.hold(task, context.peer(), size, has_acted=False)

    async def write(self, context: Context, element: bytes) -> None:
        """Write one element of a stream. It counts as a response until gRPC has taken it."""
        if len(element) <= TINY_BYTES:
            return await context.write(element)
        task = asyncio.current_task(self._loop)
        assert task is not None
        await self._responses.hold(task, context.peer(), len(element))
        self._responses.sent(task)
        try:
            await context.write(element)
        finally:
            self._responses.release(task)

    def _refusal(self, streaming: bool, is_crowded: bool) -> A2AError:
        if is_crowded:
            kind = "streams" if streaming else "calls"
            return ResourceExhaustedError(f"{self._room[streaming]} {kind} are open, the limit", retry_after_s=1.0)
        return ResourceExhaustedError("the requests being served have reached their limit", retry_after_s=1.0)

    async def end_streams(self) -> None:
        """Give every open stream a second to end, then end it with UNAVAILABLE. Return when the handlers have ended, or
        after two more seconds."""
        self._is_ending = True
        for timeout_s in (ABORT_TIMEOUT_S, 2 * ABORT_TIMEOUT_S):
            if streams := list(self._running[True]):
                _, late = await asyncio.wait(streams, timeout=timeout_s)
                for task in late:
                    task.cancel()

    async def wait(self, timeout_s: float) -> None:
        """Give the handlers that are left some time to end by themselves, then end them with UNAVAILABLE."""
        if left := [*self._running[False], *self._running[True]]:
            _, late = await asyncio.wait(left, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=timeout_s)

    async def refuse(self, context: Context, error: A2AError) -> None:
        """End a call that no behavior has seen."""
        await self._abort(context, to_status(error))

    async def _abort(self, context: Context, status: Status) -> bool:
        """End the call with a status. Return False if the client did not read what was written before, so that the
        status could not be sent.

        The argument is a status and not an exception. The traceback of an exception holds the frame of the handler, and
        so the request, until the garbage collector runs.
        """
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.add(limit, ABORT_TIMEOUT_S)
                await abort(context, status)
        except TimeoutError:
            self._lines.warning("unread status", "the client does not read; its call ends without a status")
            return False
        except (grpc.aio.InternalError, grpc.aio.UsageError):
            pass  # the client is gone
        finally:
            self._limits.remove(limit)
        return True
