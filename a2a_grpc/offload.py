"""Work in a thread if it is large, so that the event loop goes on meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES = 256 * 1024
"""Size from which on work goes to a thread: below it takes less than a millisecond, about what a thread costs."""


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` and return its result: at once if it handles less than `LARGE_BYTES`, else in a thread.

    `size` is in bytes. `work` must touch nothing that the event loop may change meanwhile. If the caller is canceled,
    the thread goes on and its result is dropped.
    """
    if size < LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


async def breathe(size: int) -> None:
    """Let the event loop go round if so many bytes were handled since it last did."""
    if size >= LARGE_BYTES:
        await asyncio.sleep(0)
