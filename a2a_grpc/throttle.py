"""Write log lines at a bounded rate: one of a kind in an interval, with a count of the lines that are left out."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

MAX_KINDS = 256
"""The number of kinds that a throttle remembers. The next line of a forgotten kind is written at once."""


class Throttle:
    """Writes log lines of a kind at most once in `interval_s`.

    Guarantees:

    - The first line of a kind is written at once.
    - Further lines of the kind are counted until the interval is over. Then one line has the number of lines left out.
      It is the next line of the kind. If an event loop runs, it is the first line again, without waiting for a next
      one.
    - Kinds do not delay each other.
    - Arguments of lines that are left out are neither formatted nor kept, and at most `MAX_KINDS` kinds are remembered.
    - After `close` no count is written. `log` may be called by any thread.
    """

    def __init__(
        self, logger: logging.Logger, interval_s: float = 1.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._interval_s = interval_s
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def log(self, level: int, kind: str, message: str, *values: object, exc_info: Any = None) -> None:
        """Write the line `message % values`, or count it if a line of its kind was written within the interval."""
        now = self._clock()
        with self._lock:
            known = self._kinds.get(kind)
            if known is not None and now < known.until:
                known.left_out += 1
                if known.left_out == 1:
                    self._summarise_later(kind, known)
                return
            left_out = known.left_out if known is not None else 0
            if known is None and len(self._kinds) >= MAX_KINDS:
                del self._kinds[next(iter(self._kinds))]
            self._kinds[kind] = kept = _Kind(level, message, tuple(map(_kept, values)), now + self._interval_s)
        self._write(kept, left_out, exc_info)

    def warning(self, kind: str, message: str, *values: object) -> None:
        """Write or count a line at level WARNING."""
        self.log(logging.WARNING, kind, message, *values)

    def error(self, kind: str, message: str, *values: object, exc_info: Any = None) -> None:
        """Write or count a line at level ERROR."""
        self.log(logging.ERROR, kind, message, *values, exc_info=exc_info)

    def close(self) -> None:
        """Forget the lines that were left out, so that no count of them is written."""
        with self._lock:
            self._kinds.clear()

    def _summarise_later(self, kind: str, known: "_Kind") -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # in a thread without an event loop the next line of the kind has the count
        loop.call_later(self._interval_s, self._summarise, kind, known)

    def _summarise(self, kind: str, known: "_Kind") -> None:
        """Write the count of lines left out, unless a line of the kind had it. The count is a line of the kind
        itself."""
        with self._lock:
            if self._kinds.get(kind) is not known:
                return
            left_out = known.left_out
            self._kinds[kind] = _Kind(known.level, known.message, known.values, self._clock() + self._interval_s)
        self._write(known, left_out, None)

    def _write(self, line: "_Kind", left_out: int, exc_info: Any) -> None:
        message = line.message if line.values else line.message.replace("%", "%%")
        message += "%s"
        count = f" (and {left_out} more like this)" if left_out else ""
        extra = {"left_out": left_out}
        self._logger.log(line.level, message, *line.values, count, exc_info=exc_info, stacklevel=3, extra=extra)


def _kept(value: object) -> object:
    """Return a value that can be kept: an exception would keep the objects of its traceback."""
    return value if isinstance(value, str | int | float) else _Shown(value)


class _Shown:
    """The two texts of an object."""

    __slots__ = ("_quoted", "_text")

    def __init__(self, value: object) -> None:
        self._text, self._quoted = str(value), repr(value)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._quoted


class _Kind:
    """The last line of a kind, the end of its interval, and the number of lines left out since."""

    __slots__ = ("left_out", "level", "message", "until", "values")

    def __init__(self, level: int, message: str, values: tuple[object, ...], until: float) -> None:
        self.level = level
        self.message = message
        self.values = values
        self.until = until
        self.left_out = 0
