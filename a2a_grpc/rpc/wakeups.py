"""Wake the event loop once for many events of gRPC.

A thread of grpc.aio collects the events of gRPC's core. For each one it writes a byte to a socket, and the event loop
reads one byte a round. So a thousand events cost a thousand rounds, although the first round handles all of them. Once
277 bytes wait, the thread waits too, and each round handles a single event. An attack with many calls delayed all other
calls like this.
"""

import asyncio
import gc
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from grpc._cython import cygrpc

EVENTS = 64
"""The number of events that may wait for a round of the event loop. A round handles at most about twice as many."""
BYTE_COST = 768
"""The bytes of a buffer that Linux counts for one byte in a socket."""
CALM = 16
"""Looks in a row that found one byte, after which the loop looks in one round of `LOOKS_APART` only."""
LOOKS_APART = 4
"""Each look is a system call. In every round, it took a tenth of the processor time of a stream that is alone."""


def gather_wakeups(loop: asyncio.AbstractEventLoop) -> socket.socket | None:
    """Let each round of a loop read the bytes of all events that wait. Call this when the loop uses grpc.aio.

    Return the socket of the bytes. Return None, and change nothing, if grpc.aio or the platform has other parts than
    this function knows.
    """
    poller = next(filter(None, map(_poller, threading.enumerate())), None)
    sockets = [each for each in gc.get_referents(poller) if isinstance(each, socket.socket)]
    readers = [each for each in sockets if not each.getblocking()]
    writers = [each for each in sockets if each.getblocking()]
    handle = getattr(poller, "_handle_events", None)
    if sys.platform != "linux" or handle is None or len(readers) != 1 or len(writers) != 1:
        return None
    writers[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, EVENTS * BYTE_COST // 2)  # Linux doubles it
    loop.add_reader(readers[0].fileno(), _Wakeups(readers[0], writers[0], handle, loop).wake)
    return readers[0]


def _poller(thread: threading.Thread) -> Any:
    """Return the object whose method a thread runs if this is the thread of grpc.aio, or None."""
    owner = getattr(getattr(thread, "_target", None), "__self__", None)
    return owner if isinstance(owner, getattr(cygrpc, "PollerCompletionQueue", ())) else None


class _Wakeups:
    """Reads the bytes of the events."""

    __slots__ = ("_calm", "_handle", "_loop", "_reader", "_skipped", "_writer")

    def __init__(
        self, reader: socket.socket, writer: socket.socket, handle: Any, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._loop = loop
        self._calm = 0
        """Looks in a row that found one byte."""
        self._skipped = 0
        """Rounds without a look since the last one."""

    def wake(self) -> None:
        """Read all bytes except one, and let grpc.aio read this one and handle the events.

        An event waits before its byte is written. So no event of a byte that was read is left, unless an event fails:
        that of an event loop which was closed does. Then the next round handles those behind it.
        """
        if self._calm >= CALM and self._skipped < LOOKS_APART - 1:
            self._skipped += 1
        else:
            self._skipped = 0
            if (waiting := waiting_bytes(self._reader)) > 1:
                self._calm = 0
                with suppress(BlockingIOError):  # another loop of this process has read them
                    self._reader.recv(waiting - 1)
            else:
                self._calm += 1
        try:
            self._handle(self._loop)
        except BaseException:
            with suppress(BlockingIOError):  # the bytes that fill the socket do as well
                self._writer.send(b"\0", socket.MSG_DONTWAIT)
            raise


def waiting_bytes(reader: socket.socket) -> int:
    """Return the number of bytes that wait in a socket."""
    import fcntl  # Windows has none
    import termios

    return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)
