"""End calls from the server's side: grpc.aio has no method for it."""

import asyncio
import gc
from contextvars import ContextVar
from typing import Any, TypeAlias

Task: TypeAlias = asyncio.Task[Any]

outer_task: ContextVar[Task | None] = ContextVar("a2a_grpc outer task of the call", default=None)
"""In a handler's task: the task of grpc.aio that owns the call. None if grpc.aio's own loop has accepted the call."""

OUTER = "_schedule_rpc_coro"
"""The coroutine of the task that owns a call; it starts the handler's task, and waits until the client has left."""


def reset(handler: Task, outer: Task | None) -> bool:
    """Reset the stream of a call. Return False if the task that owns the call was not found.

    A status cannot end a call whose client does not read: the status waits behind the data, and gRPC keeps the data. A
    call that is no longer referred to is canceled by gRPC's core, which resets the stream and frees what it holds. So
    both tasks of the call are canceled.
    """
    outer = outer or _outer_of(handler)
    if outer is None:
        return False
    handler.cancel()
    outer.cancel()
    return True


def _outer_of(handler: Task) -> Task | None:
    """Return the task that owns a call, found by the objects that its coroutine refers to.

    For the versions of grpc.aio whose own loop accepts calls: these versions name the task nowhere.
    """
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        if getattr(coroutine, "__name__", "") == OUTER and any(
            found is handler for scope in gc.get_referents(coroutine) for found in gc.get_referents(scope)
        ):
            return task
    return None
