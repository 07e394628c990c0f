"""Find the directory in which the processes of one machine that share a database file meet."""

import errno
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from a2a_grpc.config import ConfigurationError

MAX_PATH_BYTES = 103
"""The longest address of a socket, on the strictest platform."""
SOCKET_BYTES = 24
"""Bytes of an address that the name of a socket in its directory takes."""
PRIVATE = 0o700


def machine_directories(database: str, chosen: str = "") -> list[Path]:
    """Return the directories in which this user's processes can meet, the preferred one first.

    The list is the same for every path that leads to a database file.

    If a directory was `chosen`, the only entry is in it. Otherwise the entry is in the user's runtime directory, to
    which no other user can write. Without a runtime directory, the first entry is among the temporary files. Any user
    can make a directory of that name there first, so a second entry follows, next to the database. Processes with
    different runtime or temporary directories do not meet.

    Raises:
        ConfigurationError: There is no directory to write to, or the path of the chosen one is too long.
    """
    real = os.path.realpath(database)
    name = "a2a-grpc-" + hashlib.blake2b(os.fsencode(f"{os.getuid()}:{real}"), digest_size=10).hexdigest()
    if chosen:
        if not _fits(Path(chosen) / name):
            longest = MAX_PATH_BYTES - SOCKET_BYTES - len(name) - 1
            raise ConfigurationError(
                f"the bus cannot use the directory '{chosen}': its path has {len(os.fsencode(chosen))} bytes, and the "
                f"address of a socket allows {longest}; choose a shorter one as bus=machine:/DIRECTORY"
            )
        return [Path(chosen) / name]
    runtime = _runtime_directory()
    if runtime is not None and _fits(runtime / name):
        return [runtime / name]
    parent = Path("/tmp") if runtime is not None else _temporary_directory()
    if not _fits(parent / name):
        parent = Path("/tmp")
    return [parent / name, Path(f"{real}-bus")]


def claim(directory: Path) -> None:
    """Make the directory for this user alone. Raise OSError if it exists and another user could change it."""
    try:
        directory.mkdir(mode=PRIVATE, parents=True)
        directory.chmod(PRIVATE)  # a umask may have taken bits of the owner
    except FileExistsError:
        check(directory)


def check(directory: Path) -> None:
    """Raise PermissionError unless this is a directory, and no link, that only this user can enter."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "it must be a directory of this user alone")


def is_in_use(directory: Path, suffix: str) -> bool:
    """Return True if the directory is this user's, and processes meet there."""
    try:
        check(directory)
        return any(directory.glob(f"*{suffix}"))
    except OSError:
        return False


def _runtime_directory() -> Path | None:
    found = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    is_ours = found.is_absolute() and found.is_dir() and found.stat().st_uid == os.getuid()
    return found if is_ours and os.access(found, os.W_OK) else None


def _temporary_directory() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise ConfigurationError(
            "the bus finds no directory that it can write to: set XDG_RUNTIME_DIR, or bus=machine:/DIRECTORY"
        ) from error


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory)) + SOCKET_BYTES <= MAX_PATH_BYTES
