"""Make identifiers of tasks, contexts, messages and artifacts."""

import os
from collections.abc import Iterator

_VARIANTS = "89ab89ab89ab89ab"
_DRAWN = 128
"""The number of ids that are made at a time, because a call of the system for each costs more than the rest."""

_ready: list[str] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ready.clear)  # otherwise both processes would use the same ids


def new_id() -> str:
    """Return a random UUID, version 4, in the form of RFC 9562. Any thread may call this."""
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
