"""The loops of one replica among several.

They keep its lease, do what other replicas want of the tasks that it holds, and take over tasks of lost replicas.
They poll for wakes that were lost, stop handlers that wait for long, and remove and end what has expired.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from zlib import crc32

from google.protobuf.struct_pb2 import Struct

from a2a_grpc.engine.background import PeriodicTasks
from a2a_grpc.engine.endings import Canceled
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.run import Active
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.sweep import sweep
from a2a_grpc.engine.takeover import TakeOver
from a2a_grpc.parts import to_dict
from a2a_grpc.store import Head, StaleAppend, TaskKey

logger = logging.getLogger("a2a_grpc.engine")

LOST = "a2a-grpc:lost"
"""Bus key: woken when a replica has left tasks to the others."""
PAGE = 64
"""Tasks to take over that are looked for at a time."""
TAKE_OVERS = 8
"""Tasks that are taken over at a time."""
DAY_S = 86_400.0


class Recovery:
    """The background work of one replica among several.

    Guarantees:

    - Tasks whose replica died are taken over.
    - Runs whose lease is lost are stopped, and their tasks are not ended.
    - Tasks that have waited for their users for too long are ended.
    """

    def __init__(self, resources: Resources, runs: Runs, takeover: TakeOver) -> None:
        self._resources = resources
        self._runs = runs
        self._takeover = takeover
        self._periodic = PeriodicTasks()
        self._listening = ExitStack()
        self.removed = 0
        """The number of tasks and idempotency keys that were deleted."""

    @property
    def is_healthy(self) -> bool:
        """True while every loop runs and the lease holds."""
        return self._periodic.is_healthy and self._resources.replica.is_alive

    async def start(self) -> None:
        """Join the replicas. Raise StoreUnavailable."""
        await self._resources.replica.join()
        await self._resources.waiting.refresh(self._resources.log.store)
        settings, periodic = self._resources.settings, self._periodic
        periodic.every(0.0, "lease", self._live)
        periodic.every(settings.sweep_interval_s, "sweep", self._sweep, first_after_s=settings.sweep_interval_s)
        periodic.every(0.0, "let-go", self._let_go)
        if not self._resources.log.store.durable:
            return  # no earlier process has left a task, and the outcome of every write is known
        lost = self._listening.enter_context(self._resources.log.bus.listen(LOST))
        periodic.every(0.0, "attend", self._attend)
        periodic.every(settings.lease_s / 3, "take-over", self._take_over, lost)
        if self._resources.log.store.shared:
            periodic.every(settings.poll_interval_s, "poll", self._resources.log.poll)

    async def stop(self, *, is_stored: bool = True) -> bool:
        """Leave the group of replicas, so that the others may claim this replica's tasks at once.

        Return False if the store does not confirm this, or if the caller knows that the store does not answer
        (`is_stored` is False).
        """
        if is_stored:
            is_stored, _ = await asyncio.gather(self._resources.replica.leave(), self._periodic.stop())
        else:
            self._resources.replica.end()
            await self._periodic.stop(0.0)
        self._listening.close()
        self._resources.log.bus.wake(LOST)
        if not is_stored:
            logger.warning(
                "the store does not answer; another replica, or the next start, handles the open tasks after the lease "
                "lease_s=%g",
                self._resources.settings.lease_s,
            )
        return is_stored

    # -- the rounds of the loops

    async def _live(self) -> None:
        may_regain = await self._resources.replica.keep()
        if may_regain and await self._regain():
            return
        logger.warning("this replica lost its lease, so its runs are stopped runs=%d", len(self._runs))
        lost = self._runs.lose_all()
        self._takeover.out_of_touch = set(lost) if may_regain else set()
        await self._resources.replica.rejoin()

    async def _regain(self) -> bool:
        """Win back a lease that ran out while the store was away. The runs go on meanwhile, except those of a resumable
        agent: another replica that reaches the store begins them again."""
        if self._resources.keeps_messages:
            return False
        grace_s = self._resources.settings.outage_s - self._resources.settings.lease_s
        if self._resources.is_draining:  # its runs have to end before
            return await self._resources.replica.regain(grace_s)
        logger.warning(
            "the store did not answer for a whole lease; runs continue for a while lease_s=%g runs=%d seconds=%g",
            self._resources.settings.lease_s,
            len(self._runs),
            grace_s,
        )
        if not await self._resources.replica.regain(grace_s):
            return False
        logger.warning("the store answers again and the lease is renewed, so runs continue runs=%d", len(self._runs))
        return True

    async def _attend(self) -> None:
        """Do what other replicas want of the tasks held here, as long as this replica has its present name."""
        me = self._resources.replica.id
        with self._resources.log.bus.listen(me) as topic:
            while me == self._resources.replica.id:
                seen = topic.wakes
                for key, head in await self._resources.log.store.needing_attention(me):
                    await self._attend_to(key, head)
                for active in self._runs.unanswered():
                    await self._hand_over(active)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._resources.settings.poll_interval_s):
                        await topic.wait(seen)

    async def _attend_to(self, key: TaskKey, head: Head) -> None:
        active = self._runs.get(key)
        if active is None:
            await self._takeover.recover(key)
        elif head.cancel is not None:
            self._runs.stop(active, Canceled(), to_dict(Struct.FromString(head.cancel)))
        elif head.last_turn > active.last_turn:
            await self._hand_over(active)

    async def _hand_over(self, active: Active) -> None:
        async with self._resources.locks.holding(active.key):
            if self._runs.get(active.key) is active:
                with suppress(StaleAppend):  # another replica has claimed the task, with its message
                    await self._runs.hand_over(active)

    async def _take_over(self) -> None:
        """Go on with tasks that no living replica holds, and with those that are held here without a run.

        A write with an unknown outcome may leave such a task.
        """
        held = await self._resources.log.store.claimed_by(self._resources.replica.id)
        await self._recover_all([key for key in held if self._runs.get(key) is None])
        await self._recover_pages(self._resources.log.store.orphaned)

    async def _recover_pages(self, find: Callable[[int], Awaitable[list[TaskKey]]], expired: str = "") -> None:
        """Take over all tasks that a store finds, a page at a time.

        A task that cannot be taken over stays among those that the store finds. It is tried once, and the next pages
        are larger, so that the tasks after it are found, too.
        """
        tried: set[TaskKey] = set()
        limit = PAGE
        while expired or self._takeover.may_recover:
            found = await find(limit)
            left = tried.intersection(found)
            if keys := [key for key in found if key not in left]:
                await self._recover_all(keys, expired)
            elif len(found) < limit:
                return
            tried, limit = left.union(keys), PAGE + len(left)

    async def _recover_all(self, keys: list[TaskKey], expired: str = "") -> None:
        """Take over several tasks at a time, in this replica's own order, because others look at the same tasks."""
        left = iter(sorted(keys, key=lambda key: crc32(f"{self._resources.replica.id}{key.id}".encode())))

        async def recover_on() -> None:
            for key in left:
                await self._takeover.recover(key, expired)

        workers = min(TAKE_OVERS, len(keys), max(1, self._resources.slots.room))
        for failed in await asyncio.gather(*(recover_on() for _ in range(workers)), return_exceptions=True):
            if failed is not None:
                raise failed

    async def _sweep(self) -> None:
        settings, store = self._resources.settings, self._resources.log.store
        if removed := await sweep(store, settings):
            self.removed += removed
            logger.info("ended tasks were removed count=%d", removed)
        if limit_s := settings.waiting_retention_s:
            waited = f"{limit_s / DAY_S:g} days" if limit_s >= DAY_S else f"{limit_s:g} s"
            expired = f"The task waited for an answer for more than {waited}, and has expired."
            await self._recover_pages(partial(store.waiting_longer, limit_s), expired)
        await self._resources.waiting.refresh(store)

    async def _let_go(self) -> None:
        await asyncio.gather(*[self._runs.let_go(run) for run in await self._resources.held.due()])
