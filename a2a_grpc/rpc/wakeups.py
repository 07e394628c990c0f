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
from functools import partial
from typing import Any

from grpc._cython import cygrpc

EVENTS = 16
"""The number of events that may wait for a round of the event loop. A round handles at most about twice as many."""
BYTE_COST = 768
"""The bytes of a buffer that Linux counts for one byte in a socket."""


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
    loop.add_reader(readers[0].fileno(), partial(_wake, readers[0], handle, loop))
    return readers[0]


def _poller(thread: threading.Thread) -> Any:
    """Return the object whose method a thread runs if this is the thread of grpc.aio, or None."""
    owner = getattr(getattr(thread, "_target", None), "__self__", None)
    return owner if isinstance(owner, getattr(cygrpc, "PollerCompletionQueue", ())) else None


def _wake(reader: socket.socket, handle: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Read all bytes except one, and let grpc.aio read this one and handle the events.

    An event waits before its byte is written. So no event of a byte that was read is left.
    """
    if (waiting := waiting_bytes(reader)) > 1:
        with suppress(BlockingIOError):  # another loop of this process has read them
            reader.recv(waiting - 1)
    handle(loop)


def waiting_bytes(reader: socket.socket) -> int:
    """Return the number of bytes that wait in a socket."""
    import fcntl  # Windows has none
    import termios

    return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)
