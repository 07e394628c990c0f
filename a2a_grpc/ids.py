"""Identifiers that are made here: of tasks, contexts, messages, artifacts."""

import os

_VARIANTS = "89ab89ab89ab89ab"


def new_id() -> str:
    """A random UUID, version 4, as RFC 9562 writes it."""
    digits = os.urandom(16).hex()
    variant = _VARIANTS[int(digits[16], 16)]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
