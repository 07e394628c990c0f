"""This process among those that share a store: its name and its lease."""

import asyncio
import uuid

from a2a_grpc.backoff import Backoff
from a2a_grpc.store import StoreUnavailable, TaskStore


class Replica:
    """One life among the replicas.

    Guarantees: while `is_alive` no other replica takes this one's tasks over. `keep` returns as soon as that cannot be
    said any more: the lease could not be renewed in time by this machine's own clock, or others have declared this
    replica dead. After that it has a new name; what the old one held belongs to whoever claims it.
    """

    def __init__(self, store: TaskStore, lease_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._until = float("-inf")
        self.id = _new_id()

    @property
    def is_alive(self) -> bool:
        return asyncio.get_running_loop().time() < self._until

    async def join(self) -> None:
        """Makes this replica alive. Raises StoreUnavailable."""
        begun = asyncio.get_running_loop().time()
        await self._store.join(self.id, self._lease_s)
        self._until = begun + self._lease_s

    async def keep(self) -> None:
        """Renews the lease every third of its time; returns once it is lost.

        An event loop that was held up for longer than the lease gets one try: who was not declared dead is not.
        """
        loop = asyncio.get_running_loop()
        while True:
            is_late = loop.time() > self._until - self._lease_s / 2
            await asyncio.sleep(self._lease_s / (10 if is_late else 3))
            begun = loop.time()
            try:
                async with asyncio.timeout_at(max(self._until, begun + self._lease_s / 3)):
                    if not await self._store.renew(self.id, self._lease_s):
                        break
                    self._until = begun + self._lease_s
            except (TimeoutError, StoreUnavailable):
                if loop.time() >= self._until:
                    break
        self._until = float("-inf")

    async def rejoin(self) -> None:
        """Begins a new life under a new name, as soon as the store answers."""
        former, self.id = self.id, _new_id()
        backoff = Backoff(self._lease_s / 30, self._lease_s / 3)
        while True:
            try:
                await self._store.leave(former)
                return await self.join()
            except StoreUnavailable:
                await asyncio.sleep(backoff.next_s())

    async def leave(self) -> None:
        """Ends this life at once: others may take over what it holds. A store that does not answer learns of it by
        the lease."""
        self._until = float("-inf")
        try:
            async with asyncio.timeout(self._lease_s / 3):
                await self._store.leave(self.id)
        except (TimeoutError, StoreUnavailable):
            pass


def _new_id() -> str:
    return uuid.uuid4().hex
