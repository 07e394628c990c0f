"""Decide which text a store can keep: one rule for every store, asked before any text reaches one."""

MAX_CHARS = 256
"""Of text that an index of a database holds: MySQL's keys end at 1,024 bytes, four for each character."""

HALF_A_PAIR = "contains half of a surrogate pair, which is no character"


def is_encodable(text: str) -> bool:
    """Return False for a text with half of a surrogate pair: such a text cannot be encoded, so it cannot be sent."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def flaw(text: str, max_chars: int = MAX_CHARS) -> str | None:
    """Return what is wrong with a text that a store shall keep, as the end of a sentence; None if nothing is.

    A database may cut a NUL, refuse it, or keep it.
    """
    if len(text) > max_chars:
        return f"has {len(text)} characters; the limit is {max_chars}"
    if "\0" in text:
        return "contains a NUL character"
    if not is_encodable(text):
        return HALF_A_PAIR
    return None
