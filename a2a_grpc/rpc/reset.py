"""End calls from the server's side: grpc.aio has no method for it."""

import asyncio
import gc
from collections.abc import Collection
from typing import Any

OUTER = "_schedule_rpc_coro"
"""The coroutine of grpc.aio that owns a call; it starts the handler's task, and waits until the client has left."""


def reset(handlers: Collection["asyncio.Task[Any]"]) -> int:
    """Reset the streams of calls, given by the tasks of their handlers. Return how many calls were found.

    A status cannot end a call whose client does not read: the status waits behind the data, and gRPC keeps the data. A
    call that is no longer referred to is canceled by gRPC's core, which resets the stream and frees what it holds. So
    both tasks of the call are canceled. grpc.aio names neither the one nor the other's owner: the owner is found by the
    objects that its coroutine refers to.
    """
    wanted = {id(task) for task in handlers}
    found = 0
    for outer in asyncio.all_tasks():
        coroutine = outer.get_coro()
        if getattr(coroutine, "__name__", "") != OUTER:
            continue
        referred = [inner for scope in gc.get_referents(coroutine) for inner in gc.get_referents(scope)]
        for inner in referred:
            if id(inner) in wanted:
                inner.cancel()
                outer.cancel()
                found += 1
    return found
