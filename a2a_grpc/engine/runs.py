"""The runs that are at work: started, handed their next message, stopped, lost, drained."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed, Outcome
from a2a_grpc.engine.endings import Endings
from a2a_grpc.engine.held import Holder
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.run import SHUTDOWN_FAILURE, Active, Run
from a2a_grpc.engine.stats import Stats
from a2a_grpc.engine.writer import Writer
from a2a_grpc.parts import Json
from a2a_grpc.store import StoreUnavailable, TaskKey
from a2a_grpc.unclosed import Unclosed
from a2a_grpc.wire import Task

logger = logging.getLogger("a2a_grpc.engine")

STORED_WITHIN_S = 2.0
"""How long a drain waits for a store that stores no end meanwhile, once the handlers have ended."""


class Runs:
    """The tasks at work, each with one background task.

    Guarantees:

    - There is one run at a time per task, as long as messages are handed over under the lock of the task.
    - `stop` ends within the grace, also if the agent does not react.
    - `drain` leaves no background task behind.
    """

    def __init__(self, resources: Resources) -> None:
        self.endings = Endings(resources)
        self._resources = resources
        self._active: dict[TaskKey, Active] = {}

    def __len__(self) -> int:
        """Return the number of tasks at work."""
        return len(self._active)

    def get(self, key: TaskKey) -> Active | None:
        """Return a task that is at work here; None if it is not."""
        return self._active.get(key)

    def unanswered(self) -> list[Active]:
        """Return the runs that wait for an answer which has come, but which the store may not have stored."""
        return [active for active in self._active.values() if active.run.inbox and active.run.is_asking]

    def stats(self) -> Stats:
        """Return what is at work."""
        resources = self._resources
        return Stats(
            tasks=tuple(self._active),
            runs=resources.slots.taken,
            callers=resources.slots.callers,
            asking=len(resources.held),
            queued=sum(len(active.run.inbox) for active in self._active.values()),
            waiting=resources.waiting.count,
            background=len(resources.background),
            followed=len(resources.log.bus),
        )

    def start(
        self, first: QueuedTurn, writer: Writer, task: bytes | Task = b"", waiting: Iterable[QueuedTurn] = ()
    ) -> None:
        """Start a run under the writer's claim, for a message and those that wait after it.

        If `task` is empty, the run writes the first message into the log of the task; otherwise it is there. Nothing
        starts if the lease was lost since the claim, because another replica takes the task then.
        """
        resources = self._resources
        if writer.replica != resources.replica.id or not resources.replica.is_joined:
            return
        key, inbox = writer.key, deque(waiting)
        last_turn = max(writer.turn, inbox[-1].turn if inbox else first.turn)
        if (former := self._active.get(key)) is not None:
            self._lose(former)  # it has lost its claim, and has yet to learn of it
        active = Active(key, Run(first, task, writer, resources, inbox), last_turn)
        self._active[key] = active
        loop = asyncio.get_running_loop()
        active.work = loop.create_task(Unclosed(self._work(active)), name=f"a2a-grpc:run:{key.id}")

    async def _work(self, active: Active) -> None:
        """Run the turns of a task, one after the other, until none is left or the task has ended."""
        key, work, resources = active.key, active.work, self._resources
        resources.background.tasks.add(work)
        try:
            while True:
                await active.run.execute(work)
                writer = active.run.writer
                if writer.state in lifecycle.TERMINAL:
                    return  # a message that is handed over after that gets no turn
                async with resources.locks.holding(key):  # no caller is in the middle of handing a message over
                    if active.run.is_lost or active.stopping is not None:
                        return
                    if writer.last_turn > active.last_turn:
                        await self.hand_over(active)
                    inbox = active.run.inbox
                    if not inbox:
                        self._forget(active)
                        return
                    queued = inbox.popleft()
                    task = await writer.task() if queued.turn <= writer.turn else b""  # the log has the message
                    if active.run.is_lost or active.stopping is not None:  # since the lock was taken
                        return
                    active.run = Run(queued, task, writer, resources, inbox)
        except StoreUnavailable:
            logger.warning("messages that wait for a task could not be read task=%s", key.id)
        except Exception:
            logger.exception("background task failed name=%s", work.get_name())
        finally:
            resources.background.tasks.discard(work)
            if active.stopping is None:  # otherwise it is seen to that the task ends
                self._forget(active)

    async def hand_over(self, active: Active) -> None:
        """Hand the messages that wait in the store to a run, the answer to its question first. The lock must be held.

        Raises:
            StaleAppend: The run has lost its claim.
        """
        key, inbox = active.key, active.run.inbox
        for pending in await self._resources.log.store.pending(key):
            if pending.turn > active.last_turn:
                active.last_turn = pending.turn
                inbox.append(self._resources.queued(key, pending))
        if inbox and active.run.is_asking:
            try:
                await active.run.answer()
            except Failed as over_limit:
                self.stop(active, over_limit)

    def stop(self, active: Active, outcome: Outcome, metadata: dict[str, Json] | None = None) -> "asyncio.Task[None]":
        """Stop a run, and end its task. Return the background task that does so, which is the same for all callers."""
        if active.stopping is None:
            stopping = self._see_stopped(active, outcome)
            active.stopping = self._resources.background.spawn(stopping, f"a2a-grpc:stop:{active.key.id}")
            active.run.stop(outcome, metadata)
        return active.stopping

    async def _see_stopped(self, active: Active, outcome: Outcome) -> None:
        """See that the task of a stopped run ends, also if its handler does not, or the store does not answer."""
        key, grace_s = active.key, self._resources.settings.cancel_grace_s
        try:
            await asyncio.wait([active.work], timeout=grace_s)
            if not active.work.done() and active.run.is_closed:
                logger.warning(
                    "the end of a stopped task is not stored yet, because the store did not answer task=%s seconds=%g",
                    *(key.id, grace_s),
                )
            elif not active.work.done():
                logger.warning("handler did not stop after its cancellation and can no longer write task=%s", key.id)
            if not active.has_stored_end:
                await self.endings.finish_when_possible(key, outcome)
        finally:
            self._forget(active)
        if not active.work.done():
            active.run.abandon()

    async def let_go(self, run: Holder) -> None:
        """Stop a handler that waits for an answer, and release its task. The answer runs the handler again.

        A handler whose answer has come meanwhile goes on.
        """
        key = run.key
        async with self._resources.locks.holding(key):
            self._resources.held.leave(run)
            active = self._active.get(key)
            if active is None or active.run is not run or not run.is_asking or run.inbox or active.stopping:
                return
            logger.info("handler that waits for an answer was stopped to free memory task=%s", key.id)
            self._lose(active)
            # If a message has come at another replica meanwhile, the claim stays: `Recovery` goes on with the task.
            await self._resources.log.store.release(key, run.writer.epoch)

    def lose_all(self) -> list[TaskKey]:
        """Stop every run without ending its task, because other replicas take the tasks. Return the tasks."""
        lost = list(self._active)
        for active in list(self._active.values()):
            self._lose(active)
        return lost

    def _lose(self, active: Active) -> None:
        self._forget(active)
        active.run.lose()
        self._resources.background.spawn(self._see_gone(active), f"a2a-grpc:lost:{active.key.id}")

    async def _see_gone(self, active: Active) -> None:
        await asyncio.wait([active.work], timeout=self._resources.settings.cancel_grace_s)
        if not active.work.done():
            active.run.abandon()

    def _forget(self, active: Active) -> None:
        if self._active.get(active.key) is active:
            del self._active[active.key]

    async def drain(self, grace_s: float) -> bool:
        """Let runs and replies finish within the grace. Return False if the store does not store the ends.

        What is left is released if another replica can go on with it, and ended in FAILED with the reason otherwise.
        A run that was stopped before ends in the state that it was stopped for. Then all background work ends. A run
        that waits for its user is not waited for.
        """
        resources = self._resources
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle()
        for active in list(self._active.values()):
            if active.stopping is not None:
                continue
            if resources.keeps_messages or (resources.log.store.durable and active.run.is_asking):
                self._lose(active)
            else:
                self.stop(active, Failed(SHUTDOWN_FAILURE))
        is_stored = await self._see_ends_stored()
        await resources.background.end(1.0 if is_stored else 0.1)  # a store that is away keeps the tasks longer
        return is_stored

    async def _see_ends_stored(self) -> bool:
        """Wait for the runs that were stopped, also by callers. Return False if the store stores none of their ends.

        Then the other replicas, or the next start, end the tasks.
        """
        if handlers := [active.run.handler_ended() for active in self._active.values() if active.stopping is not None]:
            await asyncio.wait(handlers, timeout=self._resources.settings.cancel_grace_s)
        # A stop that was canceled before its first step leaves its run here.
        while stops := [one.stopping for one in self._active.values() if one.stopping and not one.stopping.done()]:
            ended, _ = await asyncio.wait(stops, timeout=STORED_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                logger.warning("the store does not answer, so ends of tasks are not stored tasks=%d", len(stops))
                return False
        return True

    async def _idle(self) -> None:
        """Wait until nothing is at work, and every end is written."""
        await self._resources.slots.idle()
        while ending := [one.work for one in self._active.values() if one.run.is_closed and not one.work.done()]:
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            await self._resources.slots.idle()
