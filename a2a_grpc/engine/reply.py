"""Answering with a bare message: agent code that runs without a task."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from types import FrameType
from typing import cast

from a2a_grpc.agent import Completed, Outcome, Output, Skill, Threads, Turn
from a2a_grpc.engine.blame import blamed, frame_of, line_of
from a2a_grpc.engine.past import Past
from a2a_grpc.engine.priority import priority_of
from a2a_grpc.engine.slots import Slots
from a2a_grpc.engine.watch import Watch
from a2a_grpc.errors import A2AError, InternalError, InvalidAgentResponseError, detached, is_closing
from a2a_grpc.ids import new_id
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import Content, Contents, Json, agent_message, check_content, part
from a2a_grpc.principal import Principal
from a2a_grpc.store import Scope, TaskView
from a2a_grpc.wire import ROLE_AGENT, Artifact, Message, Part, SendMessageRequest, Task, TaskState

logger = logging.getLogger("a2a_grpc.engine")


class MessageBackend:
    """The backend of a turn that has no task: it ends with the call, and there is nothing to update."""

    def __init__(self, past: Past, scope: Scope, context_id: str, trace_id: str) -> None:
        self._past = past
        self._scope = scope
        self._context_id = context_id
        self.trace_id = trace_id
        self.is_replaying = False
        self.canceled = False
        self.is_let_go = False
        self.recorded_questions: tuple[Message, ...] = ()
        self.cancel_metadata: dict[str, Json] = {}

    async def status(self, message: Message | None) -> None:
        raise RuntimeError("a skill that answers with a message has no task to give a status")

    def new_artifact_id(self) -> str:
        raise RuntimeError("a skill that answers with a message has no task to add an artifact to")

    def new_call_id(self) -> str:
        return new_id()

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        raise RuntimeError("a skill that answers with a message has no task to add an artifact to")

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        view = TaskView(artifacts, history_length)
        return await self._past.of_context(self._scope, self._context_id, limit, view)

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        return await self._past.named(self._scope, ids, TaskView(artifacts, history_length))

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        raise RuntimeError("a skill that answers with a message has no task in which to ask")


async def reply(
    skill: Skill,
    request: SendMessageRequest,
    *,
    context_id: str,
    principal: Principal,
    scope: Scope,
    slots: Slots,
    threads: Threads,
    watch: Watch,
    past: Past,
    trace_id: str,
) -> Message:
    """Run the handler, and return its message. If the call is canceled, the handler is canceled.

    Raises:
        InvalidAgentResponseError: The outcome is one that only a task can have.
        InternalError: The handler raised an exception, whose text goes to the log.
    """
    backend = MessageBackend(past, scope, context_id, trace_id)
    turn = Turn(
        skill=skill.id,
        request=request,
        task=b"",
        context_id=context_id,
        principal=principal,
        backend=backend,
        threads=threads,
    )
    call = asyncio.current_task()
    place = slots.try_acquire(scope) or slots.line_up(scope, priority_of(request))
    await place.wait()
    try:
        called = skill.handler(turn)
        frame = frame_of(called)
        try:
            with watch.over(f"skill={skill.id}"):
                return _message(await _output(skill, called, frame), context_id, frame)
        except Unfit as unfit:
            logger.error("handler answered with an invalid message skill=%s", skill.id, exc_info=unfit.error)
            raise InvalidAgentResponseError(
                f"skill '{skill.id}' gave an answer that the protocol does not allow"
            ) from None
    except asyncio.CancelledError as error:
        if call is not None and call.cancelling():
            backend.canceled = True
            raise
        logger.exception("handler failed skill=%s %s", skill.id, line_of(error))
        raise InternalError from error
    except A2AError:
        raise
    except BaseException as error:
        if is_closing(error, call):
            raise
        logger.exception("handler failed skill=%s %s", skill.id, line_of(error))
        raise InternalError from error
    finally:
        place.release()


def _message(output: object, context_id: str, frame: FrameType | None) -> Message:
    """Return the output as a message. Empty ids of a message that the handler made are filled in (SEND-15)."""
    try:
        if isinstance(output, str):  # what most give
            return agent_message(output, context_id=context_id)
        if not isinstance(output, Message):
            output = agent_message(cast("Contents", output), context_id=context_id)
        output.message_id = output.message_id or new_id()
        output.context_id = output.context_id or context_id
        output.role = output.role or ROLE_AGENT
        if output.role != ROLE_AGENT or output.context_id != context_id or output.task_id:
            raise ValueError("a reply is the agent's, in the context of the call, and of no task")
        check_content(output)
    except (TypeError, ValueError) as error:
        raise Unfit(blamed(error, frame)) from None
    return output


class Unfit(Exception):
    """What the handler gave cannot be an answer: the reason."""

    def __init__(self, error: TypeError | ValueError) -> None:
        super().__init__(error)
        self.error = error


def _part(piece: Output, frame: FrameType | None) -> Part:
    try:
        return part(cast("Content", piece))
    except (TypeError, ValueError) as error:
        raise Unfit(blamed(error, frame)) from None


async def _output(skill: Skill, called: object, frame: FrameType | None) -> object:
    """Return what a handler that was called gives: a part for each piece of a generator, None if there is none."""
    try:
        if skill.is_generator:
            async with aclosing(cast("AsyncGenerator[Output]", called)) as pieces:
                output: object = [_part(piece, frame) async for piece in pieces] or None
        else:
            output = await cast("Awaitable[Output]", called)
    except Outcome as raised:
        output = detached(raised)
    match output:
        case Completed():
            return output.content or ""
        case Outcome():
            raise InvalidAgentResponseError(
                f"skill '{skill.id}' answers with a message; it cannot end in {state_name(output.state)}"
            )
        case Artifact() | None:
            raise InvalidAgentResponseError(f"skill '{skill.id}' answers with a message, but gave none")
    return output
