"""The one way to a terminal: every text passes `harmless` before this project's own styles are added.

`guard` replaces standard error, and standard output at a terminal, by streams that clean all that is written: answers,
log lines, warnings, tracebacks. `Screen` is rich's console on such a stream: it cleans the text of each segment and
leaves alone the styles and cursor movements, which are ours. No text is ever read as markup.

On a pipe, standard output gets the bytes that the agent gave.
"""

import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeAlias, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from a2a_grpc.harmless import harmless
from a2a_grpc.masking import MASK, mask_url

SECRET_MIN = 6
"""Characters of the shortest secret that is looked for in other texts; shorter ones are parts of common words."""

Piece: TypeAlias = str | tuple[str, str]
"""A text, or a text with rich's style for it."""

_URL_SIGNS = re.compile("://|[@?]")


class Guarded(io.TextIOBase):
    """A text stream that makes harmless what is written to it; with `masks` it hides secrets as well.

    Guarantees: nothing written here controls a terminal; no secret given to `hide`, and no secret of a URL, is written
    to a stream that masks.
    """

    def __init__(self, raw: TextIO, *, masks: bool) -> None:
        self.raw = raw
        self._masks = masks
        self._secrets: set[str] = set()

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these texts from now on, wherever they stand."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SECRET_MIN)

    def clean(self, text: str) -> str:
        """Return a text as it may be shown here."""
        return harmless(self.masked(text) if self._masks else text)

    def masked(self, text: str) -> str:
        """Replace the secrets in a text by `***`."""
        if _URL_SIGNS.search(text):  # others are sentences of ours, in which `KEY=VALUE` is no secret
            text = mask_url(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def write(self, text: str) -> int:
        self.raw.write(self.clean(text))
        return len(text)

    def flush(self) -> None:
        self.raw.flush()

    def isatty(self) -> bool:
        return self.raw.isatty()

    def fileno(self) -> int:
        return self.raw.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.raw.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.raw.errors

    @property
    def buffer(self) -> Any:
        """The bytes below, for a program that writes bytes of its own, such as an agent that is served."""
        return self.raw.buffer


def guard() -> None:
    """Replace standard error, and standard output if it is a terminal, by guarded streams."""
    for output in (sys.stdout, sys.stderr):  # a character that an encoding does not have is written by its number
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stdout, Guarded) and sys.stdout.isatty():
        sys.stdout = cast(TextIO, Guarded(sys.stdout, masks=False))
    sys.stderr = cast(TextIO, errors())


def errors() -> Guarded:
    """Return standard error, guarded."""
    return sys.stderr if isinstance(sys.stderr, Guarded) else Guarded(sys.stderr, masks=True)


class Screen(Console):
    """Rich's console on a guarded stream. Text is never wrapped, highlighted, or read as markup or emoji."""

    def __init__(self, stream: Guarded, *, is_answer: bool = False) -> None:
        """With `is_answer` a reader who closes the pipe is no failure: printing raises BrokenPipeError."""
        super().__init__(file=stream.raw, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._stream = stream
        self._is_answer = is_answer

    @classmethod
    def of_stdout(cls) -> "Screen":
        """The screen on standard output."""
        stream = sys.stdout if isinstance(sys.stdout, Guarded) else Guarded(sys.stdout, masks=False)
        return cls(stream, is_answer=True)

    @classmethod
    def of_stderr(cls) -> "Screen":
        """The screen on standard error."""
        return cls(errors())

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render, each text made harmless. Control segments are rich's own: they hold no text of others."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(self._stream.clean(segment.text), segment.style)

    def say(self, *pieces: Piece, style: str = "") -> None:
        """Print a line of texts, each in its style."""
        clean = self._stream.clean  # here, as Text drops some control characters without a trace
        texts = [clean(piece) if isinstance(piece, str) else (clean(piece[0]), piece[1]) for piece in pieces]
        self.print(Text.assemble(*texts, style=style))

    def on_broken_pipe(self) -> None:
        if self._is_answer:
            raise BrokenPipeError
        super().on_broken_pipe()
