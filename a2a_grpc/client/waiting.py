"""Poll a task until it is settled, for agents and callers that do not stream."""

import asyncio

from a2a_grpc import lifecycle
from a2a_grpc.backoff import Backoff
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.errors import ConnectionLostError, UnreachableError
from a2a_grpc.client.retry import RetryPolicy
from a2a_grpc.errors import UnavailableError
from a2a_grpc.wire import GetTaskRequest, Task

FIRST_INTERVAL_S = 0.1
LAST_INTERVAL_S = 5.0
"""If the caller gives no interval, it grows from the first of these to the last. So the end of a short task is
seen soon, and a long task is polled seldom."""


async def poll(calls: Calls, task_id: str, *, interval_s: float | None = None) -> Task:
    """Read a task at once, then every `interval_s`. Return it when it has ended or waits for its user.

    An agent that does not answer is asked again for `give_up_after_s`. Raise ConnectionLostError after that time.
    Errors of GetTask are raised as they come.
    """
    retry = RetryPolicy(calls.contact)
    pace = Backoff(FIRST_INTERVAL_S, LAST_INTERVAL_S)
    task: Task | None = None
    while True:
        try:
            task = await calls.unary("GetTask", GetTaskRequest(id=task_id), retry=retry)
        except UnreachableError:
            raise
        except UnavailableError as error:
            raise ConnectionLostError(f"gave up waiting for task '{task_id}': {error.message}", task=task) from error
        retry.renew()
        if task.status.state in lifecycle.SETTLED:
            return task
        await asyncio.sleep(pace.next_s() if interval_s is None else interval_s)
