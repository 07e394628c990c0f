"""One execution of agent code for one turn of a task."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from types import FrameType
from typing import Any, ParamSpec, cast

from a2a_grpc import lifecycle
from a2a_grpc.agent import Completed, Failed, Outcome, Output, Threads, Turn, TurnBackend
from a2a_grpc.agent.output import artifact, artifacts, is_artifacts
from a2a_grpc.backoff import Backoff
from a2a_grpc.engine.blame import blamed, frame_of, line_of
from a2a_grpc.engine.events import OverLimit
from a2a_grpc.engine.held import Held
from a2a_grpc.engine.observer import Observer
from a2a_grpc.engine.past import Past
from a2a_grpc.engine.priority import priority_of
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.replay import Replay
from a2a_grpc.engine.replica import Replica
from a2a_grpc.engine.slots import Place, Slots
from a2a_grpc.engine.states import CLOSED, NEXT, Event, State, after
from a2a_grpc.engine.watch import Watch
from a2a_grpc.engine.writer import Writer
from a2a_grpc.errors import detached, is_closing
from a2a_grpc.loglines import About, about
from a2a_grpc.offload import LARGE_BYTES, offload
from a2a_grpc.parts import Contents, Json, agent_message
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import StaleAppend, StoreUnavailable, TaskView
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, Task, TaskState

Given = ParamSpec("Given")
logger = logging.getLogger("a2a_grpc.engine")

GENERIC_FAILURE = "The agent failed with an internal error."
SHUTDOWN_FAILURE = "The server shut down before the task was done."
STORE_FAILURE = "The server could not store what the agent did."

UNFIT = (TypeError, ValueError, OverLimit)
"""The errors of output that cannot be converted, or is too large."""

BREATHE_EVERY = 4
"""Pieces of a generator after which other work of the event loop runs.

