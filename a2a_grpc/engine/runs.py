"""The runs that are at work: started, handed their next message, stopped, lost, drained."""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.agent import Agent, Failed, Outcome, Threads
from a2a_grpc.backoff import Backoff
from a2a_grpc.engine.farewell import Abandoned, say_farewell, waiting_for_another
from a2a_grpc.engine.held import Held
from a2a_grpc.engine.locks import KeyLocks
from a2a_grpc.engine.observer import Observer
from a2a_grpc.engine.past import Past
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.replica import Replica
from a2a_grpc.engine.run import SHUTDOWN_FAILURE, Canceled, Run
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.slots import Slots
from a2a_grpc.engine.waiting import Waiting
from a2a_grpc.engine.watch import Watch
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import ResourceExhaustedError, UnavailableError
from a2a_grpc.log import Log
from a2a_grpc.parts import Json, agent_message
from a2a_grpc.store import Head, Scope, StaleAppend, StoreUnavailable, TaskKey
from a2a_grpc.unclosed import Unclosed
from a2a_grpc.wire import Task

logger = logging.getLogger("a2a_grpc.engine")

STORED_WITHIN_S = 2.0
"""How long a drain waits for a store that stores no end meanwhile, once the handlers have ended."""
FAREWELL_S = 10.0
"""Beyond the grace: how long a handler may take to get to where it waited, and to cancel another agent's task."""


@dataclass(slots=True)
class Active:
    """A task that is at work, with the messages that wait for it."""

    run: Run
    last_turn: int
    """The turn of the newest message that was handed over."""
    inbox: deque[QueuedTurn]
    work: "asyncio.Task[None]" = field(init=False)
    stopping: "asyncio.Task[None] | None" = None


