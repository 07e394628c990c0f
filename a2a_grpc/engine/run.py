"""One execution of agent code for one turn of a task."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.agent import Completed, Failed, Outcome
from a2a_grpc.engine.blame import line_of
from a2a_grpc.engine.events import OverLimit
from a2a_grpc.engine.player import play
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.run_output import RunOutput
from a2a_grpc.engine.states import Event
from a2a_grpc.engine.task_turn import TaskTurn
from a2a_grpc.engine.turn_end import GENERIC_FAILURE, STORE_FAILURE, log_over_limit, write_end
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import detached, is_closing
from a2a_grpc.loglines import About, about
from a2a_grpc.offload import LARGE_BYTES, offload
from a2a_grpc.parts import Json
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import StaleAppend, StoreUnavailable, TaskKey
from a2a_grpc.wire import Task

logger = logging.getLogger("a2a_grpc.engine")

SHUTDOWN_FAILURE = "The server shut down before the task was done."


class Run(TaskTurn):
    """Runs one turn of a task. It waits for a place, runs the handler, writes its output, and ends the turn.

    Guarantees:

    - The turn always ends. It ends in the state that the handler chose, in CANCELED once `stop` was called, or in
      FAILED after an exception. The text of an exception stays in the log of the server.
    - `stop` raises CancelledError in the handler at its next await.
    - What cannot be stored for a while is known to the handler, then ends the turn in FAILED once it can be stored.
    - A run that repeats an earlier one, and asks something else or too little, ends in FAILED.
    """

    def __init__(
        self, queued: QueuedTurn, task: bytes | Task, writer: Writer, resources: Resources, inbox: "deque[QueuedTurn]"
    ) -> None:
        """Take a turn, its task, and the messages that wait after it.

        `task` is empty if the log does not have the message yet. Then the first record of the run has it.
        """
        super().__init__(queued, writer, resources, inbox)
        self._task = task
        self._worker: asyncio.Task[Any] | None = None
        self._handler_ended: asyncio.Future[None] | None = None

    async def execute(self, worker: "asyncio.Task[Any]") -> None:
        """Run the turn to its end, in the calling background task."""
        self._worker = worker
        about.set(About(self.writer.key.id, self._queued.principal))
        made = 0
        try:
            with self._resources.watch.over(self._queued.skill.id, self.key.id):
                outcome = self._repeated(await self._play())
            made = self.writer.seq
        except Outcome as raised:
            if isinstance(raised, OverLimit):
                log_over_limit(raised, self.key, self._queued.skill)
            outcome, made = self._repeated(detached(raised)), self.writer.seq
        except StaleAppend:
            self._lose_claim()
            return
        except StoreUnavailable:
            logger.warning("events of a run could not be stored, so its task fails task=%s", self.key.id)
            outcome = Failed(STORE_FAILURE)
        except BaseException as raised:  # agent code may raise anything: a panic of an extension, SystemExit
            if is_closing(raised, worker):
                raise
            if self._stop_outcome is None and not self.is_lost:
                task_id, skill_id, line = self.key.id, self._queued.skill.id, line_of(raised)
                logger.exception("handler failed task=%s skill=%s at=%s", task_id, skill_id, line)
                self._observed.raised(raised)
            outcome = self._repeated(Failed(GENERIC_FAILURE))
        finally:
            self._move(Event.ENDED)
            if self._handler_ended is not None and not self._handler_ended.done():
                self._handler_ended.set_result(None)
            self._place.release()
        if self.is_lost:
            return
        if self._stop_outcome is not None:
            outcome, made = self._stop_outcome, 0
        # The log has the message of a question that was withdrawn meanwhile, and the message has had no handler yet.
        is_left = bool(self.inbox) and self.inbox[0].turn <= self.writer.turn
        is_stored = await write_end(self.writer, self._queued.skill, outcome, made, is_left=is_left)
        self._move(Event.STORED if is_stored else Event.LOSE)

    def stop(self, outcome: Outcome, metadata: dict[str, Json] | None = None) -> None:
        """Stop the run, to end it in `outcome`. Only the first call counts, and none once the handler has ended."""
        if not self._may(Event.STOPPED) or self._stop_outcome is not None:
            return
        self._move(Event.STOPPED)
        self._stop_outcome = outcome
        self.cancel_metadata = metadata or {}
        if self._worker is not None:  # otherwise it has not begun, and looks at the outcome first
            self._worker.cancel()

    def lose(self) -> None:
        """Stop the run without ending its task, because another replica has the task or takes it."""
        self._was_asking = self.is_asking
        self._move(Event.LOSE)
        if self._worker is not None:
            self._worker.cancel()

    def abandon(self) -> None:
        """Give up on a handler that does not stop. Its place goes to the next run."""
        self._place.release()
        if self._worker is not None:
            self._worker.cancel()

    def handler_ended(self) -> "asyncio.Future[None]":
        """Return a future that is done once the handler has ended. The end of the turn may not be written yet."""
        if self._handler_ended is None:
            self._handler_ended = asyncio.get_running_loop().create_future()
            if self.is_closed:
                self._handler_ended.set_result(None)
        return self._handler_ended

    def _repeated(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a turn whose handler gave `outcome`; FAILED if the handler did not ask what it asked
        before."""
        replay = self._replay
        if self._stop_outcome is not None or self.is_lost:
            return outcome  # the turn ends otherwise
        if replay.changed is not None:
            logger.warning(
                "handler asked another question than it asked before, so its task fails task=%s", self.key.id
            )
            return replay.changed
        if replay.is_over or isinstance(outcome, Failed):
            return outcome
        logger.warning(
            "handler ended without asking a question that it asked before, so its task fails task=%s", self.key.id
        )
        return replay.missing()

    # -- how a turn begins

    async def _play(self) -> Outcome:
        """Run the handler. Return its outcome, or raise it. Its last output may not be stored yet."""
        if self._stop_outcome is not None or self.is_lost:
            return self._stop_outcome or Failed(SHUTDOWN_FAILURE)
        if not self._place.is_held:
            await self._place.wait()
        self._move(Event.PLACED)
        turn = self._queued.as_turn(await self._open(), self.writer.context_id, self, self._resources.threads)
        return await play(self._queued.skill, turn, RunOutput(self, self._queued.skill.id)) or Completed()

    async def _open(self) -> bytes | Task:
        """Move the task to WORKING unless it is. Return the task as the turn finds it."""
        writer, task = self.writer, self._task
        self._task = b""
        if task and not self._resources.replica.is_alive:  # it was held up; another replica may have the task now
            await writer.look()
        if not task:
            task = await self._queued.begin(writer)
        elif writer.state != lifecycle.WORKING:
            # A run that had to wait for a place makes sure that it still has its claim before the handler begins.
            await writer.status(lifecycle.WORKING, behind=not self._place.has_waited)
        if isinstance(task, bytes) and len(task) >= LARGE_BYTES:  # `Turn.task` cannot wait
            return await offload(len(task), parsed, Task(), task)
        return task


@dataclass(slots=True)
class Active:
    """A task that is at work."""

    key: TaskKey
    run: Run
    last_turn: int
    """The turn of the newest message that was handed over."""
    work: "asyncio.Task[None]" = field(init=False)
    stopping: "asyncio.Task[None] | None" = None

    @property
    def has_stored_end(self) -> bool:
        """True if the run is known to have stored the end of its task.

        A writer is ahead of the store, so its state says nothing while the run is at work.
        """
        return self.work.done() and not self.run.is_lost and self.run.writer.state in lifecycle.TERMINAL
