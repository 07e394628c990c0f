"""Go on with tasks that have no run here: take them over, begin their runs again, answer their questions."""

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed
from a2a_grpc.engine.endings import Canceled
from a2a_grpc.engine.queued_turn import read_caller
from a2a_grpc.engine.replay import kept_of, replay_of
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.writer import Writer
from a2a_grpc.offload import offload
from a2a_grpc.store import Head, Pending, StaleAppend, TaskKey
from a2a_grpc.wire import SendMessageRequest, Task

logger = logging.getLogger("a2a_grpc.engine")

LOST_FAILURE = "The server that ran this task was lost."
OUTAGE_FAILURE = "The server could not reach its store for more than {outage_s:g} s while it ran this task."
ATTEMPTS_FAILURE = "The servers that ran this task were lost, {attempts} times."


class TakeOver:
    """Gives tasks that have no run here what they need: a run, an end, or nothing.

    Guarantees:

    - A task whose replica died is begun again at a replica if its agent is resumable. Otherwise it ends in FAILED, with
      the reason. A task that waits for its user goes on waiting.
    - Each task is claimed first, so that one of several replicas goes on with it, or ends it.

    Attributes:
        out_of_touch: Tasks of this process whose runs were stopped because the store was away.
    """

    def __init__(self, resources: Resources, runs: Runs) -> None:
        self._resources = resources
        self._runs = runs
        self.out_of_touch: set[TaskKey] = set()

    @property
    def may_recover(self) -> bool:
        """True if tasks can be taken over here. That takes room for a run, unless lost runs do not begin again."""
        return self._may_go_on and (self._resources.slots.room > 0 or not self._resources.agent.resumable)

    @property
    def _may_go_on(self) -> bool:
        """True if runs may begin, and the lease holds. Without it, others may take what is claimed."""
        return not self._resources.is_draining and self._resources.replica.is_alive

    async def recover(self, key: TaskKey, expired: str = "") -> None:
        """Take over an open task that no living replica holds, and go on with it as it is.

        With `expired`, a task that waits for its user ends in FAILED with this reason, unless its answer has come. Not
        in CANCELED: no caller asked for the end, and clients show the reason of a failure.
        """
        resources, runs = self._resources, self._runs
        async with AsyncExitStack() as held:
            await held.enter_async_context(resources.locks.holding(key))
            if (active := runs.get(key)) is not None:
                if expired and active.run.is_asking and not active.run.inbox:
                    runs.stop(active, Failed(expired))
                return
            if not self.may_recover and not expired:
                return
            has_room = resources.slots.room > 0
            if has_room and not expired:  # a claim without a run would count an attempt
                held.enter_context(resources.slots.reserving(key.scope))
            head = await resources.claim(key)
            if head is None or head.is_lost:
                return
            if head.cancel is not None:
                await runs.endings.finish(key, Canceled())
                return
            stored = await resources.log.store.pending(key)
            waiting = [pending for pending in stored if pending.turn > head.turn]
            if head.state in lifecycle.INTERRUPTED and not waiting:
                await self._leave_waiting(key, head, expired)
            # Otherwise the task is taken over later, or lost again with this replica.
            elif self._may_go_on and (has_room or head.state not in lifecycle.INTERRUPTED):
                with suppress(StaleAppend):  # it was canceled at this moment
                    await self._go_on(key, head, stored, waiting)

    async def _leave_waiting(self, key: TaskKey, head: Head, expired: str) -> None:
        """Release a task that waits for its user, or end it."""
        if not expired:
            await self._resources.log.store.release(key, head.epoch)
            return
        with suppress(StaleAppend):
            await self._runs.endings.end(key, head, Failed(expired))
            logger.info("task expired task=%s", key.id)

    async def _go_on(self, key: TaskKey, head: Head, stored: list[Pending], waiting: list[Pending]) -> None:
        """Give a claimed task its run, or end it in FAILED if its run was lost and may not begin again."""
        resources, kept = self._resources, kept_of(stored, head.turn)
        if head.state in lifecycle.INTERRUPTED and kept is not None:
            await self.answer(key, head, stored)
        elif head.state in lifecycle.INTERRUPTED:
            first, *rest = [resources.queued(key, pending) for pending in waiting]
            self._runs.start(first, resources.writer(key, head), b"", rest)
        elif kept is None or not resources.agent.resumable:
            logger.warning("task fails because its replica was lost and its agent is not resumable task=%s", key.id)
            reason = OUTAGE_FAILURE if key in self.out_of_touch else LOST_FAILURE
            self.out_of_touch.discard(key)
            await self._runs.endings.finish(key, Failed(reason.format(outage_s=resources.settings.outage_s)))
        elif head.attempt > resources.settings.max_attempts:
            logger.warning(
                "task fails because its replica was lost in every attempt task=%s attempts=%d", key.id, head.attempt - 1
            )
            await self._runs.endings.finish(key, Failed(ATTEMPTS_FAILURE.format(attempts=head.attempt - 1)))
        else:
            logger.info("task is started again because its replica was lost task=%s attempt=%d", key.id, head.attempt)
            await self._begin(resources.writer(key, head), stored, attempt=head.attempt)

    # -- running a handler again, under the lock of the task's key and the claim of its row

    async def answer(self, key: TaskKey, head: Head, stored: Sequence[Pending]) -> None:
        """Write the first message that waits as the answer to the question of a task that waits in `ask`; then run its
        handler again. Raise StaleAppend, StoreUnavailable."""
        answer = next(pending for pending in stored if pending.turn > head.turn)
        writer = self._resources.writer(key, head)
        message = SendMessageRequest.FromString(answer.request).message
        try:
            await writer.status(lifecycle.WORKING, incoming=message, turn=answer.turn)
        except Failed as over_limit:
            await self._runs.endings.finish(key, over_limit)
            return
        await self._begin(writer, stored, attempt=head.attempt)

    async def _begin(self, writer: Writer, stored: Sequence[Pending], *, attempt: int) -> None:
        """Run the handler of a task again that is in WORKING, or was when its run was lost."""
        kept = kept_of(stored, writer.turn)
        assert kept is not None
        first = self._resources.queued(writer.key, kept)._replace(is_kept=True, attempt=attempt, is_repeat=True)
        answered = next((pending for pending in stored if pending.turn == writer.turn), kept)
        first = first._replace(former=first.trace, trace=read_caller(answered.caller)[1])
        serialized = await writer.task()
        task: bytes | Task = serialized
        if answers := writer.turn - first.turn:
            is_all_written = await self._ends_with_answer(writer)
            replay, task = await offload(len(serialized), replay_of, serialized, stored, answers, is_all_written)
            first = first._replace(replay=replay)
        waiting = [self._resources.queued(writer.key, pending) for pending in stored if pending.turn > writer.turn]
        if not self._resources.is_draining:  # otherwise the task is lost again with this replica, for others
            self._runs.start(first, writer, task, waiting)

    async def _ends_with_answer(self, writer: Writer) -> bool:
        """Return True if nothing was written since the last answer."""
        records = await self._resources.log.store.read(writer.key, writer.seq - 1, 1)
        return bool(records and records[0].message)
