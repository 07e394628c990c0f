"""Identifiers that are made here: of tasks, contexts, messages, artifacts."""

import os
from collections.abc import Iterator

_VARIANTS = "89ab89ab89ab89ab"
_DRAWN = 128
"""Ids that are made at a time: asking the system for each costs more than the rest."""

_ready: list[str] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ready.clear)  # else both processes would give the same ones


def new_id() -> str:
    """A random UUID, version 4, as RFC 9562 writes it. Safe from any thread."""
    while True:
        try:
            return _ready.pop()
        except IndexError:
            _ready.extend(_draw(_DRAWN))


def _draw(count: int) -> Iterator[str]:
    random = os.urandom(16 * count).hex()
    for begin in range(0, len(random), 32):
        digits = random[begin : begin + 32]
        variant = _VARIANTS[int(digits[16], 16)]
        yield f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
