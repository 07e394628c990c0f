"""The connections of one client to one agent: as many as its open calls need."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

import grpc.aio

from a2a_grpc.client.renewal import Renewal
from a2a_grpc.config import ConfigurationError
from a2a_grpc.telemetry.opened import muting
from a2a_grpc.wire import A2AServiceStub

EXTRA_IDLE_S = 30.0
"""Seconds after which a further connection without calls is closed."""


class Pool:
    """Makes calls on the first connection that has room; opens another connection if none has.

    A server allows only so many calls at a time on one connection (100 by default, here and at many others). gRPC lets
    further calls of the connection wait, without an end if the calls before them are subscriptions.

    Guarantees:

    - On no connection are more than `max_calls` calls open.
    - The first connection stays. A further one is closed once it has been without calls for `EXTRA_IDLE_S`.
    - Once the certificates were replaced, a call that begins uses a connection with the new ones. Calls that are open
      go on, and their connections are closed as further ones are.

    Args:
        open_channel: A function that opens a channel. It raises ConfigurationError for certificates that do not fit.
        max_calls: The number of calls that may be open on one connection.
        renewal: The certificates of the client, which may be replaced.
        stub: A class whose instances make the calls of a service on a channel.
    """

    def __init__(
        self,
        open_channel: Callable[[], grpc.aio.Channel],
        max_calls: int,
        renewal: Renewal,
        stub: Callable[[grpc.aio.Channel], Any] = A2AServiceStub,
    ) -> None:
        self._open_channel = open_channel
        self._stub = stub
        self._max_calls = max_calls
        self._renewal = renewal
        self._muted = muting()
        """The context in which calls are begun."""
        self._first = _Line(open_channel(), stub)
        self._lines = [self._first]
        self._begun: weakref.WeakKeyDictionary[Any, weakref.finalize[Any, Any]] = weakref.WeakKeyDictionary()
        self._timers: dict[_Line, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of the first connection, for stubs of other services."""
        return self._first.channel

    @property
    def open_calls(self) -> list[int]:
        """The number of open calls on each connection."""
        return [line.calls for line in self._lines]

    async def unary(self, method: str, request: Any, **options: Any) -> Any:
        """Make a unary call on a connection with room. Return the response. The options are those of a gRPC stub."""
        line = self._with_room()
        line.calls += 1
        try:
            with self._muted():
                call = getattr(line.stub, method)(request, **options)
            return await call
        finally:
            self._ended(line)

    def begin(self, method: str, request: Any, **options: Any) -> Any:
        """Begin a call on a connection with room. Return gRPC's call, which is open until `end` or until it is freed.

        gRPC's own callback would hold the call in a cycle, and with the call the connection.
        """
        line = self._with_room()
        with self._muted():
            call = getattr(line.stub, method)(request, **options)
        line.calls += 1
        self._begun[call] = weakref.finalize(call, self._ended, line)
        return call

    def end(self, call: Any) -> None:
        """Cancel a call that `begin` returned, if it has not ended. It does not count as open any more."""
        call.cancel()
        if ended := self._begun.pop(call, None):
            ended()

    async def close(self) -> None:
        """Close all connections, and end the calls on them."""
        self._is_closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await asyncio.gather(*(line.channel.close() for line in self._lines), *self._closing)

    def has_former_certificates(self) -> bool:
        """Look at the certificates now. Return True if a connection is open that was opened with former ones.

        A call that the agent has refused on such a connection may be accepted on the next one. The connection of a call
        that has just ended counts as open.
        """
        if self._renewal.is_due(at_once=True):
            self._renew()
        return any(line.is_outdated for line in self._lines)

    def _with_room(self) -> "_Line":
        if self._renewal.is_due():
            self._renew()
        for line in self._lines:
            if line.calls < self._max_calls and not line.is_outdated:
                return line
        line = _Line(self._open_channel(), self._stub)
        self._lines.append(line)
        return line

    def _renew(self) -> None:
        """Open a connection with new certificates, to be the first one. Keep the former ones if they do not fit."""
        try:
            renewed = _Line(self._open_channel(), self._stub)
        except ConfigurationError as error:
            self._renewal.failed(error)
            return
        self._renewal.used()
        for line in self._lines:
            line.is_outdated = True
        self._first, former = renewed, self._first
        self._lines.insert(0, renewed)
        self._drop_if_idle(former)

    def _ended(self, line: "_Line") -> None:
        line.calls -= 1
        self._drop_if_idle(line)

    def _drop_if_idle(self, line: "_Line") -> None:
        if line is self._first or line.calls or self._is_closed or self._loop.is_closed():
            return
        if timer := self._timers.pop(line, None):
            timer.cancel()
        self._timers[line] = self._loop.call_later(EXTRA_IDLE_S, self._drop_idle, line)

    def _drop_idle(self, line: "_Line") -> None:
        del self._timers[line]
        if line.calls:
            return
        self._lines.remove(line)
        closing = self._loop.create_task(line.channel.close(), name="a2a-grpc close idle connection")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class _Line:
    """A connection with the number of calls that are open on it."""

    __slots__ = ("calls", "channel", "is_outdated", "stub")

    def __init__(self, channel: grpc.aio.Channel, stub: Callable[[grpc.aio.Channel], Any]) -> None:
        self.channel = channel
        self.stub = stub(channel)
        self.calls = 0
        self.is_outdated = False
        """True if the connection was opened with certificates that were replaced."""
