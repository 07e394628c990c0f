"""The outbox of a store whose push configs are in the memory of the process."""

from collections.abc import Callable

from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.store.pushes import Pushes
from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then
from a2a_grpc.store.values import Head, TaskKey


class LocalOutbox:
    """Adds an outbox in memory to a store. `Outbox` documents the methods.

    The store puts the configs of a `Create` into `_pushes`, wakes them when it claims a free task, and deletes them
    with the task.

    Args:
        pushes: The configs.
        is_alive: A function that returns True for a replica that is alive.
    """

    def __init__(self, pushes: Pushes, is_alive: Callable[[str], bool]) -> None:
        self._pushes = pushes
        self._is_alive = is_alive

    async def head(self, key: TaskKey) -> Head | None:
        """Return the row of a task, as `Records` documents it.

        Args:
            key: The name of the task.
        """
        raise NotImplementedError

    async def add_push(self, key: TaskKey, push: Push, *, limit: int) -> bool:
        if (head := await self.head(key)) is None:
            return False
        self._pushes.put(key, push, head.seq - 1 if head.state in TERMINAL else head.seq, limit)
        return True

    async def get_push(self, key: TaskKey, id: str) -> Push | None:
        return self._pushes.get(key, id) if await self.head(key) is not None else None

    async def list_pushes(self, key: TaskKey, after: str, limit: int) -> list[Push] | None:
        return self._pushes.page(key, after, limit) if await self.head(key) is not None else None

    async def delete_push(self, key: TaskKey, id: str) -> bool:
        if await self.head(key) is None:
            return False
        self._pushes.delete(key, id)
        return True

    async def claim_pushes(self, replica: str, limit: int) -> list[PushClaim]:
        return self._pushes.claim(replica, limit, self._is_alive)

    async def claimed_pushes(self, replica: str) -> list[PushStep]:
        return self._pushes.claimed(replica)

    async def step_push(self, step: PushStep) -> Then | None:
        if step.then is Then.REST:
            head = await self.head(step.name.key)
            if head is None or (head.seq <= step.seq and head.state in TERMINAL):
                step = step._replace(then=Then.END)
            elif head.seq > step.seq or head.replica:
                step = step._replace(then=Then.KEEP)
        return self._pushes.step(step)

    async def dead_pushes(self, after: PushName | None, limit: int) -> list[DeadPush]:
        return self._pushes.dead(after, limit)

    async def revive_push(self, name: PushName) -> bool:
        return self._pushes.revive(name)

    async def drop_push(self, name: PushName) -> bool:
        return self._pushes.drop(name)
