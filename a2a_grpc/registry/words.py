"""Find out what a search can find in an agent's card: skills, tags and words."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError

from a2a_grpc.wire import AgentCard

MAX_WORDS = 1_000
"""Different words of a card that are kept."""
MAX_ASKED = 16
"""Words that a search looks for."""
MAX_CHARS = 64
"""The length of a word. The rest of a longer one is cut."""
MIN_CHARS = 2
"""The length of the shortest word that is looked for."""

_COMMON = """
a an and are as at be by can do for from has have how i in into is it its me my of on or our please some that the their
them then there this to us want was we what when where which who will with you your
"""
COMMON = frozenset(_COMMON.split())
"""Words that are in nearly every text, and are not looked for."""

_WORD = re.compile(r"\w+")


class Indexed(NamedTuple):
    """What of a card can be looked for.

    Attributes:
        skills: The ids of the skills.
        tags: The tags of all skills, in small letters.
        words: The words of names, descriptions and tags, in small letters, with a blank before each.
    """

    skills: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    words: str = ""


NOTHING = Indexed()


def indexed(name: str, card: bytes) -> Indexed:
    """Return what of a card can be looked for. Raise ValueError if the bytes are no card.

    Args:
        name: The name of the entry, whose words can be looked for, too.
        card: A serialised AgentCard; empty if it is not known.
    """
    try:
        read = AgentCard.FromString(card)
    except DecodeError:
        raise ValueError("the bytes are no AgentCard") from None
    texts = [name, read.name, read.description]
    for skill in read.skills:
        texts += [skill.id, skill.name, skill.description, *skill.tags]
    return Indexed(
        frozenset(one_line(skill.id) for skill in read.skills),
        frozenset(tag_of(tag) for skill in read.skills for tag in skill.tags),
        "".join(f" {word}" for word in list(dict.fromkeys(_words(texts)))[:MAX_WORDS]),
    )


def asked(text: str) -> tuple[str, ...]:
    """Return the words of a text that are looked for, in small letters. Common English words are not among them.

    Args:
        text: What the caller asks for, in words.
    """
    words = [word for word in _words([text]) if len(word) >= MIN_CHARS and word not in COMMON]
    return tuple(dict.fromkeys(words))[:MAX_ASKED]


def tag_of(text: str) -> str:
    """Return a tag as it is kept and looked for.

    Args:
        text: The tag as a card or a caller has it.
    """
    return one_line(text).casefold()


def one_line(text: str) -> str:
    """Return a text with a blank in place of each run of blanks and line ends.

    Args:
        text: The text.
    """
    return " ".join(text.replace("\0", "").split())  # PostgreSQL keeps no NUL


def _words(texts: Iterable[str]) -> Iterable[str]:
    # An identifier such as `unit_convert` is found by each of its words, too.
    for text in texts:
        for word in _WORD.findall(text.casefold()):
            yield word[:MAX_CHARS]
            if "_" in word:
                yield from (part[:MAX_CHARS] for part in word.split("_") if part)