So pieces are sent while the next ones are made. An agent that never waits does not block others, and can be canceled.
"""


class Canceled(Outcome):
    """The outcome of a turn that was stopped."""

    state = lifecycle.CANCELED


class Run(TurnBackend):
    """Runs one turn of a task. It waits for a place, runs the handler, writes its output, and ends the turn.

    The module `states` says what may happen to a run in each of its states, and `_move` is the one place where the
    state changes.

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
        *,
        writer: Writer,
        replica: Replica,
        slots: Slots,
        held: "Held[Run]",
        threads: Threads,
        watch: Watch,
        inbox: "deque[QueuedTurn]",
        past: Past,
        is_resumable: bool,
        observer: Observer,
    ) -> None:
        """Take a turn, its task, and what the run works with.

        `task` is empty if the log does not have the message yet. Then the first record of the run has it.
        `is_resumable` is True if a run that is lost is begun again.
        """
        self.writer = writer
        self._queued = queued
        self._task = task
        self._replica = replica
        self._slots = slots
        self._held = held
        self._threads = threads
        self._watch = watch
        self._inbox = inbox
        self._past = past
        self._is_resumable = is_resumable
        self._has_waited = False
        self._stop_outcome: Outcome | None = None
        self._cancel_metadata: dict[str, Json] = {}
        self._worker: asyncio.Task[Any] | None = None
        self._state = State.WAITING
        self._handler_ended: asyncio.Future[None] | None = None
        self._was_asking = False
        self._answer: asyncio.Future[SendMessageRequest] | None = None
        self._unnamed = 0
        self._calls = 0
        self._replay = queued.replay if queued.replay and not queued.replay.is_over else None
        """None once the run is not a repetition any more."""
        self._changed: Failed | None = None
        """Why the run cannot go on: it does not repeat what an earlier run did."""
        self._place = self._enter()
        self._observed = queued.observed or observer.begins(
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

    # -- what the engine asks of a run

    async def execute(self, worker: "asyncio.Task[Any]") -> None:
        """Run the turn to its end, in the calling background task."""
        self._worker = worker
        about.set(About(self.writer.key.id, self._queued.principal))
        made = 0
        try:
            with self._watch.over(f"task={self.writer.key.id} skill={self._queued.skill.id}"):
                outcome = self._repeated(await self._play())
            made = self.writer.seq
        except Outcome as raised:
            if isinstance(raised, OverLimit):
                self._log_over_limit(raised)
            outcome, made = self._repeated(detached(raised)), self.writer.seq
        except StaleAppend:
            logger.warning("run was stopped because another replica has its task task=%s", self.writer.key.id)
            self._move(Event.LOSE)
            return
        except StoreUnavailable:
            logger.warning("events of a run could not be stored, so its task fails task=%s", self.writer.key.id)
            outcome = Failed(STORE_FAILURE)
        except BaseException as raised:  # agent code may raise anything: a panic of an extension, SystemExit
            if is_closing(raised, worker):
                raise
            if self._stop_outcome is None and not self.is_lost:
                task_id, skill_id, line = self.writer.key.id, self._queued.skill.id, line_of(raised)
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
            await self._end(self._stop_outcome)
        else:
            await self._end(outcome, made)

    def stop(self, outcome: Outcome, metadata: dict[str, Json] | None = None) -> None:
        """Stop the run, to end it in `outcome`. Only the first call counts, and none if the run is ending already."""
        if Event.STOPPED not in NEXT[self._state] or self._stop_outcome is not None:
            return
        self._move(Event.STOPPED)
        self._stop_outcome = outcome
        self._cancel_metadata = metadata or {}
        if self._worker is not None:  # otherwise it has not begun, and looks at the outcome first
            self._worker.cancel()

    def lose(self) -> None:
        """Stop the run without ending its task, because another replica has the task or takes it."""
        self._was_asking = self.is_waiting
        self._move(Event.LOSE)
        if self._worker is not None:
            self._worker.cancel()

    def abandon(self) -> None:
        """Give up on a handler that does not stop. Its place goes to the next run."""
        self._place.release()
        if self._worker is not None:
            self._worker.cancel()

    @property
    def is_lost(self) -> bool:
        """True once the run has lost its task."""
        return self._state is State.LOST

    @property
    def is_ending(self) -> bool:
        """True once the handler has ended. The end of the turn may not be written yet."""
        return self._state in CLOSED

    def handler_ended(self) -> "asyncio.Future[None]":
        """Return a future that is done once the handler has ended. The end of the turn may not be written yet."""
        if self._handler_ended is None:
            self._handler_ended = asyncio.get_running_loop().create_future()
            if self.is_ending:
                self._handler_ended.set_result(None)
        return self._handler_ended

    @property
    def is_waiting(self) -> bool:
        """True while the handler waits in `ask` for a message."""
        # The question of a handler that was canceled takes no answer, also before the handler has come to know of it.
        return self._state is State.ASKING and self._answer is not None and not self._answer.done()

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
                self._held.enter(self)
            raise
        if self._is_answering(answer) and not answer.done():
            self._observed.answered(queued.trace)
            self._move(Event.ANSWERED)
            self._held.leave(self)
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
        return self.is_lost and (self._was_asking or self._is_resumable)

    @property
    def recorded_questions(self) -> Sequence[Message]:
        return () if self._replay is None else self._replay.questions

    async def status(self, message: Message | None) -> None:
        await asyncio.sleep(0)
        if self._replay is not None:
            self._check_going_on()
            return
        await self._write(self.writer.status, lifecycle.WORKING, message)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        await asyncio.sleep(0)
        if self._is_written:
            self._check_going_on()
            return
        await self._write(self.writer.artifact, artifact, append=append, last_chunk=last_chunk)

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        key, view = self.writer.key, TaskView(artifacts, history_length)
        return await self._past.of_context(key.scope, self.writer.context_id, limit, view, without=key.id)

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        return await self._past.named(self.writer.key.scope, ids, TaskView(artifacts, history_length))

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        self._check_asks_nothing()
        await asyncio.sleep(0)
        if self._replay is not None:
            return self._answer_again(self._replay, question)
        keep = None if self._queued.is_kept else self._queued.pending()
        await self._write(self.writer.status, state, question, keep=keep)
        self._queued = self._queued._replace(is_kept=True)
        self._check_going_on()
        self._check_asks_nothing()
        self._move(Event.ASKED)
        answer: asyncio.Future[SendMessageRequest] = asyncio.get_running_loop().create_future()
        self._answer = answer
        try:
            request = await self._wait_for_answer(answer)
        except BaseException as error:
            if Event.WITHDRAWN in NEXT[self._state]:
                self._move(Event.WITHDRAWN)
            if isinstance(error, asyncio.CancelledError):
                self._take_place_back()
            raise
        finally:
            self._answer = None
            self._held.leave(self)
        await self._go_on()
        return question, request

    async def _wait_for_answer(self, answer: "asyncio.Future[SendMessageRequest]") -> SendMessageRequest:
        """Return the answer to the question that is stored. An answer that waits already is taken at once."""
        if self._inbox:
            with suppress(StoreUnavailable):  # it is handed over again, as one that is unanswered
                await self.answer()
                self._check_going_on()
                return answer.result()
        self._place.release()
        self._held.enter(self)
        return await answer

    async def _go_on(self) -> None:
        """Let the handler go on after an answer, once the run has a place again."""
        self._check_going_on()
        if not self._place.is_held:
            self._place = self._enter()
            try:
                await self._wait_for_place()
            except asyncio.CancelledError:
                if not self.is_ending:
                    self._move(Event.WITHDRAWN)
                raise
        self._move(Event.PLACED)

    def _check_asks_nothing(self) -> None:
        """Raise RuntimeError while a question of the turn waits."""
        if not self.is_ending and Event.ASKED not in NEXT[self._state]:
            raise RuntimeError("this turn is asking already; one question at a time")

    def _answer_again(self, replay: Replay, question: Message) -> tuple[Message, SendMessageRequest]:
        self._check_going_on()
        try:
            asked = replay.answer(question)
        except Failed as changed:
            logger.warning(
                "handler asked another question than it asked before, so its task fails task=%s", self.writer.key.id
            )
            self._changed = detached(changed)
            raise
        if replay.is_over:
            self._replay = None
        return asked

    async def _write(self, write: Callable[Given, Awaitable[None]], *given: Given.args, **named: Given.kwargs) -> None:
        """Write what the handler makes. In a turn that is over, or was taken over, raise CancelledError instead."""
        self._check_going_on()
        try:
            await write(*given, **named)
        except StaleAppend:
            logger.warning("run was stopped because another replica has its task task=%s", self.writer.key.id)
            self._move(Event.LOSE)
            raise asyncio.CancelledError from None

    def _check_going_on(self) -> None:
        """Raise CancelledError once the turn is over, or another replica has it. Raise Failed if it cannot go on."""
        if self._state in CLOSED:
            raise asyncio.CancelledError
        if self._changed is not None:
            raise self._changed

    @property
    def _is_written(self) -> bool:
        """True while the log has each artifact that the handler makes."""
        return self._replay is not None and self._replay.is_all_written

    def _repeated(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a turn whose handler gave `outcome`; FAILED if it left out recorded questions."""
        if self._replay is None or isinstance(outcome, Failed) or self._stop_outcome is not None:
            return self._changed or outcome
        logger.warning(
            "handler ended without asking a question that it asked before, so its task fails task=%s",
            self.writer.key.id,
        )
        return self._changed or self._replay.missing()

    # -- how a turn goes

    async def _play(self) -> Outcome:
        """Run the handler. Return its outcome, or raise it. Its last output may not be stored yet."""
        if self._stop_outcome is not None or self.is_lost:
            return self._stop_outcome or Failed(SHUTDOWN_FAILURE)
        if not self._place.is_held:
            await self._wait_for_place()
        self._move(Event.PLACED)
        skill, task = self._queued.skill, await self._task_of_turn()
        turn = Turn(
            skill=skill.id,
            request=self._queued.request,
            task=task,
            context_id=self.writer.context_id,
            principal=self._queued.principal,
            backend=self,
            threads=self._threads,
            attempt=self._queued.attempt,
        )
        result = skill.handler(turn)
        frame = frame_of(result)
        if skill.is_generator:
            return await self._stream(cast("AsyncGenerator[Output]", result), frame)
        output = await cast("Awaitable[Output]", result)
        if isinstance(output, Outcome):
            return output
        try:
            await self._whole(output, name=skill.id)
        except UNFIT as unfit:
            raise blamed(unfit, frame) from None
        return Completed()

    async def _whole(self, output: Output, *, name: str = "") -> None:
        """Write artifacts that are complete."""
        if isinstance(output, str):  # what most return
            await self.writer.ready()
            self._text(self.new_artifact_id(), output, name=name, last_chunk=True)
            return
        for made in artifacts(output, name=name):
            made.artifact_id = made.artifact_id or self.new_artifact_id()
            await self._put(made, append=False, last_chunk=True)

    def new_artifact_id(self) -> str:
        """Return an id for an artifact without one. It is the same in every attempt, so that attempts replace it."""
        self._unnamed += 1
        return f"{self.writer.key.id}-{self._queued.turn}-{self._unnamed}"

    def new_call_id(self) -> str:
        """Return an id for a call to another agent, the same in every attempt."""
        self._calls += 1
        return f"{self.writer.key.id}-{self._queued.turn}-call-{self._calls}"

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
        if not self._replica.is_alive:  # this process was held up, and the task may be another replica's by now
            await writer.look()
        if writer.state != lifecycle.WORKING:
            # A run that had to wait for a place makes sure that it still has its claim before the handler begins.
            await writer.status(lifecycle.WORKING, behind=not self._has_waited)
        return task

    async def _stream(self, pieces: "AsyncGenerator[Output]", frame: FrameType | None) -> Outcome:
        """Write each piece as a chunk of one artifact as soon as it is yielded, and artifacts as they are."""
        artifact_id, yielded = "", 0
        outcome: Outcome = Completed()
        async with aclosing(pieces):
            try:
                async for piece in pieces:
                    yielded += 1
                    if yielded % BREATHE_EVERY == 0:
                        await asyncio.sleep(0)
                    if isinstance(piece, Outcome):
                        outcome = piece
                        break
                    try:
                        if artifact_id and isinstance(piece, str):  # what most yield
                            await self.writer.ready()
                            self._text(artifact_id, piece, append=True)
                        else:
                            artifact_id = await self._piece(piece, artifact_id)
                    except UNFIT as unfit:
                        raise blamed(unfit, frame) from None
            except Completed as raised:
                outcome = detached(raised)
        if artifact_id and isinstance(outcome, Completed):
            # Only now it is known which piece was the last. An empty text says so, and adds no part (`is_seal`).
            await self._put(artifact("", artifact_id=artifact_id), append=True, last_chunk=True)
        return outcome

    async def _piece(self, piece: Output, artifact_id: str) -> str:
        """Write one piece. Return the id of the artifact that the next chunk extends."""
        if not isinstance(piece, str) and is_artifacts(piece):
            await self._whole(piece)
            return artifact_id
        append, name = bool(artifact_id), "" if artifact_id else self._queued.skill.id
        artifact_id = artifact_id or self.new_artifact_id()
        if isinstance(piece, str):
            await self.writer.ready()
            self._text(artifact_id, piece, name=name, append=append)
        else:
            made = artifact(cast("Contents", piece), artifact_id=artifact_id, name=name)
            await self._put(made, append=append, last_chunk=False)
        return artifact_id

    def _text(
        self, artifact_id: str, text: str, *, name: str = "", append: bool = False, last_chunk: bool = False
    ) -> None:
        """Write a text that the handler gave away, once the writer is ready."""
        self._check_going_on()
        if not self._is_written:
            self.writer.text(artifact_id, text, name=name, append=append, last_chunk=last_chunk)

    async def _put(self, made: Artifact, *, append: bool, last_chunk: bool) -> None:
        """Write an artifact without waiting until it is stored."""
        self._check_going_on()
        if self._is_written:
            return
        await self.writer.artifact(made, append=append, last_chunk=last_chunk, behind=True)

    async def _end(self, outcome: Outcome, made: int = 0) -> None:
        """Write the end of the turn. An end that cannot be written becomes FAILED, with the reason.

        The same happens if not all that the handler made is stored, up to the seq `made`.
        """
        task_id = self.writer.key.id
        try:
            try:
                await self._write_end(outcome, made)
            except OverLimit as over_limit:
                self._log_over_limit(over_limit)
                await self._write_end(over_limit)
            except StoreUnavailable:
                logger.warning("the last events of a run could not be stored, so its task fails task=%s", task_id)
                await self._write_end(Failed(STORE_FAILURE))
            except StaleAppend:
                raise
            except Exception:  # the outcome has no valid content, or the store refuses something that was made
                logger.exception("the end that a handler gave could not be stored, so its task fails task=%s", task_id)
                await self._write_end(Failed(GENERIC_FAILURE))
        except StaleAppend:
            logger.warning(
                "run was stopped before it could store its end, because another replica has its task task=%s", task_id
            )
            self._move(Event.LOSE)
            return
        self._move(Event.STORED)
        if logger.isEnabledFor(logging.INFO):
            logger.info("turn ended task=%s state=%s", task_id, lifecycle.state_name(self.writer.state))

    async def _write_end(self, outcome: Outcome, made: int = 0) -> None:
        """Write the end of the turn. Raise StoreUnavailable if an earlier record is missing."""
        writer, message = self.writer, None
        if outcome.content is not None:
            message = agent_message(outcome.content, context_id=writer.context_id, task_id=writer.key.id)
        backoff: Backoff | None = None
        while True:
            try:
                await writer.status(outcome.state, message, done=writer.turn, release=True)
                return
            except (
                StoreUnavailable
            ):  # try until the store answers; a replica that loses its lease meanwhile stops the run
                backoff = backoff or Backoff(0.2, 5.0)
                await self._find_out(backoff)
            if writer.seq < made:
                raise StoreUnavailable
            if writer.state == outcome.state:
                return  # it was written, and only the answer was lost

    def _log_over_limit(self, over_limit: OverLimit) -> None:
        logger.warning(
            "handler output is over a limit task=%s skill=%s %s: %s",
            self.writer.key.id,
            self._queued.skill.id,
            line_of(over_limit),
            over_limit.content,
        )

    async def _find_out(self, backoff: Backoff) -> None:
        """Wait until it is known what is stored."""
        while True:
            await asyncio.sleep(backoff.next_s())
            with suppress(StoreUnavailable):
                await self.writer.settle()
                return

    def _take_place_back(self) -> None:
        """Take a place for a handler that withdrew its question, if one is free. A canceled await cannot wait."""
        if self.is_ending or self._stop_outcome is not None or self._place.is_held:
            return
        self._place = self._enter()
        if not self._place.is_held:
            self._place.release()

    def _enter(self) -> Place:
        """Return a place for the run, or the wait for one, by the owner of the task and the priority of the message."""
        scope = self.writer.key.scope
        return self._slots.try_acquire(scope) or self._slots.line_up(scope, priority_of(self._queued.request))

    async def _wait_for_place(self) -> None:
        self._has_waited = True
        await self._place.wait()
