"""Standard output and standard error of a command, also if one of them cannot be written."""

import errno
import io
import os
import sys
from typing import Any, TextIO, cast


class OutputError(OSError):
    """Standard output cannot be written; the text says why. (It has no `errno`: libraries would act on that.)"""

    def __init__(self, cause: OSError) -> None:
        self.is_closed = isinstance(cause, BrokenPipeError)
        """True if the reader closed the pipe, as `| head -1` does: the reader has what it wants."""
        super().__init__(f"standard output cannot be written: {cause.strerror or cause}")


class Output(io.TextIOBase):
    """Standard output or standard error.

    Guarantees:

    - Writing to standard output that is closed, full or broken raises OutputError, and nothing is written afterwards.
    - Writing to standard error never fails: a lost remark changes neither the answer nor the exit code.
    - A character that the encoding does not have is written by its number. The first one is reported once.
    """

    def __init__(self, raw: TextIO | None, *, number: int) -> None:
        """`raw` is None for an output that was closed before the command began."""
        self.raw = raw if raw is not None else cast(TextIO, _Nowhere())
        self._number = number
        if isinstance(self.raw, io.TextIOWrapper):
            self.raw.reconfigure(errors="backslashreplace")
        encoding = (self.raw.encoding or "utf-8").lower()
        self.is_narrow = not encoding.startswith("utf")
        """True if the encoding lacks characters that an answer may have."""
        self._is_reported = False
        self._failure: OutputError | None = None

    def write(self, text: str) -> int:
        if self._failure is not None:
            return self._fail(self._failure)
        if self.is_narrow and not self._is_reported and not self._has(text):
            self._is_reported = True
            self._report()
        try:
            self.raw.write(text)
        except (OSError, ValueError) as error:
            return self._fail(error)
        return len(text)

    def flush(self) -> None:
        if self._failure is not None:
            return
        try:
            self.raw.flush()
        except (OSError, ValueError) as error:
            self._fail(error)

    def close(self) -> None:
        """Leave the output open, since it belongs to the process. Python calls this when an object is freed."""

    def isatty(self) -> bool:
        return self.raw.isatty()

    def fileno(self) -> int:
        return self.raw.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.raw.encoding or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.raw.errors

    @property
    def buffer(self) -> Any:
        """The binary output, for a program that writes bytes, such as an agent that is served."""
        return self.raw.buffer

    def _has(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def _report(self) -> None:
        """Report that characters are written by their numbers, unless standard error lacks them, too."""
        if self._number == 1:
            sys.stderr.write(
                f"Note: standard output is {self.encoding}, which lacks characters of the answer: they are written as "
                "\\xNN or \\uNNNN; set PYTHONIOENCODING=utf-8 to get them\n"
            )

    def _fail(self, error: OSError | ValueError) -> int:
        """Drop buffered text, so that nothing fails again when Python ends. Raise OutputError for standard output."""
        if self._failure is None:
            cause = error if isinstance(error, OSError) else OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._failure = OutputError(cause)
            if isinstance(self.raw, io.TextIOWrapper):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._number)
                os.close(nowhere)
        if self._number == 1:
            raise self._failure
        return 0


class _Nowhere(io.TextIOBase):
    """An output that was closed before the command began, as by `>&-`."""

    encoding = "utf-8"
    errors = "strict"

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def keep_numbers() -> None:
    """Open /dev/null for each of the three standard descriptors that is closed.

    Otherwise a file or socket could take its place, and would get what is written to an output.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
