"""Poll a task until it is settled, for agents and callers that do not stream."""

import asyncio
import math
from typing import Literal, TypeAlias

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


Strategy: TypeAlias = Literal["auto", "subscribe", "poll"]
"""How a client waits for a task."""


class Ticks:
    """Gives the times of looks at a task, one every so many seconds.

    Guarantees:

    - The looks of a wait are whole intervals after its beginning. The time that a look takes does not move the later
      ones. So a job needs ceil(job / interval) looks.
    - A look that takes longer than the interval is followed by the next whole one. None is made up for.
    """

    def __init__(self, interval_s: float, begun: float) -> None:
        self._interval_s = interval_s
        self._begun = begun
        self._count = 0

    def next_after(self, now: float) -> float:
        """Return the time of the next look, if it is `now`."""
        passed = math.floor((now - self._begun) / self._interval_s)
        self._count = max(self._count, passed) + 1  # a timer may wake a little early
        return self._begun + self._count * self._interval_s


async def poll(calls: Calls, task_id: str, *, interval_s: float | None = None, at_once: bool = True) -> Task:
    """Read a task every `interval_s`, and `at_once` if asked. Return it when it has ended or waits for its user.

    An agent that does not answer is asked again for `give_up_after_s`. Raise ConnectionLostError after that time.
    Errors of GetTask are raised as they come.
    """
    retry = RetryPolicy(calls.contact)
    pace = Backoff(FIRST_INTERVAL_S, LAST_INTERVAL_S)
    now = asyncio.get_running_loop().time
    ticks = None if interval_s is None else Ticks(interval_s, now())
    task: Task | None = None
    while True:
        if task is not None or not at_once:
            await asyncio.sleep(pace.next_s() if ticks is None else ticks.next_after(now()) - now())
        at_once = False
        try:
            task = await calls.unary("GetTask", GetTaskRequest(id=task_id), retry=retry)
        except UnreachableError:
            raise
        except UnavailableError as error:
            raise ConnectionLostError(f"gave up waiting for task '{task_id}': {error.message}", task=task) from error
        retry.renew()
        if task.status.state in lifecycle.SETTLED:
            return task
