"""One execution of agent code for one turn of a task."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, ParamSpec

from a2a_grpc import lifecycle
from a2a_grpc.agent import Completed, Failed, Outcome, Turn, TurnBackend
from a2a_grpc.engine.blame import line_of
from a2a_grpc.engine.events import OverLimit
from a2a_grpc.engine.player import play
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.replay import Replay
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.run_output import RunOutput
from a2a_grpc.engine.slots import Place
from a2a_grpc.engine.states import CLOSED, NEXT, Event, State, after
from a2a_grpc.engine.turn_end import GENERIC_FAILURE, STORE_FAILURE, log_over_limit, write_end
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import detached, is_closing
from a2a_grpc.loglines import About, about
from a2a_grpc.offload import LARGE_BYTES, offload
from a2a_grpc.parts import Json
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import StaleAppend, StoreUnavailable, TaskKey, TaskView
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task, TaskState

Given = ParamSpec("Given")
logger = logging.getLogger("a2a_grpc.engine")

SHUTDOWN_FAILURE = "The server shut down before the task was done."


class Run(TurnBackend):
    """Runs one turn of a task. It waits for a place, runs the handler, writes its output, and ends the turn.

    The module `states` says what may happen to a run in each of its states. The state changes only in `_move`.

    Guarantees:

    - The turn always ends. It ends in the state that the handler chose, in CANCELED once `stop` was called, or in
      FAILED after an exception. The text of an exception stays in the log of the server.
    - `stop` raises CancelledError in the handler at its next await.
    - A run that lost its claim writes nothing more; its handler gets CancelledError at every attempt.
    - What cannot be stored for a while is known to the handler, then ends the turn in FAILED once it can be stored.
    - A run that repeats an earlier one gets the recorded answers. Until then it writes no status, and no artifact that
      the log has. If it asks something else, the turn ends in FAILED, also if the handler
      goes on.
    """

    def __init__(
        self,
        queued: QueuedTurn,
        task: bytes | Task,
        writer: Writer,
        resources: Resources,
        inbox: "deque[QueuedTurn]",
    ) -> None:
        """Take a turn, its task, and the messages that wait after it.

        `task` is empty if the log does not have the message yet. Then the first record of the run has it.
        """
        self.writer = writer
        self._queued = queued
        self._task = task
        self._resources = resources
        self._inbox = inbox
        self._state = State.WAITING
        self._worker: asyncio.Task[Any] | None = None
        self._stop_outcome: Outcome | None = None
        self._cancel_metadata: dict[str, Json] = {}
        self._handler_ended: asyncio.Future[None] | None = None
        self._answer: asyncio.Future[SendMessageRequest] | None = None
        """The answer to the question that waits."""
        self._has_waited = self._was_asking = False
        self._artifacts = self._calls = 0
        self._replay = queued.replay if queued.replay and not queued.replay.is_over else None
        """None once the run is not a repetition any more."""
        self._changed: Failed | None = None
        """Why the run cannot go on: it does not repeat what an earlier run did."""
        self._place = self._enter()
        self._observed = queued.observed or resources.observer.begins(
            *(writer.key.id, writer.context_id, queued.skill.id),
            attempt=queued.attempt,
            trace=queued.trace,
            former=queued.former,
        )
        self._observed.moved(self._state.name, writer.state)

    def _move(self, event: Event) -> None:
        """Go to the state that follows an event. Raise IllegalEvent if the event cannot happen now."""
        self._state = after(self._state, event)
        self._observed.moved(self._state.name, self.writer.state)

    def _may(self, event: Event) -> bool:
        """Return True if an event can happen now."""
        return event in NEXT[self._state]

    # -- what the engine asks of a run

    @property
    def key(self) -> TaskKey:
        """The name of the task."""
        return self.writer.key

    @property
    def is_lost(self) -> bool:
        """True once the run has lost its task."""
        return self._state is State.LOST

    @property
    def is_closed(self) -> bool:
        """True once the handler has ended, or has lost its task. The end of the turn may not be written yet."""
        return self._state in CLOSED

    @property
    def is_asking(self) -> bool:
        """True while the handler waits in `ask` for a message."""
        # The question of a handler that was canceled takes no answer, also before the handler has come to know of it.
        return self._state is State.ASKING and self._answer is not None and not self._answer.done()

    async def execute(self, worker: "asyncio.Task[Any]") -> None:
        """Run the turn to its end, in the calling background task."""
        self._worker = worker
        about.set(About(self.writer.key.id, self._queued.principal))
        made = 0
        try:
            with self._resources.watch.over(f"task={self.key.id} skill={self._queued.skill.id}"):
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
                logger.exception("handler failed task=%s skill=%s %s", task_id, skill_id, line)
                self._observed.raised(raised)
            outcome = self._changed or Failed(GENERIC_FAILURE)
        finally:
            self._move(Event.ENDED)
            if self._handler_ended is not None and not self._handler_ended.done():
                self._handler_ended.set_result(None)
            self._place.release()
        if self.is_lost:
            return
        if self._stop_outcome is not None:
            outcome, made = self._stop_outcome, 0
        is_stored = await write_end(self.writer, self._queued.skill, outcome, made)
        self._move(Event.STORED if is_stored else Event.LOSE)

    def stop(self, outcome: Outcome, metadata: dict[str, Json] | None = None) -> None:
        """Stop the run, to end it in `outcome`. Only the first call counts, and none once the handler has ended."""
        if not self._may(Event.STOPPED) or self._stop_outcome is not None:
            return
        self._move(Event.STOPPED)
        self._stop_outcome = outcome
        self._cancel_metadata = metadata or {}
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

    async def answer(self) -> None:
        """Write the first message of the inbox, then give it to the waiting handler.

        A message that cannot be written stays in the inbox. The errors are those of `Writer.status`.
        """
        answer = self._answer
        assert answer is not None
        self._move(Event.TAKEN)
        queued = self._inbox.popleft()
        turn = queued.turn
        try:
            await self.writer.settle()
            if self.writer.turn < turn:  # otherwise the log has it already, by a write whose outcome was unknown
                done = 0 if self._queued.is_kept else turn
                await self.writer.status(lifecycle.WORKING, incoming=queued.request.message, turn=turn, done=done)
        except BaseException:
            self._inbox.appendleft(queued)
            if self._is_answering(answer):
                self._move(Event.REFUSED)
                self._resources.held.enter(self)
            raise
        if self._is_answering(answer) and not answer.done():
            self._observed.answered(queued.trace)
            self._move(Event.ANSWERED)
            self._resources.held.leave(self)
            answer.set_result(queued.request)

    def _is_answering(self, answer: "asyncio.Future[SendMessageRequest]") -> bool:
        """Return True unless the handler has withdrawn its question, or the run was closed, while it was answered."""
        return self._state is State.ANSWERING and self._answer is answer

    # -- what the agent does, through its Turn

    @property
    def canceled(self) -> bool:
        return self._stop_outcome is not None

    @property
    def cancel_metadata(self) -> dict[str, Json]:
        return self._cancel_metadata

    @property
    def trace_id(self) -> str:
        return self._observed.trace_id

    @property
    def is_replaying(self) -> bool:
        return self._replay is not None

    @property
    def is_let_go(self) -> bool:
        return self.is_lost and (self._was_asking or self._resources.keeps_messages)

    @property
    def recorded_questions(self) -> Sequence[Message]:
        return () if self._replay is None else self._replay.questions

    def new_artifact_id(self) -> str:
        """Return an id for an artifact without one. It is the same in every attempt, so that attempts replace it."""
        self._artifacts += 1
        return f"{self.key.id}-{self._queued.turn}-{self._artifacts}"

    def new_call_id(self) -> str:
        """Return an id for a call to another agent, the same in every attempt."""
        self._calls += 1
        return f"{self.key.id}-{self._queued.turn}-call-{self._calls}"

    async def status(self, message: Message | None) -> None:
        await asyncio.sleep(0)
        if self._replay is not None:
            self.check_going_on()
            return
        await self._write(self.writer.status, lifecycle.WORKING, message)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        await asyncio.sleep(0)
        if self.is_written:
            self.check_going_on()
            return
        await self._write(self.writer.artifact, artifact, append=append, last_chunk=last_chunk)

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        past, view = self._resources.past, TaskView(artifacts, history_length)
        return await past.of_context(self.key.scope, self.writer.context_id, limit, view, without=self.key.id)

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        return await self._resources.past.named(self.key.scope, ids, TaskView(artifacts, history_length))

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        self._check_asks_nothing()
        await asyncio.sleep(0)
        if self._replay is not None:
            return self._answer_again(self._replay, question)
        keep = None if self._queued.is_kept else self._queued.pending()
        await self._write(self.writer.status, state, question, keep=keep)
        self._queued = self._queued._replace(is_kept=True)
        self.check_going_on()
        self._check_asks_nothing()
        self._move(Event.ASKED)
        answer: asyncio.Future[SendMessageRequest] = asyncio.get_running_loop().create_future()
        self._answer = answer
        try:
            request = await self._wait_for_answer(answer)
        except BaseException as error:
            if self._may(Event.WITHDRAWN):
                self._move(Event.WITHDRAWN)
            if isinstance(error, asyncio.CancelledError):
                self._take_place_back()
            raise
        finally:
            self._answer = None
            self._resources.held.leave(self)
        await self._go_on()
        return question, request

    async def _wait_for_answer(self, answer: "asyncio.Future[SendMessageRequest]") -> SendMessageRequest:
        """Return the answer to the question that is stored. An answer that waits already is taken at once."""
        if self._inbox:
            with suppress(StoreUnavailable):  # it is handed over again, as one that is unanswered
                await self.answer()
                self.check_going_on()
                return answer.result()
        self._place.release()
        self._resources.held.enter(self)
        return await answer

    async def _go_on(self) -> None:
        """Let the handler go on after an answer, once the run has a place again."""
        self.check_going_on()
        if not self._place.is_held:
            self._place = self._enter()
            try:
                await self._wait_for_place()
            except asyncio.CancelledError:
                if self._may(Event.WITHDRAWN):
                    self._move(Event.WITHDRAWN)
                raise
        self._move(Event.PLACED)

    def _check_asks_nothing(self) -> None:
        """Raise RuntimeError while a question of the turn waits."""
        if not self.is_closed and not self._may(Event.ASKED):
            raise RuntimeError("this turn is asking already; one question at a time")

    def _answer_again(self, replay: Replay, question: Message) -> tuple[Message, SendMessageRequest]:
        """Return the recorded answer to a question."""
        self.check_going_on()
        try:
            asked = replay.answer(question)
        except Failed as changed:
            logger.warning(
                "handler asked another question than it asked before, so its task fails task=%s", self.key.id
            )
            self._changed = detached(changed)
            raise
        if replay.is_over:
            self._replay = None
        return asked

    async def _write(self, write: Callable[Given, Awaitable[None]], *given: Given.args, **named: Given.kwargs) -> None:
        """Write what the handler makes. In a turn that is over, or was taken over, raise CancelledError instead."""
        self.check_going_on()
        try:
            await write(*given, **named)
        except StaleAppend:
            self._lose_claim()
            raise asyncio.CancelledError from None

    def check_going_on(self) -> None:
        """Raise CancelledError once the turn is over, or another replica has it. Raise Failed if it cannot go on."""
        if self._state in CLOSED:
            raise asyncio.CancelledError
        if self._changed is not None:
            raise self._changed

    @property
    def is_written(self) -> bool:
        """True while the log has each artifact that the handler makes."""
        return self._replay is not None and self._replay.is_all_written

    def _repeated(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a turn whose handler gave `outcome`; FAILED if it left out recorded questions."""
        if self._replay is None or isinstance(outcome, Failed) or self._stop_outcome is not None:
            return self._changed or outcome
        logger.warning(
            "handler ended without asking a question that it asked before, so its task fails task=%s", self.key.id
        )
        return self._changed or self._replay.missing()

    def _lose_claim(self) -> None:
        logger.warning("run was stopped because another replica has its task task=%s", self.key.id)
        self._move(Event.LOSE)

    # -- how a turn begins

    async def _play(self) -> Outcome:
        """Run the handler. Return its outcome, or raise it. Its last output may not be stored yet."""
        if self._stop_outcome is not None or self.is_lost:
            return self._stop_outcome or Failed(SHUTDOWN_FAILURE)
        if not self._place.is_held:
            await self._wait_for_place()
        self._move(Event.PLACED)
        queued, writer = self._queued, self.writer
        turn = Turn(
            skill=queued.skill.id,
            request=queued.request,
            task=await self._task_of_turn(),
            context_id=writer.context_id,
            principal=queued.principal,
            backend=self,
            threads=self._resources.threads,
            attempt=queued.attempt,
        )
        return await play(queued.skill, turn, RunOutput(self, queued.skill.id)) or Completed()

    async def _task_of_turn(self) -> bytes | Task:
        """Return the task as the turn finds it. A large one is parsed in a thread, as `Turn.task` cannot wait."""
        task = await self._open()
        if isinstance(task, bytes) and len(task) >= LARGE_BYTES:
            return await offload(len(task), parsed, Task(), task)
        return task

    async def _open(self) -> bytes | Task:
        """Move the task to WORKING unless it is. Return the task as the turn finds it."""
        writer, task = self.writer, self._task
        self._task = b""
        if not task:
            queued = self._queued
            done = queued.turn - 1 if queued.is_kept else queued.turn
            await writer.status(lifecycle.WORKING, incoming=queued.request.message, turn=queued.turn, done=done)
            return await writer.task()
        if not self._resources.replica.is_alive:  # this process was held up; another replica may have the task now
            await writer.look()
        if writer.state != lifecycle.WORKING:
            # A run that had to wait for a place makes sure that it still has its claim before the handler begins.
            await writer.status(lifecycle.WORKING, behind=not self._has_waited)
        return task

    # -- places

    def _enter(self) -> Place:
        return self._resources.place(self.key.scope, self._queued.request)

    async def _wait_for_place(self) -> None:
        self._has_waited = True
        await self._place.wait()

    def _take_place_back(self) -> None:
        """Take a place for a handler that withdrew its question, if one is free. A canceled await cannot wait."""
        if self.is_closed or self._stop_outcome is not None or self._place.is_held:
            return
        self._place = self._enter()
        if not self._place.is_held:
            self._place.release()
