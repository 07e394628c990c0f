"""Read a file of keys for push notifications, or make it."""

import logging
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from a2a_grpc.config import ConfigurationError
from a2a_grpc.private import locked, write_private
from a2a_grpc.regular import check_regular, read_regular

logger = logging.getLogger("a2a_grpc.push")


def read_key_file(setting: str, path: Path, make: Callable[[], str] | None, *, most: int) -> bytes:
    """Return the content of a file of keys.

    Args:
        setting: The setting that names the file, for errors.
        path: The file.
        make: Makes the text of the file, if it does not exist. It gets mode 0600. Programs that start at the same time
            get the same text. None if the file has to exist.
        most: The largest number of bytes.

    Raises:
        ConfigurationError: The file cannot be read or written.
    """
    try:
        if make is not None:
            with locked(path):
                if not path.exists():
                    write_private(path, make())
        _warn_once(path, stat.S_IMODE(check_regular(path, most).st_mode))
        return read_regular(path, most)
    except OSError as error:
        raise ConfigurationError(f"{setting} {path}: cannot be used: {error.strerror}") from None


@lru_cache(maxsize=64)  # a program reads its settings more than once
def _warn_once(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("other users can use a file of keys file=%s mode=%04o do='chmod 600 %s'", path, mode, path)
