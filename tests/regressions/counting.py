"""How much Python ran: counted, not timed."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(slots=True)
class Calls:
    """Function calls, resumptions of coroutines included."""

    all: int = 0
    ours: int = 0
    """Those of functions in a2a_grpc/."""


@contextmanager
def counted() -> Iterator[Calls]:
    """Counts the calls in this thread while the block runs."""
    calls = Calls()

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls.all += 1
            calls.ours += "/a2a_grpc/" in frame.f_code.co_filename

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def asyncio_tasks() -> Counter[str]:
    """Return how many asyncio tasks there are of each coroutine function; gRPC replaces its own one by one.

    Except those that accept calls: after a burst a server has up to 32 of them for each method, whatever it was about.
    """
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return Counter(name for name in names if name != "_AioServer._accept")
