"""What an engine does because it is one of several, or the next after one that died.

It keeps its lease, does what other replicas want of the tasks that it holds, and takes over tasks of lost replicas.
It polls for wakes that were lost, and stops handlers that wait for long. It also removes and ends what has expired.
"""

import asyncio
import logging
from contextlib import ExitStack, suppress
from zlib import crc32

from google.protobuf.struct_pb2 import Struct

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed
from a2a_grpc.engine.endings import Canceled
from a2a_grpc.engine.periodic import PeriodicTasks
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.replay import kept_of
from a2a_grpc.engine.rerun import Reruns
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Active, Runs
from a2a_grpc.engine.sweep import Expiry, sweep
from a2a_grpc.parts import to_dict
from a2a_grpc.store import Head, Pending, StaleAppend, TaskKey

logger = logging.getLogger("a2a_grpc.engine")

LOST_FAILURE = "The server that ran this task was lost."
OUTAGE_FAILURE = "The server could not reach its store for more than {outage_s:g} s while it ran this task."
ATTEMPTS_FAILURE = "The servers that ran this task were lost, {attempts} times."

LOST = "a2a-grpc:lost"
"""Bus key: woken when a replica has left tasks to the others."""
TAKE_OVER_PAGE = 64
"""Lost tasks that are looked for at a time."""
TAKE_OVERS = 8
"""Lost tasks that are taken over at a time."""


