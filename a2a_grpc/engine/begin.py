"""Tasks that begin at once, where Python can."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
    """A task that begins at once, from Python 3.12 on: its steps up to where it first waits are taken here, and what
    never waits is over when this returns. On 3.11, and where the loop has a task factory, it begins when the loop comes
    round."""
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is not None:
        return loop.create_task(work, name=name)
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, name=name, eager_start=True)
    return asyncio.Task(work, loop=loop, name=name)
