"""Asking for a task until it is settled: for agents that do not stream, and callers that do not want to."""

import asyncio

from a2a_grpc import lifecycle
from a2a_grpc.backoff import Backoff
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.errors import ConnectionLostError, UnreachableError
from a2a_grpc.client.patience import Patience
from a2a_grpc.errors import UnavailableError
from a2a_grpc.wire import GetTaskRequest, Task

FIRST_INTERVAL_S = 0.1
LAST_INTERVAL_S = 5.0
"""Where the caller names no interval it grows between these: a short task is noticed soon, a long one asked seldom."""


async def poll(calls: Calls, task_id: str, *, interval_s: float | None = None) -> Task:
    """The task once it has ended or the agent waits for somebody; asked for at once, then every `interval_s`.

    An agent that does not answer is asked again for `give_up_after_s`. Raises ConnectionLostError, or what GetTask
    raises.
    """
    patience = Patience(calls)
    pace = Backoff(FIRST_INTERVAL_S, LAST_INTERVAL_S)
    task: Task | None = None
    while True:
        try:
            task = await calls.unary("GetTask", GetTaskRequest(id=task_id), patience=patience)
        except UnreachableError:
            raise
        except UnavailableError as error:
            raise ConnectionLostError(f"gave up waiting for task '{task_id}': {error.message}", task=task) from error
        patience.renew()
        if task.status.state in lifecycle.SETTLED:
            return task
        await asyncio.sleep(pace.next_s() if interval_s is None else interval_s)
