"""The session of an ADK agent for one turn: in ADK's services, or kept with the task."""

import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.adk.apps import App
from google.adk.artifacts import InMemoryArtifactService
from google.adk.events.event import Event
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai import types
from pydantic import TypeAdapter

from a2a_grpc.adapters.adk_content import events_of, lean, said, whole
from a2a_grpc.adapters.adk_events import SAVED
from a2a_grpc.adapters.past import said_before
from a2a_grpc.agent import Failed, Turn
from a2a_grpc.agent.packed import MAX_BYTES

logger = logging.getLogger("a2a_grpc.adapters")

NAME = "adk"
"""The name under which the session is kept with the task."""
MESSAGE = "a2a_message"
"""The key in the metadata of an event with the id of the message that the event is about."""


@dataclass
class Kept:
    """What is kept of a task between its turns and attempts.

    Attributes:
        message_id: The message of the user that the newest events are about.
        waiting: The calls that wait for the user.
        events: The events of the task; empty if a service of ADK has them.
    """

    message_id: str = ""
    waiting: list[types.FunctionCall] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


KEPT: TypeAdapter[Kept] = TypeAdapter(Kept)


class Conversation:
    """The runner and the session for one turn. `opened` makes it.

    Attributes:
        runner: What runs the agent.
        names: The arguments that name the session.
        kept: What was kept of the task.
    """

    def __init__(self, turn: Turn, runner: Runner, kept: Kept) -> None:
        self._turn = turn
        self._past: int | None = None
        """The number of events of earlier tasks in a session that is kept with the task."""
        self.runner = runner
        self.kept = kept
        self.names = {"app_name": runner.app_name, "user_id": _user(turn), "session_id": _session(turn)}

    @property
    def _can_resume(self) -> bool:
        config = self.runner.resumability_config
        return config is not None and config.is_resumable

    async def find(self) -> None:
        """Create the session in a service of ADK, if the service has none for this conversation.

        Raises:
            Failed: The task waits for an answer, and its session is gone.
        """
        service = self.runner.session_service
        if await service.get_session(**self.names) is not None:
            return
        if self.kept.waiting:
            raise Failed("The agent has lost what it asked about, as its sessions are gone. Send a new message.")
        await service.create_session(**self.names)

    async def restore(self, past: Sequence[Event]) -> None:
        """Create the session from events of earlier tasks and what is kept with this one."""
        task = self._turn.task
        assert task is not None
        self._past = len(past)
        session = await self.runner.session_service.create_session(**self.names)
        for event in [*past, *(whole(event, task) for event in self.kept.events)]:
            await self.runner.session_service.append_event(session, event)
        for artifact in task.artifacts:
            if SAVED in artifact.metadata.fields:
                name = artifact.metadata.fields[SAVED].string_value
                for part in artifact.parts:
                    await self.runner.artifact_service.save_artifact(**self.names, filename=name, artifact=said(part))

    async def lost(self) -> list[Event]:
        """Return the events of an earlier attempt of this turn with which the run goes on.

        If it cannot go on with them, they are taken out of the session.
        """
        message_id = self._turn.message.message_id
        events = [event for event in await self._events() if (event.custom_metadata or {}).get(MESSAGE) == message_id]
        if not events or self._can_resume:
            return events
        if not self.kept.waiting:  # the invocation of an answer is that of the question, which has to stay
            await self.runner.rewind_async(
                user_id=self.names["user_id"],
                session_id=self.names["session_id"],
                rewind_before_invocation_id=events[0].invocation_id,
            )
        return []

    async def checkpoint(self) -> None:
        """Keep the newest events with the task, if an attempt can go on with them and no service of ADK has them."""
        if self._past is not None and self._can_resume:
            await self.keep()

    async def keep(self, waiting: Sequence[types.FunctionCall] = ()) -> bool:
        """Keep the calls that wait for the user with the task, and the events that no service of ADK has.

        Return False if they are too large to be kept.
        """
        task = self._turn.task
        assert task is not None
        events = [] if self._past is None else (await self._events())[self._past :]
        kept = Kept(self._turn.message.message_id, list(waiting), [lean(event, task) for event in events])
        stored = zlib.compress(KEPT.dump_json(kept, by_alias=True, exclude_none=True), level=1)
        if len(stored) > MAX_BYTES:
            logger.warning("state of an agent not kept task=%s error=%s", task.id, f"{len(stored)} bytes")
            return False
        await self._turn.remember(NAME, stored)
        return True

    async def _events(self) -> list[Event]:
        session = await self.runner.session_service.get_session(**self.names)
        return list(session.events) if session is not None else []


async def opened(turn: Turn, thing: Runner | App, past_tasks: int) -> Conversation:
    """Return the runner and the session for a turn."""
    stored = await turn.recall(NAME)
    kept = KEPT.validate_json(zlib.decompress(stored)) if isinstance(stored, bytes) else Kept()
    if isinstance(thing, Runner):
        conversation = Conversation(turn, thing, kept)
        await conversation.find()
        return conversation
    runner = Runner(app=thing, session_service=InMemorySessionService(), artifact_service=InMemoryArtifactService())
    conversation = Conversation(turn, runner, kept)
    await conversation.restore(events_of(await said_before(turn, past_tasks), runner.agent.name))
    return conversation


def _user(turn: Turn) -> str:
    """Return the id of the caller for ADK. Callers of two tenants never have the same."""
    subject = turn.principal.subject or "anonymous"
    return f"{turn.tenant}/{subject}" if turn.tenant else subject


def _session(turn: Turn) -> str:
    """Return the id of the session. ADK cuts off spaces around it, so an id that has some is quoted."""
    return turn.context_id if turn.context_id.strip() == turn.context_id else json.dumps(turn.context_id)