class Recovery:
    """The background work of one replica among several.

    Guarantees:

    - A task whose replica died is begun again at a replica if its agent is resumable. Otherwise it ends in FAILED, with
      the reason. A task that waits for its user goes on waiting.
    - Runs whose lease is lost are stopped, and their tasks are not ended.
    """

    def __init__(self, resources: Resources, runs: Runs, reruns: Reruns) -> None:
        self._resources = resources
        self._runs = runs
        self._reruns = reruns
        self._expiry = Expiry(resources, runs)
        self._periodic = PeriodicTasks()
        self._listening = ExitStack()
        self.removed = 0
        """The number of tasks and idempotency keys that were deleted."""
        self._out_of_touch: set[TaskKey] = set()
        """Tasks of this process whose runs were stopped because the store was away."""

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

    async def recover(self, key: TaskKey) -> None:
        """Take over an open task that no living replica holds, and go on with it as it is."""
        async with self._resources.locks.holding(key):
            if not self._can_take_over or self._runs.get(key) is not None:
                return
            head = await self._resources.log.store.claim(key, self._resources.replica.id)
            if (
                head is None
                or head.state in lifecycle.TERMINAL
                or head.replica != self._resources.replica.id
                or head.is_lost
            ):
                return
            if head.cancel is not None:
                await self._runs.endings.finish(key, Canceled())
                return
            stored = await self._resources.log.store.pending(key)
            waiting = [pending for pending in stored if pending.turn > head.turn]
            if head.state in lifecycle.INTERRUPTED:
                await self._go_on(key, head, stored, waiting)
            else:
                await self._begin_again(key, head, stored)

    @property
    def _can_take_over(self) -> bool:
        """True if there is room for another run, and the lease holds. Without it, others may take what is claimed."""
        return not self._resources.is_draining and self._resources.slots.room > 0 and self._resources.replica.is_alive

    async def _go_on(self, key: TaskKey, head: Head, stored: list[Pending], waiting: list[Pending]) -> None:
        """Go on with a task that waits for its user, or for the turn of a message that has come."""
        if not waiting:
            await self._resources.log.store.release(key, head.epoch)
            return
        if self._resources.is_draining:
            return  # the task is lost again with this replica, for others
        if kept_of(stored, head.turn) is not None:
            with suppress(StaleAppend):  # it was canceled at this moment
                await self._reruns.answer(key, head, stored)
            return
        first, *rest = [
            QueuedTurn.of(pending, key, self._resources.agent, is_kept=self._resources.keeps_messages)
            for pending in waiting
        ]
        self._runs.start(first, self._resources.writer(key, head), b"", rest)

    async def _begin_again(self, key: TaskKey, head: Head, stored: list[Pending]) -> None:
        """Begin the run of a task again, or end the task in FAILED if that may not be."""
        if kept_of(stored, head.turn) is None or not self._resources.agent.resumable:
            logger.warning("task fails because its replica was lost and its agent is not resumable task=%s", key.id)
            await self._runs.endings.finish(key, Failed(self._why_lost(key)))
            return
        if head.attempt > self._resources.settings.max_attempts:
            logger.warning(
                "task fails because its replica was lost in every attempt task=%s attempts=%d", key.id, head.attempt - 1
            )
            await self._runs.endings.finish(key, Failed(ATTEMPTS_FAILURE.format(attempts=head.attempt - 1)))
            return
        logger.info("task is started again because its replica was lost task=%s attempt=%d", key.id, head.attempt)
        await self._reruns.begin(self._resources.writer(key, head), stored, attempt=head.attempt)

    def _why_lost(self, key: TaskKey) -> str:
        if key not in self._out_of_touch:
            return LOST_FAILURE
        self._out_of_touch.discard(key)
        return OUTAGE_FAILURE.format(outage_s=self._resources.settings.outage_s)

    # -- the rounds of the loops

    async def _live(self) -> None:
        may_regain = await self._resources.replica.keep()
        if may_regain and await self._regain():
            return
        logger.warning("this replica lost its lease, so its runs are stopped runs=%d", len(self._runs))
        self._out_of_touch = set(self._runs.lose_all()) if may_regain else set()
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
                for key, active in self._runs.unanswered():
                    await self._hand_over(key, active)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._resources.settings.poll_interval_s):
                        await topic.wait(seen)

    async def _attend_to(self, key: TaskKey, head: Head) -> None:
        active = self._runs.get(key)
        if active is None:
            await self.recover(key)
        elif head.cancel is not None:
            self._runs.stop(key, active, Canceled(), to_dict(Struct.FromString(head.cancel)))
        elif head.last_turn > active.last_turn:
            await self._hand_over(key, active)

    async def _hand_over(self, key: TaskKey, active: Active) -> None:
        async with self._resources.locks.holding(key):
            if self._runs.get(key) is active:
                with suppress(StaleAppend):  # another replica has claimed the task, with its message
                    await self._runs.hand_over(key, active)

    async def _take_over(self) -> None:
        """Go on with tasks that no living replica holds, and with those that are held here without a run.

        A write with an unknown outcome may leave such a task.
        """
        held = await self._resources.log.store.claimed_by(self._resources.replica.id)
        await self._recover_all([key for key in held if self._runs.get(key) is None])
        before: list[TaskKey] = []
        while (
            self._can_take_over
            and (keys := await self._resources.log.store.orphaned(TAKE_OVER_PAGE))
            and keys != before
        ):
            await self._recover_all(keys)
            before = keys

    async def _recover_all(self, keys: list[TaskKey]) -> None:
        """Take over several tasks at a time, in this replica's own order, because others look at the same tasks."""
        left = iter(sorted(keys, key=lambda key: crc32(f"{self._resources.replica.id}{key.id}".encode())))

        async def recover_on() -> None:
            for key in left:
                await self.recover(key)

        workers = min(TAKE_OVERS, len(keys), self._resources.slots.room)
        for failed in await asyncio.gather(*(recover_on() for _ in range(workers)), return_exceptions=True):
            if failed is not None:
                raise failed

    async def _sweep(self) -> None:
        if removed := await sweep(self._resources.log.store, self._resources.settings):
            self.removed += removed
            logger.info("ended tasks were removed count=%d", removed)
        for key in await self._expiry.sweep():
            await self.recover(key)
        await self._resources.waiting.refresh(self._resources.log.store)

    async def _let_go(self) -> None:
        await asyncio.gather(*[self._runs.let_go(run) for run in await self._resources.held.due()])
