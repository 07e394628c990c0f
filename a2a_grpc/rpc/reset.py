"""End calls from the side of the server, for which grpc.aio has no method."""

import asyncio
import gc
from contextvars import ContextVar
from typing import Any, TypeAlias

Task: TypeAlias = asyncio.Task[Any]

outer_task: ContextVar[Task | None] = ContextVar("a2a_grpc outer task of the call", default=None)
"""In the task of a handler: the task of grpc.aio that owns the call. None if the loop of grpc.aio has accepted the
call."""

OUTER = "_schedule_rpc_coro"
"""The coroutine of the task that owns a call. It starts the task of the handler, and waits until the client has left.
"""


def reset(handler: Task, outer: Task | None) -> bool:
    """Reset the stream of a call. Return False if the task that owns the call was not found.

    A status cannot end a call whose client does not read, because the status waits behind the data. gRPC's core cancels
    a call that is not referred to any more, resets its stream and frees its memory. So both tasks of the call are
    canceled.
    """
    outer = outer or _outer_of(handler)
    if outer is None:
        return False
    handler.cancel()
    outer.cancel()
    return True


def _outer_of(handler: Task) -> Task | None:
    """Return the task that owns a call, found by the objects that its coroutine refers to.

    This is for versions of grpc.aio whose own loop accepts calls, because no attribute there names the task.
    """
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        if getattr(coroutine, "__name__", "") == OUTER and any(
            found is handler for scope in gc.get_referents(coroutine) for found in gc.get_referents(scope)
        ):
            return task
    return None
