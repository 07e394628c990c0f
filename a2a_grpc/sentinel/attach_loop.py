"""Keeping an agent attached to one sentinel."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from a2a_grpc.client.target import Address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, UnavailableError
from a2a_grpc.harmless import one_line
from a2a_grpc.sentinel.attach_stream import BROKEN_OFF, AttachStream
from a2a_grpc.sentinel.described import is_bad_card
from a2a_grpc.sentinel.reattach import ReattachDelay, RecurringLoss
from a2a_grpc.sentinel.wire import AgentFrame, Drain, Welcome

logger = logging.getLogger("a2a_grpc.sentinel")

RETIRE_S = 65.0
"""Seconds for which a former tunnel may go on, a little more than the sentinel lets its calls go on."""

YOUNGEST = 0.9
"""The share of the largest age at which an agent may attach again: agents that came together do not go together."""

GivesUp = Callable[["AttachLoop", A2AError, bool], bool]
"""Decides, after a failure, whether a loop gives up. The last argument is True if no further attempt can succeed."""


class AttachLoop:
    """Keeps an agent attached to one sentinel.

    Guarantees:

    - After a loss the agent attaches again, see `ReattachDelay`.
    - If the sentinel drains, or the tunnel has its largest age, a new tunnel is opened. The former one goes on until
      the new one is there, and then until its calls have ended, for 65 seconds at most.
    - If tunnels are lost after the same time again and again, the log has a warning with this time.

    Args:
        sentinel: The address of the sentinel.
        address: The logical address of the agent.
        new_stream: Makes a tunnel that is not open yet.
        first_frames: Returns the frames that the agent sends on each new tunnel.
        gives_up: Decides, after a failure, whether to give up.
        max_age_s: The largest age of a tunnel in seconds; 0 for no limit.
    """

    def __init__(
        self,
        sentinel: Address,
        address: str,
        new_stream: Callable[[Address], AttachStream],
        first_frames: Callable[[], list[AgentFrame]],
        gives_up: GivesUp,
        *,
        max_age_s: float,
    ) -> None:
        self.sentinel = sentinel
        self.welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        """Done once the agent is attached for the first time."""
        self.is_stuck = False
        """True if the last attempt has failed, and another one is useless or not wanted."""
        self._address = address
        self._new_stream = new_stream
        self._first_frames = first_frames
        self._gives_up = gives_up
        self._max_age_s = max_age_s
        self._streams: set[AttachStream] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._delay = ReattachDelay()
        self._recurring = RecurringLoss()
        self._said = ""

    def send(self, frame: AgentFrame) -> None:
        """Send a frame on all tunnels."""
        for stream in self._streams:
            stream.send(frame)

    async def run(self) -> None:
        """Attach, and attach again whenever the current tunnel is lost, is too old, or drains. Return to give up."""
        former: AttachStream | None = None
        while True:
            stream = self._new()
            began = 0.0
            try:
                welcome = await stream.open()
                began = time.monotonic()
                self._opened(stream, welcome)
                if former is not None:
                    self._retire(former)
                former = None
                max_age_s = self._max_age_s * random.uniform(YOUNGEST, 1.0)
                is_drained = await stream.leaving(max_age_s)  # raises if the tunnel was lost
                former = stream
                if is_drained:
                    await asyncio.sleep(self._delay.after_loss_s(stream.spread_s, time.monotonic() - began))
            except A2AError as error:
                if self._is_over(stream, error):
                    return
                if not began:
                    await asyncio.sleep(self._delay.after_failure_s())
                    continue
                age_s = time.monotonic() - began
                self._note_loss(age_s, error)
                await asyncio.sleep(self._delay.after_loss_s(stream.spread_s, age_s))

    async def close(self) -> None:
        """Say Bye on all tunnels, and end them."""
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(stream.close() for stream in set(self._streams)))
        self.welcome.cancel()

    def _new(self) -> AttachStream:
        """Return a new tunnel. It is forgotten once it has ended: a former one has calls in progress."""
        stream = self._new_stream(self.sentinel)
        self._streams.add(stream)
        stream.ending.add_done_callback(lambda done: self._streams.discard(stream))
        return stream

    def _opened(self, stream: AttachStream, welcome: Welcome) -> None:
        logger.info("attached address=%s sentinel=%s", self._address, self.sentinel)
        self._said = ""
        self.is_stuck = False
        for frame in self._first_frames():
            stream.send(frame)
        if not self.welcome.done():
            self.welcome.set_result(welcome)

    def _retire(self, former: AttachStream) -> None:
        """Let the calls of a former tunnel end, and end it. The sentinel behind a load balancer may be another one."""

        async def retire() -> None:
            former.send(AgentFrame(drain=Drain()))
            await asyncio.wait([former.ending], timeout=RETIRE_S)
            await former.close()

        retiring = asyncio.create_task(retire(), name="a2a-grpc:retire")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _is_over(self, stream: AttachStream, error: A2AError) -> bool:
        """Report a failure. Return True if the loop gives up."""
        where = (self._address, self.sentinel, one_line(error.message))
        is_over = self._gives_up(self, error, stream.was_replaced or is_bad_card(error))
        if is_over:
            if self.welcome.done():
                logger.error("no longer attached address=%s sentinel=%s reason=%s", *where)
            else:
                logger.info("not attached address=%s sentinel=%s reason=%s; no further attempt", *where)
        elif error.message != self._said:
            self._said = error.message
            logger.warning("not attached address=%s sentinel=%s reason=%s; trying again", *where)
        return is_over

    def _note_loss(self, age_s: float, error: A2AError) -> None:
        if (cut_s := self._recurring.lost(age_s)) is not None:
            logger.warning(
                "the connection to the sentinel is lost after the same time again and again, perhaps by a "
                "proxy's timeout; raise this timeout, or set --attach-max-age-s "
                "address=%s sentinel=%s seconds=%.3g max_age_s=%.2g",
                self._address, self.sentinel, cut_s, 0.8 * cut_s,
            )  # fmt: skip


def failure_of(task: "asyncio.Task[None]") -> BaseException | None:
    """Return the error that ended the task of a loop, after a line in the log; None if the loop has given up.

    Args:
        task: The task of `AttachLoop.run`, which has ended.
    """
    error = UnavailableError(BROKEN_OFF) if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, ConfigurationError):
        logger.error("attaching failed", exc_info=error)
    return error
