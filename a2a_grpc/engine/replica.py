"""This process among those that share a store: its name and its lease."""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from a2a_grpc.backoff import Backoff
from a2a_grpc.store import StoreUnavailable, TaskStore
from a2a_grpc.uncancelled import look_at_error

LEAVE_S = 1.0
"""How long a store may take to confirm that a replica leaves."""
ALLOWANCE = 0.05
"""The last part of a lease, in which nothing is begun that only one replica may do, and such work ends. The clocks of
this machine and of the store may differ in speed, and to end needs a moment."""


class Replica:
    """One life among the replicas.

    Guarantees:

    - While `is_alive`, no other replica takes over the tasks of this replica.
    - The functions of `on_end` are called when `is_alive` becomes False, before this replica leaves the store.
    - `keep` returns once the lease could not be renewed in time by this machine's clock, or others have declared this
      replica dead.
    - `regain` may win the lease back, if the store was away for all replicas.
    - `rejoin` begins a new life under a new name. Any replica may claim what the old life held.
    """

    def __init__(self, store: TaskStore, lease_s: float) -> None:
        self._store = store
        self._lease_s = lease_s
        self._until = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._at_end: list[Callable[[], None]] = []
        self.id = _new_id()
        self._joined = asyncio.Event()

    @property
    def is_joined(self) -> bool:
        """True once the store has this replica's present name. Before, any replica may take what this one claims."""
        return self._joined.is_set()

    async def joined(self, within_s: float) -> None:
        """Wait until the other replicas know this one, at most for that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._joined.wait()

    @property
    def is_alive(self) -> bool:
        return asyncio.get_running_loop().time() < self._until - ALLOWANCE * self._lease_s

    def on_end(self, call: Callable[[], None]) -> None:
        """Call a function each time that `is_alive` becomes False. It ends what only one replica may do.

        Args:
            call: The function. It waits for nothing.
        """
        self._at_end.append(call)

    def end(self) -> None:
        """End the lease here. The store may still have it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._until = float("-inf")
        self._tell_end()

    def _tell_end(self) -> None:
        for call in self._at_end:
            call()

    def _extend(self, begun: float) -> None:
        """Take note that the store has extended the lease. The call for that began at this time of the event loop."""
        if self._timer is not None:
            self._timer.cancel()
        self._until = begun + self._lease_s
        self._timer = asyncio.get_running_loop().call_at(self._until - ALLOWANCE * self._lease_s, self._tell_end)

    @property
    def lease_age_s(self) -> float:
        """Seconds since the lease was renewed; 0 without a lease."""
        left_s = self._until - time.monotonic()
        return 0.0 if left_s == float("-inf") else max(0.0, self._lease_s - left_s)

    async def join(self) -> None:
        """Make this replica alive. Raise StoreUnavailable."""
        begun = asyncio.get_running_loop().time()
        await self._store.join(self.id, self._lease_s)
        self._extend(begun)
        self._joined.set()

    async def keep(self) -> bool:
        """Renew the lease every third of its time, until it is lost. Return True if it may be regained.

        That is so if the lease ran out, but no other replica is known to have declared this one dead. An event loop
        that was blocked for longer than the lease gets one try.
        """
        loop = asyncio.get_running_loop()
        while True:
            left_s = self._until - loop.time()
            await asyncio.sleep(min(self._lease_s / 3, max(left_s / 2, 0.001)))  # in time, unless it is held up
            begun = loop.time()
            is_renewed = await self._renew(self._until if begun < self._until else begun + self._lease_s / 3)
            if is_renewed:
                self._extend(begun)
            elif is_renewed is False or loop.time() >= self._until:
                break
        self.end()
        return is_renewed is None

    async def regain(self, within_s: float) -> bool:
        """Try for so long to renew a lease that ran out, as a store that was away may be back. Return True if it is
        renewed: then no other replica has taken a task of this one."""
        loop = asyncio.get_running_loop()
        end, backoff = loop.time() + within_s, Backoff(self._lease_s / 30, self._lease_s / 10)
        while loop.time() < end:
            begun = loop.time()
            is_renewed = await self._renew(end)
            if is_renewed:
                self._extend(begun)
            if is_renewed is not None:
                return is_renewed
            await asyncio.sleep(backoff.next_s())
        return False

    async def _renew(self, until: float) -> bool | None:
        """Return whether the replica is alive; None if the store does not say so by that time.

        The call does not wait longer than that. A store that cannot be reached may take longer than the lease to end a
        call, even if the call is canceled.
        """
        renewing = asyncio.create_task(self._store.renew(self.id, self._lease_s), name="a2a-grpc:renew")
        try:
            await asyncio.wait([renewing], timeout=max(0.0, until - asyncio.get_running_loop().time()))
        finally:
            renewing.add_done_callback(look_at_error)
            renewing.cancel()
        if not renewing.done() or renewing.cancelled():
            return None
        return None if isinstance(renewing.exception(), StoreUnavailable) else renewing.result()

    async def rejoin(self) -> None:
        """Begin a new life under a new name, as soon as the store answers."""
        self._joined.clear()
        former, self.id = self.id, _new_id()
        backoff = Backoff(self._lease_s / 30, self._lease_s / 3)
        while True:
            try:
                await self._store.leave(former)
                return await self.join()
            except StoreUnavailable:
                await asyncio.sleep(backoff.next_s())

    async def leave(self) -> bool:
        """End this life at once, so that other replicas may take over what it holds.

        Return False if the store does not confirm that. Then the others wait for the end of the lease.
        """
        self.end()
        leaving = asyncio.create_task(self._store.leave(self.id), name="a2a-grpc:leave")
        leaving.add_done_callback(look_at_error)
        await asyncio.wait([leaving], timeout=min(LEAVE_S, self._lease_s / 3))
        return leaving.done() and not leaving.cancelled() and leaving.exception() is None


def _new_id() -> str:
    return uuid.uuid4().hex
