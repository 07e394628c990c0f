"""One Attach stream of an agent: its frames, and the pipes that the sentinel asks for."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.client.pool import Pool
from a2a_grpc.client.status import ending_of, failure_of, to_error
from a2a_grpc.deadlines import time_limit
from a2a_grpc.errors import A2AError, InvalidRequestError, UnavailableError
from a2a_grpc.sentinel.described import check_size
from a2a_grpc.sentinel.pipe import BROKEN
from a2a_grpc.sentinel.pipes import Pipes
from a2a_grpc.sentinel.signed_callers import SignedCallers
from a2a_grpc.sentinel.wire import (
    AgentFrame,
    Bye,
    Heartbeat,
    Hello,
    SentinelFrame,
    Welcome,
    parsed,
)

logger = logging.getLogger("a2a_grpc.sentinel")

WELCOME_S = 10.0
"""Seconds in which a sentinel answers Hello."""
LEAVE_S = 1.0
"""Seconds for the last words to a sentinel."""

BROKEN_OFF = "the connection to the sentinel is broken"


class AttachStream:
    """One Attach stream, with its pipes.

    Args:
        hello: What the agent says of itself.
        pool: The connections to the sentinel, which the stream closes.
        metadata: The credentials of the agent.
        socket: The path of the socket of the agent's gRPC server, once it is known.
        callers: The authenticator of this socket, which gets the key of the sentinel while the stream is open.
    """

    def __init__(
        self,
        hello: Hello,
        pool: Pool,
        metadata: tuple[tuple[str, str], ...],
        socket: "asyncio.Future[Path]",
        callers: SignedCallers,
    ) -> None:
        self._hello = hello
        self._pool = pool
        self._metadata = metadata
        self._callers = callers
        self._key = ""
        """The name of the sentinel's key; empty if it signs nothing."""
        self._frames: asyncio.Queue[AgentFrame] = asyncio.Queue()
        self._pipes = Pipes(hello.address, pool, metadata, socket)
        self._attach: Any = None
        self._ending: asyncio.Future[grpc.aio.AioRpcError] | None = None
        self._heartbeat_s = WELCOME_S
        self.spread_s = 0.0
        """The time in seconds over which agents that have lost the sentinel come back."""
        self._drained = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.was_replaced = False
        """True once another agent has taken the address."""
        self.ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the tunnel has ended and everything of it is released."""

    async def open(self) -> Welcome:
        """Send Hello. Return the Welcome. Raise an error if the sentinel refuses, or does not answer."""
        try:
            welcome = await self._welcome()
            self._key = self._callers.trust(welcome)
        except Exception as error:
            failure = error
            if isinstance(error, BROKEN):
                failure = await self._failure()
            elif type(error) is ValueError:
                failure = InvalidRequestError("the key, or a security scheme, of the sentinel's Welcome is malformed")
            await self._end()
            raise failure from None
        self._heartbeat_s, self.spread_s = welcome.heartbeat_s, welcome.spread_s
        self._running = asyncio.create_task(self._run(), name="a2a-grpc:tunnel")
        return welcome

    async def _welcome(self) -> Welcome:
        """Send Hello. Return the Welcome."""
        try:
            async with time_limit(WELCOME_S):
                self._attach = self._pool.begin("attach", None, metadata=self._metadata)
                self._ending = ending_of(self._attach)
                await self._attach.write(AgentFrame(hello=self._hello).SerializeToString())
                frame = await self._read()
        except TimeoutError:
            raise UnavailableError(f"the sentinel did not answer within {WELCOME_S:g} s") from None
        if frame is None or frame.WhichOneof("frame") != "welcome" or not 0 < frame.welcome.heartbeat_s <= 3600:
            raise InvalidRequestError("the first frame of the sentinel is no proper Welcome")
        return frame.welcome

    async def leaving(self, max_age_s: float = 0.0) -> bool:
        """Wait until the sentinel drains, and return True, or until the tunnel has its largest age, and return False.

        Raise the error if the tunnel is lost before.

        Args:
            max_age_s: The largest age in seconds; 0 for no limit.
        """
        assert self._running is not None
        drained = asyncio.create_task(self._drained.wait(), name="a2a-grpc:drained")
        try:
            both: list[asyncio.Future[Any]] = [drained, self._running]
            await asyncio.wait(both, timeout=max_age_s or None, return_when=asyncio.FIRST_COMPLETED)
        finally:
            drained.cancel()
        if self.was_replaced:
            raise UnavailableError("another agent has taken the address")
        if self._running.done():
            self._running.result()
        return self._drained.is_set()

    def send(self, frame: AgentFrame) -> None:
        """Send a frame to the sentinel."""
        self._frames.put_nowait(frame)

    async def close(self) -> None:
        """Send Bye, and end everything."""
        if self._running is None:
            await self._end()
            return
        self.send(AgentFrame(bye=Bye(reason="the agent stops")))
        await asyncio.wait([self._running], timeout=LEAVE_S)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Serve the tunnel until its end. Raise the error of a tunnel that was lost."""
        both = (self._send_frames(), self._receive_frames())
        tasks = [asyncio.create_task(one, name="a2a-grpc:tunnel") for one in both]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._drained.is_set():
                # gRPC raises CancelledError in a task whose call the other task has canceled.
                errors = [UnavailableError(BROKEN_OFF) if task.cancelled() else task.exception() for task in done]
                error = min(errors, key=lambda error: not isinstance(error, A2AError))
                if error is not None:
                    raise await self._failure() if isinstance(error, BROKEN) else error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()
        if not self._drained.is_set():
            raise UnavailableError("the sentinel has ended the tunnel")

    async def _send_frames(self) -> None:
        """Send the frames of the queue, and a heartbeat if there are none. Return one second after Bye."""
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    frame = await self._frames.get()
            except TimeoutError:
                frame = AgentFrame(heartbeat=Heartbeat())
            kind = frame.WhichOneof("frame")
            if kind == "described":
                check_size(frame.described.card)  # gRPC ends the stream of a message over the sentinel's limit
            await self._attach.write(frame.SerializeToString())
            if kind == "bye":
                await asyncio.sleep(LEAVE_S)  # the sentinel ends the stream before; a cancel would overtake Bye
                return

    async def _receive_frames(self) -> None:
        """Handle the frames of the sentinel. Return at the end of the stream."""
        while True:
            try:
                async with time_limit(2 * self._heartbeat_s):
                    frame = await self._read()
            except TimeoutError:
                raise UnavailableError("the sentinel was silent for two heartbeats") from None
            if frame is None:
                return
            match frame.WhichOneof("frame"):
                case "heartbeat":
                    self.spread_s = frame.heartbeat.spread_s
                case "dial":
                    self._pipes.open(frame.dial.id)
                case "drain":
                    self.was_replaced = frame.drain.replaced
                    self._drained.set()
                case "bye":
                    return
                case _:
                    raise InvalidRequestError("the sentinel's frame is of no known kind")

    async def _read(self) -> SentinelFrame | None:
        """Return the next frame; None at the end of the stream."""
        raw = await self._attach.read()
        return None if raw is grpc.aio.EOF else parsed(SentinelFrame, raw)

    async def _failure(self) -> A2AError:
        """Return the error that the failed stream stands for."""
        if self._ending is None:
            return UnavailableError(BROKEN_OFF)
        failure = await failure_of(self._ending)
        if failure.code() is grpc.StatusCode.CANCELLED:  # by this side, after a heartbeat that did not come
            return UnavailableError(BROKEN_OFF)
        return to_error(failure)

    async def _end(self) -> None:
        """End all pipes and the stream, and close the connections."""
        await self._pipes.close()
        if self._attach is not None:
            self._pool.end(self._attach)
        await self._pool.close()
        self._callers.distrust(self._key)
        self._key = ""
        if not self.ending.done():
            self.ending.set_result(None)
