"""Files with secrets: only their owner can read them, and two processes can change them at the same time."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock for changes of a file while the block runs. The file need not exist.

    The lock ends with the process. It is a lock on the folder of the file, so it leaves no file behind. Windows cannot
    lock folders; there it is a lock on the file NAME.lock, which stays.

    Args:
        path: The file.

    Raises:
        OSError: The folder does not exist, or cannot be read.
    """
    if sys.platform == "win32":
        import msvcrt

        with open(f"{path}.lock", "ab") as lock:
            msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)
            yield
        return
    import fcntl

    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write_private(path: Path, text: str) -> None:
    """Write a file so that a reader finds either the old text or the new one, also after a crash.

    A new file has mode 0600. A file that exists keeps its mode and its owner. If the path is a symbolic link, the file
    that it leads to is written.

    Args:
        path: The file.
        text: The new text.

    Raises:
        OSError: The file cannot be written, or this user may not give it the owner that it has.
    """
    target = path.resolve()
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # with mode 0600
    try:
        with open(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            _keep_owner(file.fileno(), target)
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(target.parent)


def _keep_owner(number: int, target: Path) -> None:
    """Give an open file the mode and the owner of another one, if that exists."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return
    if sys.platform == "win32":
        return
    new = os.fstat(number)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        os.fchown(number, old.st_uid, old.st_gid)
    os.fchmod(number, old.st_mode & 0o777)


def _sync_folder(folder: Path) -> None:
    """Have the disk keep the new entry of a folder. Some systems cannot do that, and need not."""
    with suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
