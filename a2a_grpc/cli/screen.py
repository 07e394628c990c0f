"""The one way to a terminal: every text passes `harmless` before this project's own styles are added.

`guard` replaces standard error, and standard output at a terminal, by streams that clean all that is written: answers,
log lines, warnings, tracebacks. `Screen` is rich's console on such a stream: it cleans the text of each segment and
leaves alone the styles and cursor movements, which are ours. No text is ever read as markup.

On a pipe, standard output gets the bytes that the agent gave.
"""

import io
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeAlias, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from a2a_grpc.masking import MASK, mask_url

LINE_MAX = 2000
"""Characters of a text that is shown as one line: about a screen."""

LOG_LINE_MAX = 8000
"""Characters of a line of the log."""

TRACEBACK_MAX = 200_000
"""Characters of a traceback in the log."""

BLOCK_MAX = 20_000
"""Characters of a text that is shown beside others, as a message of a history is."""

SECRET_MIN = 6
"""Characters of the shortest secret that is looked for in other texts; shorter ones are parts of common words."""

GUTTER = "  | "
"""Stands before each further line of an agent's text, so that no such line looks like one of ours."""

Piece: TypeAlias = str | tuple[str, str]
"""A text, or a text with rich's style for it."""

_EMOJI = "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_JOINED_SCRIPTS = "\u0600-\u0dff"  # Arabic to Sinhala: words are written with joiners
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"  # what cannot be seen, marks of direction
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"  # separators, overrides, isolates, fillers
    "\ud800-\udfff"  # lone surrogates
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # tags among them
    # Joiners and variation selectors, except inside an emoji and, for joiners, inside a word of a script that has them.
    f"|(?<![{_EMOJI}\ufe0f{_JOINED_SCRIPTS}])\u200d|(?<=[{_EMOJI}\ufe0f])\u200d(?![{_EMOJI}])"
    f"|(?<=[{_JOINED_SCRIPTS}])\u200d(?![{_JOINED_SCRIPTS}])"
    f"|(?<![{_JOINED_SCRIPTS}])\u200c|\u200c(?![{_JOINED_SCRIPTS}])"
    "|(?<=[\ufe0e\ufe0f])[\ufe0e\ufe0f]"
)
_STACKED = re.compile("([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{8})"
                      "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")  # fmt: skip
"""Accents above each other that reach into the lines around."""

_URL_SIGNS = re.compile("://|[@?]")

_BREAKS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def harmless(text: str) -> str:
    """Replace what controls a terminal, reorders a line or cannot be seen by U+FFFD. Line ends and tabs stay."""
    return _STACKED.sub(r"\1", _HARMFUL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n")))


def flat(text: str) -> str:
    """Replace the line breaks of a text by spaces, whatever else the text holds."""
    return _BREAKS.sub(" ", text)


def one_line(text: str, limit: int = LINE_MAX) -> str:
    """Make a text a harmless line: without breaks and tabs, cut off after `limit` characters."""
    line = harmless(flat(text[: limit + 1])).replace("\t", " ")
    return line if len(text) <= limit else line[:limit] + "…"


def block(text: str, limit: int = BLOCK_MAX) -> str:
    """Make a text harmless lines, each after the first behind a gutter, cut off after `limit` characters."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    lines = harmless(_BREAKS.sub("\n", cut)).replace("\t", " ").split("\n")
    return f"\n{GUTTER}".join(lines)


def harmless_json(text: str) -> str:
    """Escape in a text of JSON what `harmless` would replace: the text means the same as before."""
    return _HARMFUL.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


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


class LogLines(logging.Formatter):
    """Formats log records so that no text of a caller looks like a line of the log.

    Guarantees: a record is one line; the lines of a traceback stand behind a gutter; nothing controls a terminal or a
    reader of the file; secrets of URLs are masked.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(mask_url(super().formatMessage(record)), LOG_LINE_MAX)

    def formatException(self, ei: Any) -> str:
        return self._behind_gutter(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return self._behind_gutter(super().formatStack(stack_info))

    def _behind_gutter(self, text: str) -> str:
        return GUTTER + block(mask_url(text), TRACEBACK_MAX)


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
