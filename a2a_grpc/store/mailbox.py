"""The part of a store that keeps what is left for the server that runs a task."""

from typing import Protocol

from a2a_grpc.store.values import Head, Scope, TaskKey
from a2a_grpc.store.writes import Binding, Pending


class Mailbox(Protocol):
    """Messages that wait, requests to cancel, and idempotency keys. `OneServer` has it in the memory of the process.

    Guarantees:

    - A change is durable when its call returns, as far as `keeps_messages` says. Then each read of each replica
      reflects it.
    - A call that raises another error than StoreUnavailable has changed nothing.

    Each method may raise StoreUnavailable.

    Attributes:
        keeps_messages: True if messages, requests and keys outlive the process.
    """

    keeps_messages: bool

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        """Add a message to those that wait for a task. If the task is free, claim it for the replica, too.

        Args:
            key: The name of the task.
            pending: The message. The store gives it the next turn and ignores its own `turn`.
            replica: The replica that holds the task from now on, if it was free.
            limit: The largest number of messages that may wait. A task that waits for its user accepts one message in
                any case.
            bind: An idempotency key to bind. The store puts the turn of the message into its binding.

        Returns:
            The row after that, whose `last_turn` is the turn of the message; None for an unknown task.

        Raises:
            StaleAppend: The task has ended.
            QueueFull: Too many messages wait.
            AlreadyBound: The idempotency key is bound.
        """

    async def pending(self, key: TaskKey) -> list[Pending]:
        """Return the messages of a task that wait or are kept, in order of their turns.

        Args:
            key: The name of the task.
        """

    async def needing_attention(self, replica: str) -> list[tuple[TaskKey, Head]]:
        """Return the tasks of a replica for which a request to cancel or a message waits, each with its row.

        Args:
            replica: The id of the replica.
        """

    async def request_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        """Leave a request to cancel for the holder of a task, unless the task has ended. The first request stays.

        Args:
            key: The name of the task.
            metadata: The metadata of the request, a serialised `Struct`.

        Returns:
            The row after that; None for an unknown task.
        """

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        """Bind an idempotency key.

        Args:
            scope: The caller that the key belongs to.
            key: The key.
            binding: The request that the key stands for.

        Raises:
            AlreadyBound: The key is bound.
        """

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        """Return the binding of an idempotency key; None for an unknown key.

        Args:
            scope: The caller that the key belongs to.
            key: The key.
        """

    async def forget(self, *, bound_age_s: float, limit: int) -> int:
        """Delete old idempotency keys. Return their number; 0 if nothing is left to delete.

        Args:
            bound_age_s: Seconds after its binding at which a key is deleted, by the clock of the store.
            limit: The largest number of keys to delete in this call.
        """
