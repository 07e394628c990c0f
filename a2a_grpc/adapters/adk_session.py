"""The session of an ADK agent for one turn: in ADK's services, or kept with the task."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from google.adk.apps import App
from google.adk.artifacts import InMemoryArtifactService
from google.adk.events.event import Event
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.genai import types
from pydantic import TypeAdapter

from a2a_grpc.adapters.adk_content import events_of, said
from a2a_grpc.adapters.adk_events import SAVED
from a2a_grpc.adapters.kept import keep, kept, log_not_kept
from a2a_grpc.adapters.past import said_before
from a2a_grpc.agent import Failed, Turn
from a2a_grpc.offload import offload

NAME = "adk"
"""The name under which the session is kept with the task."""
TURN = "a2a_turn"
"""The key in the metadata of an event with the id of the turn that the event belongs to."""

UserId = Callable[[Turn], str]
"""Returns the id of the caller for ADK."""


@dataclass
class Kept:
    """What is kept of a task between its turns and attempts.

    Attributes:
        turn_id: The turn that has kept it.
        waiting: The calls that wait for the user.
        events: The events of the task; empty if a service of ADK has them.
    """

    turn_id: str = ""
    waiting: list[types.FunctionCall] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


KEPT: TypeAdapter[Kept] = TypeAdapter(Kept)


class Conversation:
    """The runner and the session for one turn. `opened` makes it.

    Attributes:
        runner: What runs the agent.
        names: The arguments that name the session.
        kept: What was kept of the task.
        turn_id: The id of the turn. It is the same in each attempt, and no caller can guess it.
    """

    def __init__(self, turn: Turn, runner: Runner, names: dict[str, str], kept: Kept) -> None:
        self._turn = turn
        self._past: int | None = None
        """The number of events of earlier tasks in a session that is kept with the task."""
        self._size = 0
        """The size of the last state that was kept. The next one takes about as long to keep."""
        self.runner = runner
        self.kept = kept
        self.names = names
        self.turn_id = str(turn.uuid())

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
        for event in [*past, *self.kept.events]:
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
        events = [event for event in await self._events() if (event.custom_metadata or {}).get(TURN) == self.turn_id]
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

        Return False if they cannot be kept.
        """
        events = [] if self._past is None else (await self._events())[self._past :]
        try:
            dumped = await offload(self._size, _dumped, Kept(self.turn_id, list(waiting), events))
        except (TypeError, ValueError) as error:  # for example an object in the result of a tool
            log_not_kept(self._turn, error)
            return False
        self._size = len(dumped)
        return await keep(self._turn, NAME, dumped)

    async def _events(self) -> list[Event]:
        session = await self.runner.session_service.get_session(**self.names)
        return list(session.events) if session is not None else []


async def opened(turn: Turn, thing: Runner | App, names: dict[str, str], past_tasks: int) -> Conversation:
    """Return the runner and the session for a turn.

    Args:
        turn: The turn.
        thing: The runner or the app that the server offers.
        names: The arguments that name the session, from `session_names`.
        past_tasks: A new session of an app begins with the texts of so many earlier tasks of the conversation. The
            sessions of a runner have these texts already.
    """
    state = await kept(turn, NAME)
    found = KEPT.validate_json(state) if state is not None else Kept()
    if isinstance(thing, Runner):
        conversation = Conversation(turn, thing, names, found)
        await conversation.find()
        return conversation
    runner = Runner(app=thing, session_service=InMemorySessionService(), artifact_service=InMemoryArtifactService())
    conversation = Conversation(turn, runner, names, found)
    await conversation.restore(events_of(await said_before(turn, past_tasks), runner.agent.name))
    return conversation


def _dumped(kept: Kept) -> str:
    """Return JSON. Raise TypeError or ValueError for an object that is no JSON."""
    return KEPT.dump_json(kept, by_alias=True, exclude_none=True, serialize_as_any=True).decode()


def key_of_caller(turn: Turn) -> str:
    """Return an id of the caller that no other caller has. Members of a group have the same id, as for their tasks."""
    return turn.principal.key


def session_names(turn: Turn, thing: Runner | App, user_id: UserId) -> dict[str, str]:
    """Return the arguments that name the session of a turn. ADK cuts off spaces around its id, which are quoted.

    Raises:
        ValueError: `user_id` has returned no text, or an empty one.
    """
    user = user_id(turn)
    if not isinstance(user, str) or not user.strip():
        raise ValueError(f"user_id has returned {user!r}; it must return a text that is not empty")
    context_id = turn.context_id if turn.context_id.strip() == turn.context_id else json.dumps(turn.context_id)
    app_name = thing.app_name if isinstance(thing, Runner) else thing.name
    return {"app_name": app_name, "user_id": user, "session_id": context_id}
