"""Accepts messages and makes them turns of tasks, or replies; takes over what other replicas have lost.

A run costs one background task. A task that has ended costs none, nor does one that waits for its user, except while
its handler is kept in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent
from a2a_grpc.bus import Topic
from a2a_grpc.engine.endings import Canceled
from a2a_grpc.engine.intake import Intake
from a2a_grpc.engine.observer import NullObserver, Observer
from a2a_grpc.engine.recovery import Recovery
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.runs import Runs
from a2a_grpc.engine.send_call import AcceptedTurn, SendCall, ended_before, is_over
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.stats import Stats
from a2a_grpc.engine.takeover import TakeOver
from a2a_grpc.errors import TaskNotCancelableError, TaskNotFoundError, UnavailableError
from a2a_grpc.log import Follower, Log
from a2a_grpc.offload import offload
from a2a_grpc.parts import Json, struct
from a2a_grpc.store import Head, Record, Snapshot, TaskKey
from a2a_grpc.store.growing import Growing
from a2a_grpc.store.views import cost_of
from a2a_grpc.wire import Message, StreamResponse

OTHER_REPLICA_GRACE_S = 1.0
"""Time beyond the grace of an agent, in which another replica has to stop the run and to store the end."""
READ_TOGETHER_BYTES = 16 * 1024
"""Size up to which a canceled task is read whole. A store reads many small tasks together, as it does with rows."""
STORE_GRACE_S = 10.0
"""Time beyond the grace of an agent, after which a caller does not wait longer for the store to take the end."""


class Engine:
    """Runs one agent over one log.

    Guarantees:

    - One run at a time per task; messages that arrive meanwhile become its next turns, in order, up to a bound.
    - A task's life is not a stream's life: what a caller does with its call does not touch the task.
    - `cancel` returns within its grace, also if the agent does not react or runs at another replica.
    - Limits refuse before anything is changed; what was accepted is not lost.
    """

    def __init__(
        self, agent: Agent, log: Log, settings: EngineSettings | None = None, observer: Observer | None = None
    ) -> None:
        self._resources = Resources(agent, log, settings or EngineSettings(), observer or NullObserver())
        self.log = log
        self.settings = self._resources.settings
        self.replica = self._resources.replica
        self._runs = Runs(self._resources)
        takeover = TakeOver(self._resources, self._runs)
        self._recovery = Recovery(self._resources, self._runs, takeover)
        self._intake = Intake(self._resources, self._runs, takeover)

    async def __aenter__(self) -> Self:
        await self._recovery.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain(0.0)

    @property
    def is_draining(self) -> bool:
        return self._resources.is_draining

    @property
    def removed(self) -> int:
        """The number of ended tasks and idempotency keys that were deleted."""
        return self._recovery.removed

    @property
    def is_healthy(self) -> bool:
        """True while the background work runs, and the other replicas know that this one is alive."""
        return self._recovery.is_healthy

    def stats(self) -> Stats:
        """Return what the engine is doing now."""
        return self._runs.stats()

    async def drain(self, grace_s: float, *, before_leaving: Callable[[], Awaitable[None]] | None = None) -> bool:
        """Refuse new messages, and let runs finish within the grace. Return False if the store does not answer.

        What is left is released for other replicas, or ended in FAILED with the reason if none could go on with it.
        `before_leaving` is called once the runs are over, before others may claim what this replica holds.
        """
        self._resources.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        await self._intake.finish(max(grace_s, 1.0))
        is_stored = await self._runs.drain(max(0.0, end - loop.time()))
        if before_leaving is not None:
            await before_leaving()
        is_stored = await self._recovery.stop(is_stored=is_stored)
        self._resources.watch.stop()
        return is_stored

    def accept(self, send: SendCall) -> Coroutine[Any, Any, AcceptedTurn | Message]:
        """Accept a message. Return its turn, or the reply of a skill that answers with a message.

        An error is raised before anything is changed.

        Raises:
            InvalidRequestError: The message does not fit its task, or its idempotency key stands for another request.
            TaskNotFoundError: There is no such task.
            UnsupportedOperationError: The task has ended.
            ResourceExhaustedError: The message is over a limit.
            UnavailableError: The engine is draining.
        """
        return self._intake.accept(send)

    async def settled(self, accepted: AcceptedTurn) -> Snapshot:
        """Wait until the task has ended or waits for its user in the turn (SEND-2). Return the task as it was then.

        Raises:
            UnsupportedOperationError: The task ended in an earlier turn, so the message got no turn.
        """
        found, turn, records = accepted.snapshot, accepted.turn, accepted.records
        if not is_over(found.state, found.turn, turn):
            if records is not None and records.is_joined and accepted.created is not None:
                folding = Growing(accepted.created)
            else:
                records = self.log.follow(accepted.key, found.seq, found.state, folds=True)
                folding = await offload(len(found.task), Growing.of, [found.task])
            with records:
                found = await _folded(folding, records, turn)
        if found.turn < turn:
            raise ended_before(accepted.key, found.state)
        return found

    async def cancel(self, key: TaskKey, metadata: dict[str, Json] | None = None) -> Head | Snapshot:
        """Stop a task within the grace, at any replica. Return its row, or the task itself if it was read here.

        The task is CANCELED then, also if it was so before, and if the agent did not react.

        Raises:
            TaskNotFoundError: There is no such task.
            TaskNotCancelableError: The task has ended in another state.
            UnavailableError: The store did not take the end in time.
        """
        found: Head | Snapshot | None = None
        while found is None or found.state not in lifecycle.TERMINAL:
            if self._runs.get(key) is not None or (isinstance(found, Head) and self._is_free(found)):
                found = await self._cancel_here(key, metadata or {})
            else:
                found = await self._cancel_at_other_replica(key, metadata or {})
        if found.state != lifecycle.CANCELED:
            raise TaskNotCancelableError(
                f"task '{key.id}' is {lifecycle.state_name(found.state)}; it cannot be canceled any more",
                metadata={"task_id": key.id},
            )
        return found

    def _is_free(self, head: Head) -> bool:
        """Return True unless another replica, which is alive, holds the task."""
        return head.replica in ("", self.replica.id) or head.is_lost

    async def _cancel_here(self, key: TaskKey, metadata: dict[str, Json]) -> Head:
        """Stop the run of a task, or end a task that has none and is free. Return the row of the task after that."""
        async with self._resources.locks.holding(key):  # a message that is being accepted has its run, or has not begun
            active = self._runs.get(key)
            if active is None:
                await self._runs.endings.finish(key, Canceled())
        if active is not None:
            stopping = self._runs.stop(active, Canceled(), metadata)
            await asyncio.wait([stopping], timeout=self.settings.cancel_grace_s + STORE_GRACE_S)
            if not stopping.done():
                raise UnavailableError(
                    f"task '{key.id}' was stopped, but the store did not confirm CANCELED "
                    f"within {STORE_GRACE_S:g} s; call CancelTask again",
                    retry_after_s=1.0,
                )
        return await self.log.head(key)

    async def _cancel_at_other_replica(self, key: TaskKey, metadata: dict[str, Json]) -> Head | Snapshot:
        """Have the replica that holds a task cancel the task; a replica that does not within the grace loses it. Return
        the row of the task after that, or the task itself. A free task is left to `_cancel_here`."""
        with self.log.bus.listen(key) as topic:
            seen = topic.wakes
            head = await self.log.store.request_cancel(key, struct(metadata).SerializeToString())
            if head is None:
                raise TaskNotFoundError.of(key.id)
            if head.state in lifecycle.TERMINAL or self._is_free(head):
                return head
            self.log.bus.wake(head.replica)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.cancel_grace_s + OTHER_REPLICA_GRACE_S):
                    settled = await self._settled_after(key, head, topic, seen)
                    if settled.state in lifecycle.TERMINAL:
                        return settled
        async with self._resources.locks.holding(key):
            await self._runs.endings.finish(key, Canceled(), force=True)
        return await self.log.head(key)

    async def _settled_after(self, key: TaskKey, asked: Head, topic: Topic, seen: int) -> Head | Snapshot:
        """Return a task, or its row if the task is large, once records after the row `asked` have settled it. What many
        callers wait for is read together, which a follower for each of them would not do."""
        is_small = asked.size <= READ_TOGETHER_BYTES
        while True:
            await topic.wait(seen)
            seen = topic.wakes
            found = await (self.log.snapshot(key) if is_small else self.log.head(key))
            if found.seq > asked.seq and found.state in lifecycle.SETTLED:
                return found


async def _folded(folding: Growing, records: Follower, turn: int) -> Snapshot:
    """Fold records until the turn is over. Return the task as it was then."""
    while batch := await records.batch():
        events = records.events(batch)
        if (last := await offload(cost_of(batch), _fold_turn, folding, batch, events, turn)) is not None:
            return Snapshot(last.seq, await offload(folding.size, folding.take), last.state, last.turn)
    raise AssertionError("a turn is over at the latest when its task ends")


def _fold_turn(
    folding: Growing, records: Sequence[Record], events: Sequence[StreamResponse | None], turn: int
) -> Record | None:
    """Fold records until the turn is over. Return the record with which it was over; None if it goes on."""
    for record, event in zip(records, events, strict=True):
        folding.add_one(record, event)
        if record.at_us and is_over(record.state, record.turn, turn):  # only a status says so
            return record
    return None
