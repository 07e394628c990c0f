"""What a handler can do to its task: write, ask, and read other tasks."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ParamSpec

from a2a_grpc import lifecycle
from a2a_grpc.agent import Outcome
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.repeatable import OF_TASK, Repeatable, RunNotes
from a2a_grpc.engine.replay import NO_REPLAY
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.states import CLOSED, NEXT, Event, State, after
from a2a_grpc.engine.writer import Writer
from a2a_grpc.parts import Json
from a2a_grpc.store import Note, StaleAppend, StoreUnavailable
from a2a_grpc.wire import Artifact, Message, SendMessageRequest, TaskState

Given = ParamSpec("Given")
logger = logging.getLogger("a2a_grpc.engine")


class TaskTurn(Repeatable):
    """The backend of a turn of a task, with the state of its run.

    The module `states` says what may happen to a run in each of its states. The state changes only in `_move`.

    Guarantees:

    - A run that lost its claim writes nothing more; its handler gets CancelledError at every attempt.
    - A run that repeats an earlier one gets the recorded answers. Until then it writes no status, and no artifact that
      the log has. If it asks something else, it can write nothing more.
    - The result of a step, and a value to remember, are stored only under the claim of the run.
    - A message is the answer to a question only while the handler waits for it. Otherwise the message begins a turn.
    """

    cancel_metadata: dict[str, Json] = {}

    def __init__(self, queued: QueuedTurn, writer: Writer, resources: Resources, inbox: "deque[QueuedTurn]") -> None:
        """Take a turn, and the messages that wait after it."""
        super().__init__(resources, writer.key, writer.context_id, queued)
        self.writer = writer
        self._queued = queued
        self.inbox = inbox
        """The messages that wait."""
        self._state = State.WAITING
        self._stop_outcome: Outcome | None = None
        self._answer: asyncio.Future[SendMessageRequest] | None = None
        """The answer to the question that waits."""
        self._notes = RunNotes(resources, writer.key, queued)
        self._was_asking = False
        self._replay = queued.replay or NO_REPLAY
        self._place = resources.place(self.key.scope, queued.request)
        self._observed = queued.observed or resources.observer.begins(
            *(writer.key.id, writer.context_id, queued.skill.id),
            attempt=queued.attempt,
            trace=queued.trace,
            former=queued.former,
        )
        self._observed.moved(self._state, writer.state)

    def _move(self, event: Event) -> None:
        """Go to the state that follows an event. Raise IllegalEvent if the event cannot happen now."""
        before, self._state = self._state, after(self._state, event)
        if self._state is not before:
            self._observed.moved(self._state, self.writer.state)

    def _may(self, event: Event) -> bool:
        """Return True if an event can happen now."""
        return event in NEXT[self._state]

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

    # -- what the agent does

    @property
    def canceled(self) -> bool:
        return self._stop_outcome is not None

    @property
    def trace_id(self) -> str:
        return self._observed.trace_id

    @property
    def is_replaying(self) -> bool:
        return not self._replay.is_over

    @property
    def is_let_go(self) -> bool:
        return self.is_lost and (self._was_asking or self._resources.keeps_messages)

    @property
    def recorded_questions(self) -> Sequence[Message]:
        return self._replay.questions

    async def recorded(self, step: str) -> bytes | None:
        await asyncio.sleep(0)
        self.check_going_on()
        packed = await self._notes.result(step)
        self.check_going_on()
        return packed

    async def record(self, step: str, packed: bytes) -> None:
        await self._write(self._notes.keep, Note(self._queued.turn, step, packed), self.writer.epoch)

    async def remember(self, name: str, packed: bytes) -> None:
        self.check_going_on()
        await self._notes.count_values()
        await self._write(self._notes.keep, Note(OF_TASK, name, packed), self.writer.epoch)

    async def status(self, message: Message | None) -> None:
        await asyncio.sleep(0)
        if not self._replay.is_over:
            self.check_going_on()
            return
        await self._write(self.writer.status, lifecycle.WORKING, message)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        await asyncio.sleep(0)
        if self.writes_output():
            await self._write(self.writer.artifact, artifact, append=append, last_chunk=last_chunk)

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
        if self._replay.changed is not None:
            raise self._replay.changed

    def writes_output(self) -> bool:
        """Return True if output is to be written, and False if the log has it. Raise as `check_going_on` does."""
        self.check_going_on()
        return not self._replay.is_written

    def _lose_claim(self) -> None:
        logger.warning("run was stopped because another replica has its task task=%s", self.key.id)
        self._move(Event.LOSE)

    # -- questions

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        self._check_asks_nothing()
        await asyncio.sleep(0)
        if not self._replay.is_over:
            self.check_going_on()
            return self._replay.answer(question)
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
            self.check_going_on()
            if not self._place.is_held:
                self._place = self._resources.place(self.key.scope, self._queued.request)
                await self._place.wait()
            self._move(Event.PLACED)
        except BaseException as error:
            if self._may(Event.WITHDRAWN):
                self._move(Event.WITHDRAWN)
            if isinstance(error, asyncio.CancelledError) and not (
                self.is_closed or self.canceled or self._place.is_held
            ):  # a handler that withdrew its question goes on; a canceled await cannot wait for a place
                self._place = self._resources.slots.try_acquire(self.key.scope) or self._place
            raise
        finally:
            self._answer = None
            self._resources.held.leave(self)
        return question, request

    async def _wait_for_answer(self, answer: "asyncio.Future[SendMessageRequest]") -> SendMessageRequest:
        """Return the answer to the question that is stored. An answer that waits already is taken at once."""
        if self.inbox:
            with suppress(StoreUnavailable):  # it is handed over again, as one that is unanswered
                await self.answer()
                self.check_going_on()
                return answer.result()
        self._place.release()
        self._resources.held.enter(self)
        return await answer

    def _check_asks_nothing(self) -> None:
        """Raise RuntimeError while a question of the turn waits."""
        if not self.is_closed and not self._may(Event.ASKED):
            raise RuntimeError("this turn is asking already; one question at a time")

    async def answer(self) -> None:
        """Write the first message of the inbox, then give it to the waiting handler.

        The message stays in the inbox until the handler has it: the write may fail, and the handler may withdraw its
        question meanwhile. The errors are those of `Writer.status`.
        """
        answer = self._answer
        assert answer is not None
        self._move(Event.TAKEN)
        queued = self.inbox[0]
        turn = queued.turn
        try:
            await self.writer.ready(0)
            if self.writer.turn < turn:  # otherwise the log has it already, by a write whose outcome was unknown
                done = 0 if self._queued.is_kept else turn
                await self.writer.status(lifecycle.WORKING, incoming=queued.request.message, turn=turn, done=done)
        except BaseException:
            if self._is_answering(answer):
                self._move(Event.REFUSED)
                self._resources.held.enter(self)
            raise
        if self._is_answering(answer) and not answer.done():
            self.inbox.popleft()
            self._observed.answered(queued.trace)
            self._move(Event.ANSWERED)
            self._resources.held.leave(self)
            answer.set_result(queued.request)

    def _is_answering(self, answer: "asyncio.Future[SendMessageRequest]") -> bool:
        """Return True unless the handler has withdrawn its question, or the run was closed, while it was answered."""
        return self._state is State.ANSWERING and self._answer is answer
