"""Write lines of the log without waiting for their reader.

A write to a pipe or a terminal waits if its reader has stopped: a collector of logs that hangs, or Ctrl-S. A server
that waits in the log serves no call.
"""

import logging
import os
import select
import stat
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

logger = logging.getLogger("a2a_grpc.loglines")

CHUNK_BYTES = 4096
"""A pipe that can be written takes so many bytes at once."""
WAITING_BYTES = 4 * 1024 * 1024
"""The size of the lines that may wait for the reader. Further lines are counted."""
FLUSH_S = 1.0
"""Seconds that lines have to be written when the program ends."""


class PatientHandler(logging.Handler):
    """Writes the log to a stream. If the stream takes no more, the lines wait in memory, and a thread writes them.

    Guarantees:

    - A line is written at once, without a thread, while the stream takes it.
    - The program never waits for the reader of the stream, except for a second when it ends.
    - Lines stay in order. If more than 4 MiB wait, further lines are left out, and a line says how many.

    Args:
        stream: A text stream, such as standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._number = _own(stream)
        self._encoding = stream.encoding or "utf-8"
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._moved = threading.Condition()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or let it wait."""
        try:
            line = self.format(record) + "\n"
            if self._number is None:
                self._stream.write(line)
                self._stream.flush()
                return
            self._put(line.encode(self._encoding, "backslashreplace"))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait a second at most until nothing waits."""
        with self._moved:
            self._moved.wait_for(lambda: not self._waiting, FLUSH_S if self._waiting else 0)

    def close(self) -> None:
        """Close the descriptor of the pipe, if there is one of its own. The stream stays open."""
        with self._moved:
            if self._number not in (None, _number(self._stream)):
                os.close(self._number)
            self._number = None
        super().close()

    def _put(self, line: bytes) -> None:
        assert self._number is not None
        with self._moved:
            if not self._waiting:
                line = _written(self._number, line)
            if not line:
                return
            if self._size + len(line) > WAITING_BYTES:
                self._left_out += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            if self._writer is None or not self._writer.is_alive():  # a process that was forked has no threads
                self._writer = threading.Thread(target=self._write, name="a2a-grpc:log", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        """Write the lines that wait. Return when there are none."""
        while (number := self._number) is not None:
            takes_more(number, wait_s=None)
            with self._moved:
                self._size -= len(line := self._waiting.popleft() if self._waiting else b"")
                if rest := _written(number, line):
                    self._waiting.appendleft(rest)
                    self._size += len(rest)
                if self._waiting:
                    continue
                self._moved.notify_all()
                left_out, self._left_out = self._left_out, 0
                if not left_out:
                    self._writer = None
                    return
            logger.warning("lines of the log were left out, because nothing read them count=%d", left_out)


def takes_more(output: int | TextIO, *, wait_s: float | None = 0.0) -> bool:
    """Return True if a few lines can be written to an output at once. Wait at most `wait_s` seconds, or without end.

    An output that is broken, or that is no file of the system, counts as one that can be written.
    """
    number = output if isinstance(output, int) else _number(output)
    if number is None or not hasattr(select, "poll"):  # Windows
        return True
    poller = select.poll()
    poller.register(number, select.POLLOUT)
    return bool(poller.poll(None if wait_s is None else wait_s * 1000))


def _written(number: int, line: bytes) -> bytes:
    """Write as much of a line as the output takes at once. Return the rest."""
    while line:
        try:
            if not takes_more(number):
                return line
            line = line[os.write(number, line[:CHUNK_BYTES]) :]
        except BlockingIOError:  # another process has filled the pipe
            return line
        except OSError:  # the output is broken: the line is lost, and the program goes on
            return b""
    return line


def _number(stream: TextIO) -> int | None:
    """Return the descriptor of a stream, or None if it has none."""
    with suppress(OSError, ValueError, AttributeError):
        return stream.fileno()
    return None


def _own(stream: TextIO) -> int | None:
    """Return a descriptor for a stream. That of a pipe does not block, if the system allows it.

    The descriptor of the stream itself cannot be changed so, because other processes share it.
    """
    number = _number(stream)
    if number is not None and hasattr(os, "O_NONBLOCK"):
        with suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                return os.open(f"/dev/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    return number
