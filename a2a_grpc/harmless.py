"""Make text of other programs harmless before it is shown on a terminal or written to a log."""

import re
import unicodedata

LINE_MAX = 2000
"""Characters of a text that is shown as one line. They fill about a screen."""

BLOCK_MAX = 20_000
"""Characters of a text that is shown together with other texts, for example a message of a history."""

GUTTER = "  | "
"""The beginning of each further line of an agent's text, so that it does not look like a line of this program."""

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
MAX_STACKED = 8
"""Accents above each other. More would cover the lines above and below."""

_STACKABLE = re.compile(f"[^\x00-\u02ff]{{{MAX_STACKED + 1},}}")
"""What may have too many accents: all of them come after the letters of Latin."""

_LINE_END = re.compile("\r+\n")
_BREAKS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def harmless(text: str) -> str:
    """Replace by U+FFFD what controls a terminal, reorders a line or cannot be seen. Keep line ends and tabs."""
    return _STACKABLE.sub(_unstacked, _HARMFUL.sub("\N{REPLACEMENT CHARACTER}", _LINE_END.sub("\n", text)))


def _unstacked(found: re.Match[str]) -> str:
    """Return a text without the accents that are too many. Joiners between accents do not count."""
    kept, stacked = [], 0
    for character in found[0]:
        if character not in "\u200c\u200d":
            stacked = stacked + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if stacked <= MAX_STACKED:
            kept.append(character)
    return "".join(kept)


def flat(text: str) -> str:
    """Replace the line breaks of a text by spaces."""
    return _BREAKS.sub(" ", text)


def one_line(text: str, limit: int = LINE_MAX) -> str:
    """Return a text as one harmless line, without breaks and tabs. Cut it off after `limit` characters."""
    line = harmless(flat(text[: limit + 1])).replace("\t", " ")
    return line if len(text) <= limit else line[:limit] + "…"


def block(text: str, limit: int = BLOCK_MAX) -> str:
    """Return a text as harmless lines, cut off after `limit` characters. Lines after the first begin with a gutter."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    lines = harmless(_BREAKS.sub("\n", cut)).replace("\t", " ").split("\n")
    return f"\n{GUTTER}".join(lines)


def harmless_json(text: str) -> str:
    """Escape in a JSON text what `harmless` would replace. The text means the same as before."""
    return _HARMFUL.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
