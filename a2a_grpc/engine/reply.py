"""Answer with a bare message: agent code that runs without a task."""

import asyncio
import logging
import secrets
from typing import cast

from a2a_grpc.agent import Completed, Outcome, Output, Skill, Turn
from a2a_grpc.engine.blame import line_of
from a2a_grpc.engine.events import now_us
from a2a_grpc.engine.past import Past
from a2a_grpc.engine.player import Sink, play
from a2a_grpc.engine.queued_turn import QueuedTurn
from a2a_grpc.engine.resources import Resources
from a2a_grpc.engine.send_call import SendCall
from a2a_grpc.errors import A2AError, InternalError, InvalidAgentResponseError, detached, is_closing
from a2a_grpc.ids import new_id
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import Content, Contents, Json, agent_message, check_content, part
from a2a_grpc.store import Scope
from a2a_grpc.wire import ROLE_AGENT, Artifact, Message, Part, SendMessageRequest, TaskState

logger = logging.getLogger("a2a_grpc.engine")

NO_NOTES = "a skill that answers with a message has no task that could keep the results of steps or other values"


class MessageBackend(Past):
    """The backend of a turn that has no task: it ends with the call, and there is nothing to update."""

    canceled = is_replaying = is_let_go = False
    cancel_metadata: dict[str, Json] = {}
    recorded_questions: tuple[Message, ...] = ()

    def __init__(self, scope: Scope, context_id: str, resources: Resources) -> None:
        super().__init__(resources.log.store, resources.settings.max_task_bytes, scope, context_id)
        self._observer = resources.observer
        self.accepted_us = now_us()

    @property
    def trace_id(self) -> str:
        return self._observer.trace_id()

    async def status(self, message: Message | None) -> None:
        raise RuntimeError("a skill that answers with a message has no task to give a status")

    def new_artifact_id(self) -> str:
        raise RuntimeError("a skill that answers with a message has no task to add an artifact to")

    def new_call_id(self) -> str:
        return new_id()

    def draw(self, kind: str) -> bytes:
        return secrets.token_bytes(32)

    async def recorded(self, step: str) -> bytes | None:
        raise RuntimeError(NO_NOTES)

    async def record(self, step: str, packed: bytes) -> None:
        raise RuntimeError(NO_NOTES)

    async def remember(self, name: str, packed: bytes) -> None:
        raise RuntimeError(NO_NOTES)

    async def recall(self, name: str) -> bytes | None:
        raise RuntimeError(NO_NOTES)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        raise RuntimeError("a skill that answers with a message has no task to add an artifact to")

    async def ask(self, question: Message, state: TaskState) -> tuple[Message, SendMessageRequest]:
        raise RuntimeError("a skill that answers with a message has no task in which to ask")


class Reply(Sink):
    """Makes a message of what a handler returns, or of all that a generator yields.

    Attributes:
        message: The message, once there is one.
        unfit: Why something that the handler gave cannot be an answer.
    """

    def __init__(self, context_id: str) -> None:
        self._context_id = context_id
        self._parts: list[Part] = []
        self.message: Message | None = None
        self.unfit: Exception | None = None

    async def whole(self, output: Output | Message) -> None:
        """Make the message, unless the output is none. Raise `unfit` if it cannot be one."""
        if output is None or isinstance(output, Artifact):
            return
        try:
            self.message = _message(output, self._context_id)
        except (TypeError, ValueError) as error:
            self.unfit = error
            raise

    async def piece(self, piece: Output) -> None:
        """Add a part to the message. Raise `unfit` if the piece cannot be one."""
        try:
            self._parts.append(part(cast("Content", piece)))
        except (TypeError, ValueError) as error:
            self.unfit = error
            raise

    async def last(self) -> None:
        """Make the message of the parts, if there are any."""
        if self._parts:
            await self.whole(self._parts)


async def reply(skill: Skill, send: SendCall, resources: Resources) -> Message:
    """Run the handler, and return its message. If the call is canceled, the handler is canceled.

    Raises:
        InvalidAgentResponseError: The outcome is one that only a task can have.
        InternalError: The handler raised an exception, whose text goes to the log.
    """
    context_id = send.request.message.context_id or new_id()
    backend = MessageBackend(send.scope, context_id, resources)
    turn = QueuedTurn(0, skill, send.request, send.principal).as_turn(b"", context_id, backend, resources.threads)
    call, made = asyncio.current_task(), Reply(context_id)
    place = resources.place(send.scope, send.request)
    await place.wait()
    try:
        with resources.watch.over(skill.id):
            return await _play(skill, turn, made)
    except A2AError:
        raise
    except BaseException as error:
        backend.canceled = isinstance(error, asyncio.CancelledError) and call is not None and call.cancelling() > 0
        if backend.canceled or is_closing(error, call):
            raise
        if error is made.unfit:
            logger.exception("handler answered with an invalid message skill=%s", skill.id)
            unfit = f"skill '{skill.id}' gave an answer that the protocol does not allow"
            raise InvalidAgentResponseError(unfit) from None
        logger.exception("handler failed skill=%s at=%s", skill.id, line_of(error))
        raise InternalError from error
    finally:
        place.release()


async def _play(skill: Skill, turn: Turn, made: Reply) -> Message:
    """Run the handler. Return its message."""
    try:
        outcome = await play(skill, turn, made)
    except Outcome as raised:
        outcome = detached(raised)
    if isinstance(outcome, Completed):
        if made.message is None or outcome.content is not None:
            await made.whole(outcome.content or "")
    elif outcome is not None:
        raise InvalidAgentResponseError(
            f"skill '{skill.id}' answers with a message; it cannot end in {state_name(outcome.state)}"
        )
    if made.message is None:
        raise InvalidAgentResponseError(f"skill '{skill.id}' answers with a message, but gave none")
    return made.message


def _message(output: object, context_id: str) -> Message:
    """Return the output as a message. Empty ids of a message that the handler made are filled in (SEND-15)."""
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
    return output
