"""Decide which text a store can keep. The rule is the same for every store, and applied before a store gets a text."""

MAX_CHARS = 256
"""The largest number of characters of a text in an index of a database: MySQL's keys have 1,024 bytes, four for
each."""

HALF_A_PAIR = "contains half of a surrogate pair, which is no character"


def is_encodable(text: str) -> bool:
    """Return False for a text with half of a surrogate pair, because it cannot be encoded and so cannot be sent."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def flaw(text: str, max_chars: int = MAX_CHARS) -> str | None:
    """Return what is wrong with a text that a store has to keep, as the end of a sentence, or None if nothing is.

    A NUL is wrong, because a database may cut it, refuse it, or keep it.
    """
    if len(text) > max_chars:
        return f"has {len(text)} characters; the limit is {max_chars}"
    if "\0" in text:
        return "contains a NUL character"
    if not is_encodable(text):
        return HALF_A_PAIR
    return None
