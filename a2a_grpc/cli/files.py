"""Read files and standard input that a user names, up to a size."""

import errno
import os
import select
import stat
from pathlib import Path
from typing import BinaryIO

from a2a_grpc.cli.screen import Screen
from a2a_grpc.harmless import one_line

MAX_BYTES = 512 << 20
"""The largest file that is read. Agents take far less in one request; gRPC has a limit of 2 GiB."""
PIECE_BYTES = 1 << 20
"""How many bytes of a stream are read at a time."""
SILENT_MS = 1000
"""If no program writes to a pipe for so many milliseconds, the command reports that it waits for one."""


def read_file(path: Path) -> bytes:
    """Return the content of a file or a pipe. Tell the user if nothing is written to the pipe.

    Raises:
        OSError: The file cannot be read, is larger than `MAX_BYTES`, or is a device.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer opens at once
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            raise OSError(errno.EINVAL, "it is a device, not a file")
        if found.st_size > MAX_BYTES:
            raise _too_large()
        if stat.S_ISFIFO(found.st_mode):
            _wait_for_writer(descriptor, path)
            os.set_blocking(descriptor, True)
        return read_stream(file)


def read_stream(stream: BinaryIO) -> bytes:
    """Return all of a stream. Raise OSError if it is longer than `MAX_BYTES`."""
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise _too_large()
    return b"".join(pieces)


def _wait_for_writer(descriptor: int, path: Path) -> None:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    if not waiting.poll(SILENT_MS):
        Screen.of_stderr().say(one_line(f"waiting for a program that writes to the pipe {path}"))
        waiting.poll()


def _too_large() -> OSError:
    return OSError(errno.EFBIG, f"it is larger than {MAX_BYTES >> 20} MiB, which is too much for a message")
