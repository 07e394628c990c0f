"""Poll a task until it is settled, for agents and callers that do not stream."""

import asyncio
import math
from contextlib import suppress
from typing import Literal, TypeAlias

from a2a_grpc import lifecycle
from a2a_grpc.agent.callback import asked_in, config_of
from a2a_grpc.agent.callbacks import Callbacks
from a2a_grpc.backoff import Backoff
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.errors import ConnectionLostError, UnreachableError
from a2a_grpc.client.retry import RetryPolicy
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import (
    InvalidRequestError,
    PushNotificationNotSupportedError,
    UnavailableError,
    UnimplementedError,
    UnsupportedOperationError,
)
from a2a_grpc.wire import GetTaskRequest, Task

FIRST_INTERVAL_S = 0.1
LAST_INTERVAL_S = 5.0
"""If the caller gives no interval, it grows from the first of these to the last. So the end of a short task is
seen soon, and a long task is polled seldom."""


Strategy: TypeAlias = Literal["auto", "subscribe", "poll", "callback"]
"""How a client waits for a task."""


NO_CALLBACKS = (
    PushNotificationNotSupportedError,
    UnsupportedOperationError,
    UnimplementedError,
    InvalidRequestError,
    ConfigurationError,
)
"""The errors of an agent that does not call this one back, or may not."""


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
    pace = Backoff(FIRST_INTERVAL_S, LAST_INTERVAL_S)
    now = asyncio.get_running_loop().time
    ticks = None if interval_s is None else Ticks(interval_s, now())
    looks = _Looks(calls, task_id)
    while True:
        if looks.task is not None or not at_once:
            await asyncio.sleep(pace.next_s() if ticks is None else ticks.next_after(now()) - now())
        at_once = False
        if (task := await looks.settled()) is not None:
            return task


async def be_called_back(calls: Calls, task: Task | str, callbacks: Callbacks) -> Task:
    """Wait until the agent calls back, then read the task. Return it when it has ended or waits for its user.

    A callback may be lost, or come to another process. So the task is also read every `callback_look_s`.

    Raise one of `NO_CALLBACKS` if the agent cannot be asked for a callback.
    """
    task_id = task if isinstance(task, str) else task.id
    looks, look_s = _Looks(calls, task_id), calls.settings.callback_look_s
    with callbacks.waiting(task_id) as arrived:
        if isinstance(task, str) or not _is_asked(task, callbacks.address):
            config = config_of(callbacks.issue())
            config.task_id = task_id
            await calls.unary("CreateTaskPushNotificationConfig", config, retry=RetryPolicy(calls.contact))
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s or None):
                    await arrived.wait()
            arrived.clear()
            if (settled := await looks.settled()) is not None:
                return settled


def _is_asked(task: Task, address: str) -> bool:
    """Return True if the message that has begun a task asks for a callback to an address."""
    asked = (asked_in(message) for message in task.history[:1])
    return any(one is not None and one.endpoint == address for one in asked)


class _Looks:
    """Reads a task again and again."""

    def __init__(self, calls: Calls, task_id: str) -> None:
        self._calls = calls
        self._id = task_id
        self._retry = RetryPolicy(calls.contact)
        self.task: Task | None = None
        """The task as it was read last."""

    async def settled(self) -> Task | None:
        """Read the task. Return it if it has ended or waits for its user."""
        try:
            self.task = await self._calls.unary("GetTask", GetTaskRequest(id=self._id), retry=self._retry)
        except UnreachableError:
            raise
        except UnavailableError as error:
            lost = f"gave up waiting for task '{self._id}': {error.message}"
            raise ConnectionLostError(lost, task=self.task) from error
        self._retry.renew()
        return self.task if self.task is not None and self.task.status.state in lifecycle.SETTLED else None
