"""Find out whether files have changed since their contents were last used.

Certificates, keys and rules are read again while a program runs. Tools write such files in place, replace them, or move
the link that leads to them.
"""

import os
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from a2a_grpc.regular import read_regular

LOOK_EVERY_S = 1.0
"""Seconds between two looks at a file."""
UNSETTLED_S = 2.0
"""A file that changed less than these seconds ago is read at each look. Some file systems store times in whole seconds,
so a second change could look like the first."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look has found. Files whose stamps are the same have the same digest."""

    stamps: tuple[tuple[int, ...] | None, ...]
    """For each file what changes when the file does; None for a file that changed just now, or cannot be read."""
    digest: bytes
    """A digest of the contents and the modes of all files."""


class Watched:
    """Files whose contents are in use.

    Guarantees:

    - The files are read only if the inode, the size, the mode or the times of one have changed, if one changed just
      now, or if one cannot be read.
    - A file that has the same contents and mode as those in use is not changed.
    - A change between a look and the reading of the contents is found by the next look.

    Args:
        paths: The files. Make the object before the files are read for the first time.
    """

    def __init__(self, *paths: str | Path) -> None:
        self._paths = paths
        self._used = self._latest = self._look()

    def has_changed(self) -> bool:
        """Look at the files. Return True if they differ from those in use."""
        self._latest = self._look(self._latest)
        return self._latest.digest != self._used.digest

    def use(self) -> None:
        """Record that the contents in use are those of the last look, or later ones."""
        self._used = self._latest

    def _look(self, before: _Seen | None = None) -> _Seen:
        stamps = tuple(map(_stamp, self._paths))
        if before is not None and None not in stamps and stamps == before.stamps:
            return before
        digest = blake2b()
        for path in self._paths:
            digest.update(_digest(path))
        return _Seen(stamps, digest.digest())


def _stamp(path: str | Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    if time.time() - max(found.st_mtime, found.st_ctime) <= UNSETTLED_S:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(path: str | Path) -> bytes:
    """Return a digest of a file's contents and mode, or of the reason why there are none."""
    digest = blake2b()
    try:
        digest.update(b"%d " % os.stat(path).st_mode)
        digest.update(read_regular(path))
    except OSError as error:
        digest.update(b"error %d" % (error.errno or 0))
    return digest.digest()
