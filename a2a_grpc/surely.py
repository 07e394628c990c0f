"""Waiting for what must not be left half done, however often the one who waits is canceled."""

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_for_end(running: asyncio.Future[Any]) -> None:
    """Waits until a future is done, however often the caller is canceled meanwhile; looks at its error, for nobody else
    may."""
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            continue
    look_at_error(running)


def look_at_error(done: asyncio.Future[Any]) -> None:
    """The callback of a future that nobody may be left to wait for, so that asyncio does not log its error."""
    if not done.cancelled():
        done.exception()


async def surely(running: "asyncio.Future[T]") -> T:
    """What a future gives; a caller that is canceled waits for its end."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_for_end(running)
        raise