class Runs:
    """Owns every background task of the engine that works on a task.

    Guarantees:

    - There is one run at a time per task, as long as messages are handed over under `locks`.
    - `stop` ends within the grace, also if the agent does not react.
    - `drain` leaves no background task behind.
    """

    def __init__(self, agent: Agent, log: Log, settings: EngineSettings, replica: Replica, observer: Observer) -> None:
        self.slots = Slots(
            settings.max_runs,
            settings.max_queued_runs,
            per_caller=settings.max_runs_per_caller,
            queued_per_caller=settings.max_queued_per_caller,
        )
        self.held = Held[Run](settings)
        self.waiting = Waiting(settings.max_waiting_tasks)
        self.threads = Threads(settings.max_threads)
        self.watch = Watch(settings.block_warning_s)
        self.past = Past(log, settings.max_task_bytes)
        self._agent = agent
        self._replica = replica
        self._log = log
        self._settings = settings
        self.observer = observer
        self.locks = KeyLocks()
        self.keeps_messages = agent.resumable and log.store.keeps_messages
        """True if the store keeps a message until its run is over, so that another replica can begin the run again."""
        self.is_draining = False
        self._active: dict[TaskKey, Active] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stops: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return the number of tasks at work."""
        return len(self._active)

    def get(self, key: TaskKey) -> Active | None:
        return self._active.get(key)

    def writer(self, key: TaskKey, head: Head) -> Writer:
        """Return the writer of a task's next run, under the claim of its row."""
        return Writer(self._log, self._settings, key, head, self.waiting)

    def unanswered(self) -> list[tuple[TaskKey, Active]]:
        """Return the runs that wait for an answer which has come, but which the store may not have stored."""
        return [(key, active) for key, active in self._active.items() if active.inbox and active.run.is_waiting]

    def check_room(self, scope: Scope) -> None:
        """Raise ResourceExhaustedError if another run of a caller has neither a place nor room to wait for one,
        UnavailableError as `check_open` does."""
        self.check_open()
        if self.slots.is_full_for(scope):
            raise ResourceExhaustedError(
                f"{self._settings.max_queued_per_caller} runs of this caller are waiting, which is the limit "
                "(--max-queued-per-caller)",
                retry_after_s=1.0,
            )
        if self.slots.is_full(scope):
            raise ResourceExhaustedError(
                f"{self.slots.taken} runs are at work or waiting, and no more may wait (--max-queued-runs)",
                retry_after_s=1.0,
            )

    def check_open(self) -> None:
        """Raise UnavailableError while draining, and while the other replicas do not know this one."""
        if self.is_draining:
            raise UnavailableError.shutting_down("try another")
        if not self._replica.is_joined:
            raise UnavailableError("this server was out of touch with its store; try again", retry_after_s=1.0)

    def start(
        self, first: QueuedTurn, writer: Writer, task: bytes | Task = b"", waiting: Iterable[QueuedTurn] = ()
    ) -> None:
        """Start a run under the writer's claim, for a message and those that wait after it.

        If `task` is empty, the run writes the first message into the log of the task; otherwise it is there. Nothing
        starts if the lease was lost since the claim, because another replica takes the task then.
        """
        if writer.replica != self._replica.id or not self._replica.is_joined:
            return
        key, inbox = writer.key, deque(waiting)
        last_turn = max(writer.turn, inbox[-1].turn if inbox else first.turn)
        if (former := self._active.get(key)) is not None:
            self._lose(key, former)  # it has lost its claim, and has yet to learn of it
        active = Active(self._run(first, task, writer, inbox), last_turn, inbox)
        self._active[key] = active
        loop = asyncio.get_running_loop()
        active.work = loop.create_task(Unclosed(self._work(key, active)), name=f"a2a-grpc:run:{key.id}")

    async def hand_over(self, key: TaskKey, active: Active) -> None:
        """Hand the messages that wait in the store to a run, the answer to its question first. The lock must be held.

        Raises:
            StaleAppend: The run has lost its claim.
        """
        for pending in await self._log.store.pending(key):
            if pending.turn > active.last_turn:
                active.last_turn = pending.turn
                active.inbox.append(QueuedTurn.of(pending, key, self._agent, is_kept=self.keeps_messages))
        if active.inbox and active.run.is_waiting:
            try:
                await active.run.answer()
            except Failed as over_limit:
                self.stop(key, active, over_limit)

    def stop(
        self, key: TaskKey, active: Active, outcome: Outcome, metadata: dict[str, Json] | None = None
    ) -> "asyncio.Task[None]":
        """Stop a run, and end its task. Return the background task that does so, which is the same for all callers."""
        if active.stopping is None:
            active.stopping = self.spawn(self._see_stopped(key, active, outcome), f"a2a-grpc:stop:{key.id}")
            self._stops.add(active.stopping)
            active.stopping.add_done_callback(self._stops.discard)
            active.run.stop(outcome, metadata)
        return active.stopping

    async def finish(self, key: TaskKey, outcome: Outcome, *, force: bool = False) -> None:
        """End a task that has no run. With `force`, also take it from the replica that holds it.

        A task that has ended stays as it is, and one of another replica without `force`.
        """
        while True:
            me = self._replica.id
            head = await self._log.store.claim(key, me, force=force)
            if head is None or head.state in lifecycle.TERMINAL or head.replica != me:
                return
            with suppress(StaleAppend):  # another writer was faster, so read the row again
                await self.end(key, head, outcome)
                return

    async def end(self, key: TaskKey, head: Head, outcome: Outcome) -> None:
        """Write the end of a task that has no run, under the claim of its row. If its handler waits for the answer to
        another agent's question, see that the other agent's task is canceled. Raise StaleAppend, StoreUnavailable."""
        waiting = await waiting_for_another(self._log, self._agent, key, head)
        message = None
        if outcome.content is not None:
            message = agent_message(outcome.content, context_id=head.context_id, task_id=key.id)
        await self.writer(key, head).status(outcome.state, message)
        if waiting is not None:
            self.spawn(self._say_farewell(waiting, key), f"a2a-grpc:farewell:{key.id}")

    async def _say_farewell(self, waiting: Abandoned, key: TaskKey) -> None:
        """Give the handler of a task that has ended the time that a canceled one has, and that a call takes."""
        saying = Unclosed(say_farewell(waiting, key, self.past, self.threads))
        work = asyncio.create_task(saying, name=f"a2a-grpc:leave:{key.id}")
        try:
            await asyncio.wait([work], timeout=self._settings.cancel_grace_s + FAREWELL_S)
        finally:
            work.cancel()

    async def let_go(self, run: Run) -> None:
        """Stop a handler that waits for an answer, and release its task. The answer runs the handler again.

        A handler whose answer has come meanwhile goes on.
        """
        key = run.writer.key
        async with self.locks.holding(key):
            self.held.leave(run)
            active = self._active.get(key)
            if active is None or active.run is not run or not run.is_waiting or active.inbox or active.stopping:
                return
            logger.info("handler that waits for an answer was stopped to free memory task=%s", key.id)
            self._lose(key, active)
            # If a message has come at another replica meanwhile, the claim stays: `Recovery` goes on with the task.
            await self._log.store.release(key, run.writer.epoch)

    def lose_all(self) -> list[TaskKey]:
        """Stop every run without ending its task, because other replicas take the tasks. Return the tasks."""
        lost = list(self._active.items())
        for key, active in lost:
            self._lose(key, active)
        return [key for key, _ in lost]

    async def drain(self, grace_s: float) -> bool:
        """Let runs and replies finish within the grace. Return False if the store does not store the ends.

        What is left is released if another replica can go on with it, and ended in FAILED with the reason otherwise.
        Then all background work ends. A run that waits for its user is not waited for.
        """
        self.is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle()
        for key, active in list(self._active.items()):
            if self.keeps_messages or (self._log.store.durable and active.run.is_waiting):
                self._lose(key, active)
            else:
                self.stop(key, active, Failed(SHUTDOWN_FAILURE))
        is_stored = await self._see_ends_stored()
        leftover = list(self._tasks)
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover, timeout=1.0 if is_stored else 0.1)  # a store that is away keeps them longer
        return is_stored

    async def _see_ends_stored(self) -> bool:
        """Wait for the runs that were stopped, also by callers. Return False if the store stores none of their ends.

        Then the other replicas, or the next start, end the tasks.
        """
        handlers = [active.run.handler_ended() for active in self._active.values() if active.stopping is not None]
        if handlers:
            await asyncio.wait(handlers, timeout=self._settings.cancel_grace_s)
        while self._stops:
            ended, _ = await asyncio.wait(self._stops, timeout=STORED_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if not ended:
                logger.warning("the store does not answer: the ends of %d tasks are not stored", len(self._stops))
                return False
        return True

    async def _idle(self) -> None:
        """Wait until nothing is at work, and every end is written."""
        await self.slots.idle()
        while ending := [one.work for one in self._active.values() if one.run.is_ending and not one.work.done()]:
            await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            await self.slots.idle()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """Start a background task with a name. It is held here, and its failure is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("background task failed name=%s", task.get_name(), exc_info=error)

    def _run(self, first: QueuedTurn, task: bytes | Task, writer: Writer, inbox: deque[QueuedTurn]) -> Run:
        return Run(
            first,
            task,
            writer=writer,
            replica=self._replica,
            slots=self.slots,
            held=self.held,
            threads=self.threads,
            watch=self.watch,
            inbox=inbox,
            past=self.past,
            is_resumable=self.keeps_messages,
            observer=self.observer,
        )

    async def _work(self, key: TaskKey, active: Active) -> None:
        """Run the turns of a task, one after the other, until none is left or the task has ended."""
        work = active.work
        self._tasks.add(work)
        try:
            while True:
                await active.run.execute(work)
                writer = active.run.writer
                if writer.state in lifecycle.TERMINAL:
                    return  # a message that is handed over after that gets no turn
                async with self.locks.holding(key):  # no caller is in the middle of handing a message over
                    if active.run.is_lost or active.stopping is not None:
                        return
                    if writer.last_turn > active.last_turn:
                        await self.hand_over(key, active)
                    if not active.inbox:
                        self._forget(key, active)
                        return
                    active.run = self._run(active.inbox.popleft(), b"", writer, active.inbox)
        except StoreUnavailable:
            logger.warning("messages that wait for a task could not be read task=%s", key.id)
        except Exception:
            logger.exception("background task failed name=%s", work.get_name())
        finally:
            self._tasks.discard(work)
            if active.stopping is None:  # otherwise it is seen to that the task ends
                self._forget(key, active)

    def _forget(self, key: TaskKey, active: Active) -> None:
        if self._active.get(key) is active:
            del self._active[key]

    def _lose(self, key: TaskKey, active: Active) -> None:
        self._forget(key, active)
        active.run.lose()
        self.spawn(self._see_gone(active), f"a2a-grpc:lost:{key.id}")

    async def _see_gone(self, active: Active) -> None:
        await asyncio.wait([active.work], timeout=self._settings.cancel_grace_s)
        if not active.work.done():
            active.run.abandon()

    async def _see_stopped(self, key: TaskKey, active: Active, outcome: Outcome) -> None:
        grace_s = self._settings.cancel_grace_s
        await asyncio.wait([active.work], timeout=grace_s)
        if active.work.done():
            pass
        elif active.run.is_ending:
            logger.warning(
                "the end of a stopped task is not stored yet, because the store did not answer for %g s task=%s",
                grace_s,
                key.id,
            )
        else:
            logger.warning("handler did not stop after its cancellation and can no longer write task=%s", key.id)
        try:
            if not _has_stored_end(active):
                await self._end_surely(key, outcome)
        finally:
            self._forget(key, active)
        if not active.work.done():
            active.run.abandon()

    async def _end_surely(self, key: TaskKey, outcome: Outcome) -> None:
        """End a task as soon as the store answers."""
        backoff = Backoff(0.2, 5.0)
        while True:
            with suppress(StoreUnavailable):
                await self.finish(key, outcome, force=isinstance(outcome, Canceled))
                return
            if self.is_draining:
                return  # this replica's lease ends, and others end the task
            await asyncio.sleep(backoff.next_s())


def _has_stored_end(active: Active) -> bool:
    """Return True if the run is known to have stored the end of its task.

    A writer is ahead of the store, so its state says nothing while the run is at work.
    """
    run = active.run
    return active.work.done() and not run.is_lost and run.writer.state in lifecycle.TERMINAL
