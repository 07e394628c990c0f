"""Write lines of the log without waiting for their reader.

A write to a pipe, a socket or a terminal waits if its reader has stopped: a collector of logs that hangs, or Ctrl-S. A
server that waits in the log serves no call.
"""

import logging
import os
import select
import socket
import stat
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TextIO

logger = logging.getLogger("a2a_grpc.loglines")

WAITING_BYTES = 4 * 1024 * 1024
"""The size of the lines that may wait for the reader. Further lines are counted."""
FLUSH_S = 1.0
"""Seconds that lines have to be written when the program ends."""
AGAIN_S = 0.05
"""Seconds until the thread tries again, if another process has made the output non-blocking."""

Write = Callable[[bytes], int]
"""Writes bytes. Returns how many were written, or raises OSError."""


class PatientHandler(logging.StreamHandler[TextIO]):
    """Writes the log to a stream. If the stream takes no more, the lines wait in memory, and a thread writes them.

    A stream without a descriptor is written as `StreamHandler` does, and so is each stream on Windows.

    Guarantees:

    - A line is written at once, without a thread, while the stream takes it.
    - The program never waits for the reader of the stream, except for a second when it ends.
    - Lines stay in order. If more than 4 MiB wait, further lines are left out, and a line says how many.
    - A process that was forked writes its own lines only.
    - A line after `close`, such as one of a function of `atexit`, is written if the stream takes it at once.

    Args:
        stream: A text stream, such as standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._output = _opened(stream)
        if self._output is not None:
            # Not in `close`: the thread may be in a write then, and another file would get the number.
            weakref.finalize(self, self._output.close).atexit = False
        self._begin()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or let it wait."""
        if self._output is None:
            super().emit(record)
            return
        try:
            self._put(self._output, (self.format(record) + "\n").encode(self._encoding, "backslashreplace"))
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Log that a line could not be made. `logging` would write to standard error, and wait for its reader."""
        if self._output is None:
            super().handleError(record)
        elif record.name != logger.name:  # otherwise this line itself cannot be made
            place, error = f"{record.pathname}:{record.lineno}", sys.exception()
            logger.error("a line of the log could not be made from=%s place=%s error=%r", record.name, place, error)

    def flush(self) -> None:
        """Wait a second at most until nothing waits."""
        if self._output is None:
            super().flush()
            return
        with self._written:
            self._begin_in_child()
            self._written.wait_for(lambda: not self._waiting, FLUSH_S)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._writer: threading.Thread | None = None
        # The lock is that of the handler: `logging` makes it free in a process that was forked.
        self._written = threading.Condition(self.lock)

    def _begin_in_child(self) -> None:
        """Forget the lines and the thread of the parent, if this process was forked. The parent writes its lines."""
        if self._process != os.getpid():
            self._begin()

    def _put(self, output: "_Output", line: bytes) -> None:
        with self._written:
            self._begin_in_child()
            if not self._waiting:
                line = _rest(output.at_once, line)
            if not line:
                return
            if self._waiting and self._size + len(line) > WAITING_BYTES:
                self._left_out += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            if self._writer is None and not sys.is_finalizing():
                writer = threading.Thread(target=self._write, args=[output], name="a2a-grpc:log", daemon=True)
                with suppress(RuntimeError):  # the system has no more threads: the next line tries again
                    writer.start()
                    self._writer = writer

    def _write(self, output: "_Output") -> None:
        """Write the lines that wait. Return when there are none."""
        while True:
            left_out = 0
            with self._written:
                line = self._waiting[0] if self._waiting else b""
                if not line:
                    self._written.notify_all()
                    left_out, self._left_out = self._left_out, 0
                    if not left_out:
                        self._writer = None
                        return
            if left_out:
                logger.warning("lines of the log were left out, because nothing read them count=%d", left_out)
                continue
            rest = _rest(output.patiently, line)
            with self._written:
                self._size -= len(line) - len(rest)
                if rest:
                    self._waiting[0] = rest
                    self._written.wait(AGAIN_S)
                else:
                    self._waiting.popleft()


def takes_more(stream: TextIO) -> bool:
    """Return True if a few lines can be written to a stream at once.

    A stream that is broken, or that is no file of the system, counts as one that can be written.
    """
    number = _number(stream)
    if number is None or not hasattr(select, "poll"):  # Windows
        return True
    poller = select.poll()
    poller.register(number, select.POLLOUT)
    return bool(poller.poll(0))


@dataclass(frozen=True, slots=True)
class _Output:
    """How lines are written.

    A pipe, a socket or a terminal has descriptors of our own: that of the stream cannot be made non-blocking, because
    other processes share it.
    """

    at_once: Write
    """Writes what the output takes at once. Raises BlockingIOError if it takes nothing."""
    patiently: Write
    """Waits until the output takes bytes."""
    close: Callable[[], None]


def _opened(stream: TextIO) -> _Output | None:
    """Return the output of a stream, or None if the system does not allow to write it without waiting."""
    number = _number(stream)
    if number is None or not hasattr(os, "O_NONBLOCK"):  # Windows
        return None
    with suppress(OSError):
        kind = os.fstat(number).st_mode
        if stat.S_ISSOCK(kind):
            return _socket(number)
        if stat.S_ISFIFO(kind) or os.isatty(number):
            return _pipe(number)

    def write(line: bytes) -> int:
        return os.write(stream.fileno(), line)  # the stream has a lock, which another thread may hold during a fork

    return _Output(write, write, lambda: None)  # a file has no reader to wait for


def _socket(number: int) -> _Output:
    own = socket.socket(fileno=os.dup(number))
    own.settimeout(None)  # whatever the default is
    return _Output(lambda line: own.send(line, socket.MSG_DONTWAIT), own.send, own.close)


def _pipe(number: int) -> _Output:
    """Return descriptors for a pipe or a terminal. If it cannot be opened again, the thread writes all lines."""
    waits = own = os.dup(number)
    with suppress(OSError):
        own = os.open(f"/dev/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)

    def close() -> None:
        for descriptor in {waits, own}:
            os.close(descriptor)

    # On some systems the path stands for the descriptor as it is, which blocks.
    return _Output(_refuse if os.get_blocking(own) else partial(os.write, own), partial(os.write, waits), close)


def _refuse(line: bytes) -> int:
    raise BlockingIOError


def _rest(write: Write, line: bytes) -> bytes:
    """Write a line. Return what the output does not take."""
    try:
        while line:
            line = line[write(line) :]  # all at once, because other processes may write between two pieces
    except BlockingIOError:
        pass
    except (OSError, ValueError):  # the output is broken, or the stream is closed: the line is lost
        return b""
    return line


def _number(stream: TextIO) -> int | None:
    """Return the descriptor of a stream, or None if it has none."""
    with suppress(OSError, ValueError, AttributeError):
        return stream.fileno()
    return None
