"""The event loop of a program that serves: making one, and running it to its end."""

import asyncio
import importlib
import logging
from collections.abc import Coroutine
from typing import Any

from a2a_grpc.config import ConfigurationError
from a2a_grpc.server.settings import ServerSettings

logger = logging.getLogger("a2a_grpc.server")

ENDING_S = 0.2
"""Seconds for tasks that end by themselves, such as those of calls that came while the server stopped."""

LAST_WAIT_S = 1.0
"""The time in seconds that background work has to end after the server has stopped."""


def event_loop(settings: ServerSettings) -> asyncio.AbstractEventLoop:
    """Return a new event loop, of uvloop if the settings ask for it. Raise ConfigurationError if it is missing."""
    if not settings.uvloop:
        return asyncio.new_event_loop()
    try:
        made: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except ModuleNotFoundError as error:
        raise ConfigurationError('uvloop is not installed: pip install "a2a-grpc[uvloop]"') from error
    return made


def run_to_end(main: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    """Run a coroutine in an event loop to its end, then close the loop.

    This differs from `asyncio.run` in two ways. It does not wait for handlers that ignore their cancellation. And a
    SystemExit or KeyboardInterrupt that another task than `main` raises does not end the loop.
    """
    asyncio.set_event_loop(loop)
    running = loop.create_task(main)
    try:
        while not running.done():
            try:
                loop.run_until_complete(running)
            except (SystemExit, KeyboardInterrupt):
                if running.done():
                    raise
                logger.exception("agent code tried to end the program; the server continues")
    finally:
        if left := asyncio.all_tasks(loop):  # gRPC logs an error for each call of its own that is canceled here
            _, left = loop.run_until_complete(asyncio.wait(left, timeout=ENDING_S))
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LAST_WAIT_S))
        loop.set_exception_handler(lambda loop, context: None)  # it would log each task that is still pending
        asyncio.set_event_loop(None)
        loop.close()
