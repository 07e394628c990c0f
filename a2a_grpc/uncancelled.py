"""Wait for work that must not be left half done, even if the caller that waits is canceled."""

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_for_end(running: asyncio.Future[Any]) -> None:
    """Wait until a future is done, even if the caller is canceled meanwhile. Mark an error of the future as read."""
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            continue
    look_at_error(running)


def look_at_error(done: asyncio.Future[Any]) -> None:
    """Mark the error of a future as read, so that asyncio logs nothing if no caller waits for the future."""
    if not done.cancelled():
        done.exception()


async def uncancelled(running: "asyncio.Future[T]") -> T:
    """Return the result of a future. If the caller is canceled, wait for the end of the future, and then raise."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_for_end(running)
        raise
