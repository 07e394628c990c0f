"""Terminals: each text is made harmless before styles are added.

`guard` replaces standard error, and standard output at a terminal, by streams that clean all that is written. This
includes answers, log lines, warnings and tracebacks. `Screen` is rich's console on such a stream. It cleans the text of
each segment, and keeps the styles and cursor movements of this package. No text is ever read as markup.

On a pipe, standard output gets the bytes that the agent gave.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeAlias, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from a2a_grpc.cli.output import Output, keep_numbers
from a2a_grpc.harmless import harmless
from a2a_grpc.masking import MASK, mask_url

SECRET_MIN = 6
"""The least number of characters of a secret that is masked in other texts. Shorter ones are parts of common words."""

Piece: TypeAlias = str | tuple[str, str]
"""A text, or a text with rich's style for it."""

_URL_SIGNS = re.compile("://|[@?]")


class Guarded(Output):
    """An output that makes harmless what is written to it; with `masks` it hides secrets as well.

    Guarantees: nothing written here controls a terminal; no secret given to `hide`, and no secret of a URL, is written
    to an output that masks.
    """

    def __init__(self, raw: TextIO | None, *, number: int, masks: bool) -> None:
        super().__init__(raw, number=number)
        self.plain = Output(raw, number=number)
        """The same output, for text that is harmless already and for this package's styles."""
        self._masks = masks
        self._secrets: set[str] = set()
        self._held = ""

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask these texts in all that is written from now on."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SECRET_MIN)

    def clean(self, text: str) -> str:
        """Return a text as it may be shown on this output."""
        return harmless(self.masked(text) if self._masks else text)

    def masked(self, text: str) -> str:
        """Replace the secrets in a text by `***`."""
        if _URL_SIGNS.search(text):  # other texts come from this package, and `KEY=VALUE` in them is no secret
            text = mask_url(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def write(self, text: str) -> int:
        # A CR at the end of a text waits for the next text, since together with an LF it ends a line.
        whole = self._held + text
        self._held = "\r" if whole.endswith("\r") else ""
        super().write(self.clean(whole.removesuffix("\r")))
        return len(text)


def guard() -> None:
    """Replace standard output and standard error by outputs that fail in one way.

    Standard error is guarded. Standard output is guarded at a terminal."""
    keep_numbers()
    if not isinstance(sys.stderr, Guarded):
        sys.stderr = cast(TextIO, Guarded(sys.stderr, number=2, masks=True))
    if not isinstance(sys.stdout, Output):
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        guarded = Guarded(sys.stdout, number=1, masks=False) if is_terminal else Output(sys.stdout, number=1)
        sys.stdout = cast(TextIO, guarded)


def errors() -> Guarded:
    """Return standard error, guarded."""
    return sys.stderr if isinstance(sys.stderr, Guarded) else Guarded(sys.stderr, number=2, masks=True)


class Screen(Console):
    """Rich's console on a guarded output. Text is never wrapped, highlighted, or read as markup or emoji.

    Colours and movements of the cursor follow the terminal alone, not variables such as FORCE_COLOR.
    """

    def __init__(self, stream: Guarded) -> None:
        super().__init__(
            file=cast(TextIO, stream.plain),
            force_terminal=stream.isatty(),
            soft_wrap=True,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._stream = stream

    @classmethod
    def of_stdout(cls) -> "Screen":
        """Return the screen on standard output."""
        if isinstance(sys.stdout, Guarded):
            return cls(sys.stdout)
        raw = sys.stdout.raw if isinstance(sys.stdout, Output) else sys.stdout
        return cls(Guarded(raw, number=1, masks=False))

    @classmethod
    def of_stderr(cls) -> "Screen":
        """Return the screen on standard error."""
        return cls(errors())

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Render, with each text made harmless. Control segments come from rich and hold no text of other programs."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(self._stream.clean(segment.text), segment.style)

    def say(self, *pieces: Piece, style: str = "") -> None:
        """Print a line of texts, each in its style."""
        clean = self._stream.clean  # before Text drops some control characters without a trace
        texts = [clean(piece) if isinstance(piece, str) else (clean(piece[0]), piece[1]) for piece in pieces]
        self.print(Text.assemble(*texts, style=style))
