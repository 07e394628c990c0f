"""Regular files: read within a limit. Pipes and devices are refused, since they may never end.

A symbolic link to a regular file is one, for example a secret that Kubernetes mounts.
"""

import errno
import os
import stat
from pathlib import Path

MAX_TOKEN_BYTES = 64 * 1024
"""The largest file with a token, a key or a secret that is sent."""
MAX_PEM_BYTES = 16 << 20
"""The largest file of certificates or of a private key. The CAs of a system have some 250 KiB."""
PIECE_BYTES = 64 * 1024
"""What is read at once of a file that is larger than the system says."""
MAX_FILE_BYTES = 64 << 20
"""The largest file of any other kind."""


def read_regular(path: str | Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        limit: The largest size in bytes.

    Raises:
        OSError: The file cannot be read, is no regular file, or is larger. `strerror` says why, without the path.
    """
    check_regular(path, limit)
    # If a pipe has taken the place of the file, this does not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        _check(state, path, limit)
        content = file.read(state.st_size)
        while len(content) <= limit and (more := file.read(PIECE_BYTES)):  # files of /proc have the size 0
            content += more
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def check_regular(path: str | Path, limit: int = MAX_FILE_BYTES) -> os.stat_result:
    """Return the state of a file. Raise OSError if `read_regular` would not read it."""
    try:
        state = os.stat(path)
    except ValueError as error:  # a path with a NUL
        raise OSError(errno.EINVAL, str(error)) from None
    _check(state, path, limit)
    return state


def _check(state: os.stat_result, path: str | Path, limit: int) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if state.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: str | Path, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
