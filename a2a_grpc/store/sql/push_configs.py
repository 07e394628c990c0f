"""The outbox of a SQL store: push configs and their deliveries."""

from a2a_grpc.database.together import Together
from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then
from a2a_grpc.store.sql import outbox
from a2a_grpc.store.sql.access import Access
from a2a_grpc.store.values import TaskKey


class PushConfigs(Access):
    """Adds an outbox to a SQL store. `Outbox` documents the methods."""

    def __init__(self, url: str, budget_s: float) -> None:
        super().__init__(url, budget_s)
        self._steps: Together[PushStep, Then | None] = Together(
            lambda steps: self._persist(lambda _: self._open_database().write_unsynced(outbox.steps, steps))
        )

    async def add_push(self, key: TaskKey, push: Push, *, limit: int) -> bool:
        return await self._write(outbox.add, key, push, limit)

    async def get_push(self, key: TaskKey, id: str) -> Push | None:
        return await self._read(outbox.get, key, id)

    async def list_pushes(self, key: TaskKey, after: str, limit: int) -> list[Push] | None:
        return await self._read(outbox.page, key, after, limit)

    async def delete_push(self, key: TaskKey, id: str) -> bool:
        return await self._write(outbox.delete, key, id)

    async def claim_pushes(self, replica: str, limit: int) -> list[PushClaim]:
        # Looked for first, as a transaction that writes makes others wait.
        if not await self._read(outbox.is_any_to_claim):
            return []
        return await self._write(outbox.claim, replica, limit)

    async def claimed_pushes(self, replica: str) -> list[PushStep]:
        return await self._read(outbox.claimed, replica)

    async def step_push(self, step: PushStep) -> Then | None:
        return await self._steps.answer_uncancelled(step)

    async def dead_pushes(self, after: PushName | None, limit: int) -> list[DeadPush]:
        return await self._read(outbox.dead, after, limit)

    async def revive_push(self, name: PushName) -> bool:
        return await self._write(outbox.revive, name)

    async def drop_push(self, name: PushName) -> bool:
        return await self._write(outbox.drop, name)
