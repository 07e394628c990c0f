"""Run an `AgentExecutor` of the official Python SDK unchanged."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from a2a_grpc.adapters.missing import needed
from a2a_grpc.agent import Agent, AuthRequired, Completed, Failed, InputRequired, Outcome, Rejected, Turn
from a2a_grpc.lifecycle import AUTH_REQUIRED, CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, REJECTED, TERMINAL
from a2a_grpc.parts import struct
from a2a_grpc.wire import AgentCard, Message, SendMessageRequest, Task, TaskArtifactUpdateEvent, TaskStatus
from a2a_grpc.wire import TaskStatusUpdateEvent as StatusUpdate

needed("a2a.server.agent_execution", "a2a-sdk")
from a2a.auth.user import UnauthenticatedUser, User  # noqa: E402
from a2a.client.errors import A2AClientError  # noqa: E402
from a2a.server.agent_execution import AgentExecutor, RequestContext  # noqa: E402
from a2a.server.context import ServerCallContext  # noqa: E402
from a2a.server.events import EventQueue  # noqa: E402
from a2a.utils.errors import A2AError as SdkError  # noqa: E402

logger = logging.getLogger("a2a_grpc.adapters")


class Canceled(Outcome):
    """End the task in state CANCELED, because the executor says so."""

    state = CANCELED


OUTCOMES: dict[int, Callable[[Message | None], Outcome]] = {
    COMPLETED: Completed,
    FAILED: Failed,
    REJECTED: Rejected,
    CANCELED: Canceled,
    INPUT_REQUIRED: lambda message: InputRequired(message or "The agent needs more input."),
    AUTH_REQUIRED: lambda message: AuthRequired(message or "The agent needs authorization."),
}


def agent_of(executor: AgentExecutor, card: AgentCard, *, resumable: bool = False) -> Agent:
    """Return an agent whose skills run an executor. `Agent.of_executor` calls this."""
    if not isinstance(executor, AgentExecutor):
        raise TypeError(f"{executor!r} is not an AgentExecutor of the official SDK")
    if not isinstance(card, AgentCard):
        raise TypeError(f"card is {card!r}; it must be an AgentCard")
    agent = Agent(
        card.name,
        card.description,
        card.version or "1.0.0",
        default_skill=card.skills[0].id if card.skills else None,
        streaming=card.capabilities.streaming or not card.HasField("capabilities"),
        resumable=resumable,
        card=card,
        **{
            name: list(modes)
            for name, modes in (("input_modes", card.default_input_modes), ("output_modes", card.default_output_modes))
            if modes
        },
    )

    async def execute(turn: Turn) -> Outcome | None:
        return await _execute(executor, turn)

    if not card.skills:
        agent.skill("execute", description=card.description)(execute)
    for skill in card.skills:
        agent.skill(
            skill.id,
            name=skill.name,
            description=skill.description,
            tags=list(skill.tags),
            examples=list(skill.examples),
            input_modes=list(skill.input_modes),
            output_modes=list(skill.output_modes),
        )(execute)
    return agent


async def _execute(executor: AgentExecutor, turn: Turn) -> Outcome | None:
    """Run an executor for a turn. Return the outcome that the events of the executor stand for."""
    events = _Events(turn)
    context = await _context(turn)
    try:
        await executor.execute(context, events)
    except asyncio.CancelledError:
        if turn.canceled and not turn.is_let_go:
            await executor.cancel(context, events)
        raise
    except Exception as error:
        if events.is_over:  # as at the SDK's server, nothing after the end changes the state
            logger.warning(
                "executor failed after it had ended its task task=%s", turn.task.id if turn.task else "", exc_info=True
            )
        elif isinstance(error, SdkError) and not isinstance(error, A2AClientError):
            return Failed(str(error) or type(error).__name__)
        else:  # the text of an error of the executor's own calls names addresses, so only the log has it
            raise
    return events.outcome


async def _context(turn: Turn) -> RequestContext:
    """Return what an executor reads of its request."""
    request = SendMessageRequest(message=turn.message)
    request.configuration.accepted_output_modes.extend(turn.accepted_output_modes)
    if metadata := turn.metadata:
        request.metadata.CopyFrom(struct(metadata))
    task = turn.task
    return RequestContext(
        ServerCallContext(user=_user(turn), tenant=turn.tenant),
        request,
        task_id=task.id if task else None,
        context_id=turn.context_id,
        task=task if task and len(task.history) > 1 else None,  # the SDK has no task before the first event
        related_tasks=await turn.referenced(),
    )


def _user(turn: Turn) -> User:
    return _Caller(turn.principal.subject) if turn.principal.subject else UnauthenticatedUser()


class _Caller(User):  # type: ignore[misc]  # the SDK is not checked
    """An authenticated caller, as the SDK knows it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def user_name(self) -> str:
        return self._name


class _Events(EventQueue):  # type: ignore[misc]
    """Writes each event of an executor to the turn before `enqueue_event` returns, except the end, which it keeps.

    Attributes:
        outcome: The end of the turn that the last status update stands for, or None.
        is_over: True once the executor has ended the task.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._lock = asyncio.Lock()
        self.is_over = False
        self.outcome: Outcome | None = None

    async def enqueue_event(self, event: Any) -> None:
        """Write an event.

        Raises:
            TypeError: The event is none of the SDK.
            RuntimeError: The executor has ended the task already.
        """
        async with self._lock:
            if self.is_over:
                raise RuntimeError("the executor has ended this task already; no event may follow")
            match event:
                case Message():
                    self._end(COMPLETED, event)
                case Task():
                    for artifact in event.artifacts:
                        await self._turn.artifact(artifact)
                    await self._take(event.status)
                case TaskArtifactUpdateEvent():
                    await self._turn.artifact(event.artifact, append=event.append, last_chunk=event.last_chunk)
                case StatusUpdate():
                    await self._take(event.status)
                case _:
                    raise TypeError(f"{type(event).__qualname__} is no event of the SDK")

    async def _take(self, status: TaskStatus) -> None:
        message = status.message if status.HasField("message") else None
        if status.state in OUTCOMES:
            self._end(status.state, message)
            if status.state == AUTH_REQUIRED and message is not None:
                await self._turn.status(message)  # the executor may wait here until the user has signed in elsewhere
        else:
            self.outcome = None
            if message is not None:
                await self._turn.status(message)

    def _end(self, state: int, message: Message | None) -> None:
        self.outcome = OUTCOMES[state](message)
        self.is_over = state in TERMINAL
