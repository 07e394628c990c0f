"""Do large work in a thread, so that the event loop continues meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES = 256 * 1024
"""The size in bytes from which work is done in a thread. Smaller work takes less time than a thread costs."""


async def offload(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` and return its result. Call it in a thread if it handles `LARGE_BYTES` or more.

    Args:
        size: The size in bytes of what is handled.
        work: The function. It must not use anything that the event loop may change meanwhile. If the caller is
            canceled, a thread continues, and its result is dropped.
        *args: The arguments of the function.
    """
    if size < LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


async def breathe(size: int) -> None:
    """Let the event loop do other work if this many bytes were handled since it last could."""
    if size >= LARGE_BYTES:
        await asyncio.sleep(0)
