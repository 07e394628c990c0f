"""Decide which text a store can keep: one rule for every store, asked before any text reaches one."""

MAX_CHARS = 256
"""Of text that an index of a database holds: MySQL's keys end at 1,024 bytes, four for each character."""


def flaw(text: str, max_chars: int = MAX_CHARS) -> str | None:
    """Return what is wrong with a text that a store shall keep, as the end of a sentence; None if nothing is.

    A database may cut a NUL, refuse it, or keep it. A lone surrogate is no character: it cannot be encoded.
    """
    if len(text) > max_chars:
        return f"has {len(text)} characters; the limit is {max_chars}"
    if "\0" in text:
        return "contains a NUL character"
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return "contains half of a surrogate pair, which is no character"
    return None
