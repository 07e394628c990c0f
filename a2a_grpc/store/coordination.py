"""The part of a store that says which server runs which task."""

from collections.abc import Sequence
from typing import Protocol

from a2a_grpc.store.values import Head, TaskKey


class Coordination(Protocol):
    """Claims of tasks by replicas, and the leases of these. `OneServer` has it in the memory of the process.

    Guarantees:

    - A change is durable when its call returns, as far as the store is durable. Then each read of each replica reflects
      it.
    - An append succeeds only if the writer has the newest claim.
    - A replica is alive from `join` until it leaves, or until it does not renew its lease in time. A replica that
      another one has declared dead is never alive again. No other replica gets the tasks of one that is alive.

    Each method may raise StoreUnavailable.

    Attributes:
        shared: True if other processes may use the store at the same time.
    """

    shared: bool

    async def belong_to(self, agent: str) -> str:
        """Keep the name of the agent that the tasks belong to, unless a name is kept already. Return the kept name.

        Args:
            agent: The name of the agent.
        """

    async def join(self, replica: str, lease_s: float) -> None:
        """Make a new replica alive.

        Args:
            replica: The id of the replica.
            lease_s: Seconds for which it is alive, by the clock of the store.
        """

    async def renew(self, replica: str, lease_s: float) -> bool:
        """Extend the lease of a replica. Return False if the replica is not alive any more.

        A replica that renews in time declares dead each replica whose lease is over. A replica that renews late
        declares none dead. The store was probably away, and the others are about to renew, too.

        Args:
            replica: The id of the replica.
            lease_s: Seconds for which it is alive from now on.
        """

    async def leave(self, replica: str) -> None:
        """End the life of a replica. Others can take over the tasks that it still holds.

        Args:
            replica: The id of the replica.
        """

    async def orphaned(self, limit: int) -> list[TaskKey]:
        """Return tasks whose holder is not alive.

        Args:
            limit: The largest number of tasks.
        """

    async def claimed_by(self, replica: str) -> list[TaskKey]:
        """Return the tasks that a replica holds.

        Args:
            replica: The id of the replica.
        """

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        """Claim a task for a replica, if the task is free, or held by this replica or by one that is not alive.

        A claim has a new epoch and makes all earlier ones void. A task that has ended cannot be claimed.

        If a replica held the task, even this one, the claim adds 1 to `attempt`, since a run was lost. It does not if
        the task waits for its user.

        Args:
            key: The name of the task.
            replica: The replica that wants the task.
            force: True to claim the task even if another replica that is alive holds it.

        Returns:
            The row after that. Its `replica` says which replica holds the task. None for an unknown task.
        """

    async def release(self, key: TaskKey, epoch: int) -> None:
        """Make a task free. Do nothing if messages wait for it, or if the claim is void.

        Args:
            key: The name of the task.
            epoch: The claim of the holder.
        """

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        """Return the newest seq of each task, in the order of the keys; 0 for an unknown task.

        Args:
            keys: The names of the tasks.
        """

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        """Return tasks that have waited for their users for longer than a time, the longest waiting first.

        A task for which a message has come is not among them.

        Args:
            than_s: The time in seconds since the newest status, by the clock of the store.
            limit: The largest number of tasks.
        """

    async def count_waiting(self) -> int:
        """Return the number of tasks that wait for their users."""
