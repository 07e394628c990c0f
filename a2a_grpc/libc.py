"""Functions of the C library that Python does not offer."""

import ctypes
import sys
from contextlib import suppress
from typing import Any


def libc(*functions: str) -> Any:
    """Return the C library of the process. Return None on other systems than Linux, or if it lacks a function."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            if all(getattr(library, function) for function in functions):
                return library
    return None
