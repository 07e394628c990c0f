"""Ask the policy of the deployment whether a caller may do something."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from a2a_grpc.errors import PermissionDeniedError
from a2a_grpc.log import Log
from a2a_grpc.principal import Principal
from a2a_grpc.store import CORE, TaskKey
from a2a_grpc.wire import Task

Authorize: TypeAlias = Callable[[Principal, str, Task | None], Awaitable[bool]]
"""An async function that decides whether a caller may do something. It takes the caller, the name of the RPC, such as
"GetTask", and the task without its artifacts and history; None for a new task, or for a list. It returns True to let
the call pass. If it returns False, the call is PERMISSION_DENIED."""


class Policy:
    """The policy of a deployment. Without `authorize` every caller may do everything with its own tasks."""

    def __init__(self, authorize: Authorize | None, log: Log) -> None:
        self._authorize = authorize
        self._log = log

    async def check(self, principal: Principal, operation: str, key: TaskKey | None = None) -> None:
        """Ask whether a caller may do something with its task, or something that is about no single task.

        Raises:
            PermissionDeniedError: The policy refuses the operation.
            TaskNotFoundError: The caller has no such task. The policy is not asked about tasks of other callers.
        """
        if self._authorize is None:
            return
        task = None if key is None else Task.FromString((await self._log.snapshot(key, CORE)).task)
        is_allowed = await self._authorize(principal, operation, task)
        if is_allowed and is_allowed is not True:  # a coroutine that was not awaited must not allow everything
            raise TypeError(f"authorize returned a value of the type {type(is_allowed).__name__}, not a bool")
        if not is_allowed:
            what = operation if key is None else f"{operation} of task '{key.id}'"
            raise PermissionDeniedError(f"the caller may not do this: {what}", metadata={"operation": operation})
