"""The rules of a file, which is read again when it changes."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from a2a_grpc.auth.file import OF_SENTINELS, tables_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.sentinel.rules import Rule, Rules, rules_in
from a2a_grpc.throttle import Throttle
from a2a_grpc.watched import Watched

logger = logging.getLogger("a2a_grpc.sentinel")

REMIND_S = 60.0
"""Seconds between two log lines about the same fault of the file."""


class RulesFile(Rules):
    """The rules of the tables `[[attach]]` and `[[call]]` of a file.

    Guarantees:

    - A change of the file counts once two looks in a row have found the same rules. A file that is being written may
      lack a rule, and would allow too much.
    - If the new file cannot be read or is wrong, the former rules remain, and the log says why.
    - A change of another table counts from the next start only. The log says so.

    Args:
        path: The file of the accepted credentials.

    Raises:
        ConfigurationError: The file cannot be read, or is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watched = Watched(path)
        read = _read(path)
        super().__init__(**read.rules)
        self._last = read
        self._others = read.others
        self._lines = Throttle(logger, REMIND_S)

    async def look(self) -> None:
        """Read the file again if it has changed."""
        try:
            read = await asyncio.to_thread(self._read_if_changed)
        except ConfigurationError as error:
            self._lines.warning(str(error), "rules not read again, the former ones remain valid: error=%s", error)
            return
        self._lines.close()  # the fault is mended, so no line counts it any more
        if read is None:
            return
        last, self._last = self._last, read
        if (read.rules, read.others) != (last.rules, last.others):
            return
        self._watched.use()
        if read.rules != {"attach": self.attach, "call": self.call}:
            self.use(**read.rules)
            counts = (len(self.attach), len(self.call))
            logger.info("rules read again file=%s attach=%d call=%d", self._path, *counts)
        if read.others != self._others:
            self._others = read.others
            logger.warning("the tables of credentials have changed; they count from the next start file=%s", self._path)

    def _read_if_changed(self) -> "_Read | None":
        return _read(self._path) if self._watched.has_changed() else None


class _Read(NamedTuple):
    """What was read of the file."""

    rules: dict[str, tuple[Rule, ...]]
    others: Mapping[str, Any]


def _read(path: Path) -> _Read:
    """Return what the file says. Raise ConfigurationError if the file is wrong."""
    tables, others = tables_of(path, OF_SENTINELS)
    return _Read(rules_in(path, tables), others)
