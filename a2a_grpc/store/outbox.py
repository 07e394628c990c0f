"""The part of a store that keeps push configs, and how far each of them is delivered."""

from typing import Protocol, runtime_checkable

from a2a_grpc.store.pushing import DeadPush, Push, PushClaim, PushName, PushStep, Then
from a2a_grpc.store.values import TaskKey


@runtime_checkable
class Outbox(Protocol):
    """Push configs of tasks, with a cursor and a claim each. `OneServer` has it in the memory of the process.

    A server offers push notifications if its store has this part. A config is in one of these conditions:

    - It is due from a time on. Then any replica may claim it.
    - A replica has claimed it and delivers. Only this replica moves the cursor. When the replica is not alive any more,
      other replicas may claim the config.
    - It rests, since its task is free and has no record after the cursor. It is due as soon as the task is claimed.
    - It has ended, or it is dead. Nothing more is delivered, unless a dead config is revived.

    Guarantees:

    - A change is durable when its call returns, as far as the store is durable. If the machine loses its power, a
      cursor may be behind, so that a delivery is repeated.
    - A step of a claim happens only if the claim is the newest one of its config.
    - A cursor never moves back. A step that reaches the store late, after a step with a later cursor, changes nothing.
    - A config ends with its task: `purge` deletes both.
    - The configs of a `Create` are stored in the same transaction as the task.

    Each method may raise StoreUnavailable.
    """

    async def add_push(self, key: TaskKey, push: Push, *, limit: int) -> bool:
        """Add a config to a task, or replace the one with the same id. It is due at once.

        The cursor is at the newest record, so that only later records are delivered. If the task has ended, the cursor
        is before the last record. A config that replaces one that has not ended and is not dead has its cursor.

        Args:
            key: The name of the task.
            push: The config.
            limit: The largest number of configs of the task.

        Returns:
            False for an unknown task.

        Raises:
            TooManyPushes: The task has so many configs already.
        """

    async def get_push(self, key: TaskKey, id: str) -> Push | None:
        """Return a config of a task; None if the task or the config is unknown.

        Args:
            key: The name of the task.
            id: The id of the config.
        """

    async def list_pushes(self, key: TaskKey, after: str, limit: int) -> list[Push] | None:
        """Return configs of a task in the order of their ids; None for an unknown task.

        Args:
            key: The name of the task.
            after: The id before the first config; empty for the first page.
            limit: The largest number of configs.
        """

    async def delete_push(self, key: TaskKey, id: str) -> bool:
        """Delete a config if it is there. All claims of it are void then. Return False for an unknown task.

        Args:
            key: The name of the task.
            id: The id of the config.
        """

    async def claim_pushes(self, replica: str, limit: int) -> list[PushClaim]:
        """Claim the configs that are due, and those whose replica is not alive, for a replica.

        Args:
            replica: The replica that delivers them from now on.
            limit: The largest number of configs.
        """

    async def claimed_pushes(self, replica: str) -> list[PushStep]:
        """Return for each config that a replica has claimed the step that makes it due at once, with the same cursor.

        Args:
            replica: The id of the replica.
        """

    async def step_push(self, step: PushStep) -> Then | None:
        """Store the outcome of a claim.

        Args:
            step: The new cursor, and what is to happen to the claim.

        Returns:
            What happened to the claim: `step.then`, except for `Then.REST`. If the task has ended, the config ends. If
            the task is held, or has records after the cursor, the replica keeps its claim. None if the claim is void,
            or its cursor is after that of the step: then nothing has changed.
        """

    async def dead_pushes(self, after: PushName | None, limit: int) -> list[DeadPush]:
        """Return dead configs of all callers, in an order of the store.

        Args:
            after: The config before the first one; None for the first page.
            limit: The largest number of configs.
        """

    async def revive_push(self, name: PushName) -> bool:
        """Make a dead config due at once, with all its attempts. Return False if no such config is dead.

        Args:
            name: The name of the config.
        """

    async def drop_push(self, name: PushName) -> bool:
        """Delete a dead config. Return False if no such config is dead.

        Args:
            name: The name of the config.
        """
