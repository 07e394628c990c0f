"""Bound the memory for responses that clients have not read yet."""

import asyncio
import logging
import math
from typing import Any

from a2a_grpc.deadlines import RunningClock
from a2a_grpc.errors import ResourceExhaustedError
from a2a_grpc.rpc.reset import outer_task, reset
from a2a_grpc.rpc.shares import Shares
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.rpc")

TINY_BYTES = 4096
"""The largest size in bytes of responses that are not counted, since gRPC holds more than that for their calls."""
LOOK_S = 0.25
"""Seconds between two looks for responses that are not read."""


class Hold:
    """A response that was given to gRPC, or the room for one."""

    __slots__ = ("outer", "peer", "since", "size")

    def __init__(self, peer: str, size: int) -> None:
        self.peer = peer
        self.size = size
        self.outer = outer_task.get()
        self.since = math.inf
        """The time at which gRPC got the response."""


class Responses:
    """The responses that gRPC has not sent yet, by the tasks of their calls.

    Guarantees:

    - All responses together have at most `max_bytes`, and those of one connection at most half as much. A single
      response may be larger.
    - A call waits for room for at most twice `unread_s`. Then it gets RESOURCE_EXHAUSTED.
    - While a call waits, responses that were not read for `unread_s` are ended, and their streams reset. Those of the
      connection that holds most are ended first. Time in which the event loop does not run does not count.
    """

    def __init__(self, *, max_bytes: int, unread_s: float) -> None:
        self._shares = Shares(max_bytes, max(1, max_bytes // 2))
        self._unread_s = unread_s
        self._holds: dict[asyncio.Task[Any], Hold] = {}
        self._loop = asyncio.get_running_loop()
        self._clock = RunningClock()
        self._looking: asyncio.TimerHandle | None = None
        self._lines = Throttle(logger)

    @property
    def is_tight(self) -> bool:
        """True if the next large response may have to wait."""
        return self._shares.is_wanted or 2 * self._shares.held > self._shares.total

    def are_counted(self, task: "asyncio.Task[Any]") -> bool:
        """Return True if a response of this call, or room for it, is counted."""
        return task in self._holds

    async def hold(self, task: "asyncio.Task[Any]", peer: str, size: int, *, has_acted: bool = True) -> None:
        """Count a response until `release` or the end of its call. If the call has room already, change its size.

        Call this in the task of the call. It waits for room.

        Raises:
            ResourceExhaustedError: There is no room in time. The error says when to try again, unless the call has
                acted already, because a second send would be a second message.
        """
        hold = self._holds.get(task)
        if hold is not None:
            self._resize(hold, size)
            return
        if size <= TINY_BYTES:
            return
        if not self._shares.take(peer, size) and not await self._shares.wait(peer, size, 2 * self._unread_s):
            advice = "the call has had its effect" if has_acted else "try again"
            raise ResourceExhaustedError(
                f"responses that clients have not read yet leave no room for one of {size} bytes; {advice}",
                retry_after_s=None if has_acted else 1.0,
            )
        self._holds[task] = Hold(peer, size)
        if self._looking is None:
            self._look_later()
        task.add_done_callback(self.release)

    def sent(self, task: "asyncio.Task[Any]") -> None:
        """Note that gRPC has got the response of a call, which from now on waits for the client to read."""
        hold = self._holds.get(task)
        if hold is not None:
            hold.since = self._clock.time()

    def release(self, task: "asyncio.Task[Any]") -> None:
        """Stop counting the response of a call, if one is counted."""
        hold = self._holds.pop(task, None)
        if hold is not None:
            task.remove_done_callback(self.release)
            self._shares.give_back(hold.peer, hold.size)

    def _resize(self, hold: Hold, size: int) -> None:
        if size > hold.size:
            self._shares.enlarge(hold.peer, size - hold.size)
        elif size < hold.size:
            self._shares.give_back(hold.peer, hold.size - size)
        hold.size = size

    def _look_later(self) -> None:
        self._clock.look(LOOK_S)
        self._looking = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """End responses that clients do not read, as many as the waiting calls need."""
        self._looking = None
        if not self._holds:
            self._clock.look(math.inf)
            return
        self._look_later()
        if not self._shares.is_wanted:
            return
        unread_since = self._clock.time() - self._unread_s
        unread = [(task, hold) for task, hold in self._holds.items() if hold.since < unread_since]
        unread.sort(key=lambda item: (-self._shares.held_by(item[1].peer), item[1].since))
        freed = 0
        for task, hold in unread:
            if freed >= self._shares.wanted:
                break
            reset(task, hold.outer)
            freed += hold.size
        if freed:
            self._lines.warning(
                "unread", "a response was not read while others waited; its call was ended seconds=%g", self._unread_s
            )
