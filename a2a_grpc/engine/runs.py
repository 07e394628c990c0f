"""The runs that are at work: started, handed their next message, stopped, drained."""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed, Outcome, Threads
from a2a_grpc.engine.locks import KeyLocks
from a2a_grpc.engine.run import SHUTDOWN_FAILURE, Queued, Run
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.slots import Slots
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import ResourceExhaustedError, UnavailableError
from a2a_grpc.log import Log
from a2a_grpc.parts import Json, agent_message
from a2a_grpc.store import Head, StaleAppend, TaskKey
from a2a_grpc.wire import Task

logger = logging.getLogger("a2a_grpc.engine")


@dataclass(slots=True)
class Active:
    """A task that is at work, with the messages that wait for it."""

    run: Run
    last_turn: int
    inbox: deque[Queued]
    work: "asyncio.Task[None]" = field(init=False)
    stopping: "asyncio.Task[None] | None" = None


class Runs:
    """Owns every background task of the engine.

    Guarantees: one run at a time per task, as long as messages are handed over under `locks`; `stop` ends within the
    grace, whatever the agent does; `drain` leaves no background task behind.
    """

    def __init__(self, log: Log, settings: EngineSettings) -> None:
        self.slots = Slots(settings.max_runs, settings.max_queued_runs)
        self.threads = Threads(settings.max_threads)
        self._log = log
        self._settings = settings
        self.locks = KeyLocks()
        self.is_draining = False
        self._active: dict[TaskKey, Active] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stops: set[asyncio.Task[None]] = set()

    def get(self, key: TaskKey) -> Active | None:
        return self._active.get(key)

    def check_room(self) -> None:
        """Raises ResourceExhaustedError where neither a place nor room to wait for one is left, UnavailableError while
        draining."""
        self._check_open()
        if self.slots.is_full:
            raise ResourceExhaustedError(
                f"{self.slots.taken} runs are at work or waiting, which is the limit", retry_after_s=1.0
            )

    def _check_open(self) -> None:
        if self.is_draining:
            raise UnavailableError.shutting_down("try another")

    def start(self, queued: Queued, key: TaskKey, head: Head, task: Task) -> None:
        """Starts a run for a message that is in the log, under the claim that `head` tells."""
        artifacts = {artifact.artifact_id for artifact in task.artifacts}
        writer = Writer(self._log, self._settings, key, head, artifacts=artifacts)
        inbox: deque[Queued] = deque()
        active = Active(self._run(queued, task, writer, inbox), queued.turn, inbox)
        self._active[key] = active
        active.work = self.spawn(self._work(key, active), f"a2a-grpc:run:{key.id}")

    def enqueue(self, active: Active, queued: Queued) -> None:
        """Lets a message wait for the run that is at work."""
        active.last_turn = queued.turn
        active.inbox.append(queued)

    def check_inbox(self, key: TaskKey, active: Active) -> None:
        """Raises ResourceExhaustedError where as many messages wait as may, UnavailableError while draining."""
        self._check_open()
        if len(active.inbox) >= self._settings.max_queued_turns:
            raise ResourceExhaustedError(
                f"task '{key.id}' has {len(active.inbox)} messages waiting, which is the limit", retry_after_s=1.0
            )

    def stop(
        self, key: TaskKey, active: Active, outcome: Outcome, metadata: dict[str, Json] | None = None
    ) -> "asyncio.Task[None]":
        """Tells a run to stop, and sees to it that the task ends: one and the same background task for all who ask."""
        if active.stopping is None:
            active.stopping = self.spawn(self._see_stopped(key, active, outcome), f"a2a-grpc:stop:{key.id}")
            self._stops.add(active.stopping)
            active.stopping.add_done_callback(self._stops.discard)
            active.run.stop(outcome, metadata)
        return active.stopping

    async def finish(self, key: TaskKey, outcome: Outcome) -> None:
        """Ends a task that has no run, or takes it from a run that does not end. One that has ended stays as it is."""
        while (head := await self._log.head(key)).state not in lifecycle.TERMINAL:
            epoch = await self._log.store.claim(key)
            if epoch is None:
                return
            writer = Writer(self._log, self._settings, key, head._replace(epoch=epoch), artifacts=set())
            message = None
            if outcome.content is not None:
                message = agent_message(outcome.content, context_id=head.context_id, task_id=key.id)
            try:
                await writer.status(outcome.state, message)
            except StaleAppend:
                continue  # somebody was faster; look again

    async def drain(self, grace_s: float) -> None:
        """Lets runs and replies finish within the grace, ends the runs left over in FAILED with the reason, then all
        background work. A run that waits for its user is not waited for."""
        self.is_draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.slots.idle()
        for key, active in list(self._active.items()):
            self.stop(key, active, Failed(SHUTDOWN_FAILURE))
        while self._stops:  # those that a caller asked for included: it waits for an answer
            await asyncio.wait(self._stops)
        leftover = list(self._tasks)
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover, timeout=1.0)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """A background task that is held, named, and not allowed to die in silence."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("background task died name=%s", task.get_name(), exc_info=error)

    def _run(self, queued: Queued, task: Task | None, writer: Writer, inbox: deque[Queued]) -> Run:
        return Run(queued, task, writer=writer, slots=self.slots, threads=self.threads, inbox=inbox)

    async def _work(self, key: TaskKey, active: Active) -> None:
        """Plays a task's turns, one after the other, until none is left or the task has ended."""
        try:
            while True:
                await active.run.execute()
                async with self.locks.holding(key):  # nobody is half way through handing a message over
                    writer = active.run.writer
                    if writer.state in lifecycle.TERMINAL or active.stopping is not None or not active.inbox:
                        return self._forget(key, active)
                    active.run = self._run(active.inbox.popleft(), None, writer, active.inbox)
        finally:
            self._forget(key, active)

    def _forget(self, key: TaskKey, active: Active) -> None:
        if self._active.get(key) is active:
            del self._active[key]

    async def _see_stopped(self, key: TaskKey, active: Active, outcome: Outcome) -> None:
        await asyncio.wait([active.work], timeout=self._settings.cancel_grace_s)
        if not active.work.done():
            logger.warning("handler ignored its cancellation and is given up on task=%s", key.id)
            self._forget(key, active)
        await self.finish(key, outcome)
        if not active.work.done():
            active.run.abandon()
