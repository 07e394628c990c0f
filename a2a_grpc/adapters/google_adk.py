"""An agent of Google ADK as an agent here, and a remote agent as a tool of ADK."""

import asyncio
import logging
import warnings
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any
from weakref import WeakValueDictionary

from a2a_grpc.adapters.calls import NOT_KEPT
from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.served import progress_in_turn, serving
from a2a_grpc.adapters.tool import OnProgress, remote_tool
from a2a_grpc.agent import DEFAULT_MODES, Agent, Failed, Outcome, Turn
from a2a_grpc.client import Client, RemoteAgent

needed("google.adk", "google-adk")
import google.adk.flows.llm_flows.auto_flow  # noqa: E402, F401  # ADK imports it in its first run, which would block
from google.adk.agents.invocation_context import LlmCallsLimitExceededError  # noqa: E402
from google.adk.agents.run_config import RunConfig, StreamingMode  # noqa: E402
from google.adk.apps import App, ResumabilityConfig  # noqa: E402
from google.adk.events.event import Event  # noqa: E402
from google.adk.runners import Runner  # noqa: E402
from google.adk.tools import BaseTool  # noqa: E402
from google.adk.workflow import BaseNode  # noqa: E402
from google.genai.errors import APIError  # noqa: E402

from a2a_grpc.adapters.adk_calls import question, responses  # noqa: E402
from a2a_grpc.adapters.adk_content import content_of  # noqa: E402
from a2a_grpc.adapters.adk_events import EventWriter  # noqa: E402
from a2a_grpc.adapters.adk_session import (  # noqa: E402
    TURN,
    Conversation,
    UserId,
    key_of_caller,
    opened,
    session_names,
)
from a2a_grpc.adapters.adk_tool import AdkTool  # noqa: E402

logger = logging.getLogger("a2a_grpc.adapters")


def agent_of(
    thing: BaseNode | App | Runner,
    name: str,
    description: str,
    *,
    run_config: RunConfig | None = None,
    past_tasks: int = 10,
    user_id: UserId = key_of_caller,
    version: str = "1.0.0",
    input_modes: Sequence[str] = DEFAULT_MODES,
    output_modes: Sequence[str] = DEFAULT_MODES,
    resumable: bool | None = None,
) -> Agent:
    """Return an agent that runs an agent of ADK for each message.

    Args:
        thing: The agent or the app of ADK, whose sessions are kept with the tasks. Or a `Runner`, which keeps its
            sessions in its own services: the id of the session is that of the conversation.
        name: The name of the agent.
        description: What the agent does, for people and for other agents.
        run_config: How ADK runs the agent; by default with streaming.
        past_tasks: The number of earlier tasks of the conversation whose texts the model sees, from 0 to 100. The
            sessions of a `Runner` have them without this.
        user_id: Returns the id of the caller for ADK, to whose sessions, memory and files it leads. By default the key
            of the principal: digits that no other caller has, except for the members of its group.
        version: The version of the agent.
        input_modes: The media types that the agent accepts.
        output_modes: The media types that the agent gives.
        resumable: True to run a task again if its server was lost, False to end it in FAILED. The run goes on after the
            last stored event, if the app is resumable in ADK (`ResumabilityConfig`); otherwise it begins again, and
            calls the same tools. By default True for agents, which are made resumable in ADK, and for such apps.

    Raises:
        TypeError: `thing` is none of these.
    """
    thing = _runnable(thing, resumable=resumable is not False)
    if resumable is None:
        resumable = thing.resumability_config is not None and thing.resumability_config.is_resumable
    agent = Agent(name, description, version, input_modes=input_modes, output_modes=output_modes, resumable=resumable)
    config = run_config or RunConfig(streaming_mode=StreamingMode.SSE)
    locks: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    async def run(turn: Turn) -> Outcome | None:
        async with AsyncExitStack() as stack:
            stack.enter_context(serving(turn))
            names = session_names(turn, thing, user_id)
            if isinstance(thing, Runner):  # the tasks of a conversation share a session, which has one writer at a time
                await stack.enter_async_context(locks.setdefault(tuple(names.values()), asyncio.Lock()))
            try:
                return await _run(turn, await opened(turn, thing, names, past_tasks), config)
            except LlmCallsLimitExceededError as error:
                return _failed(turn, error, "The agent has used as much of its language model as it may for one task.")
            except APIError as error:
                return _failed(turn, error, "The language model of the agent does not answer now.")

    agent.skill("run", name=name, description=description)(run)
    return agent


def as_tool(
    remote: str | RemoteAgent | Client, *, name: str = "", description: str = "", on_progress: OnProgress | None = None
) -> BaseTool:
    """Return a remote agent as a tool for an agent of ADK.

    Args:
        remote: The agent: an address or the URL of a card as `connect` takes it, a `RemoteAgent`, or an open `Client`.
        name: The name of the tool; by default that of the card.
        description: What the agent can do, for the model; by default that of the card and its skills.
        on_progress: The function that gets the progress of the agent. By default its status messages and numbers become
            status messages of the task, if `agent_of` serves the agent that has the tool.

    Raises:
        ConfigurationError: The name cannot be used, or the agent has no card that is known here.
        A2AError: The card cannot be fetched.
    """
    tool = remote_tool(remote, name=name, description=description)
    return AdkTool(tool, on_progress or progress_in_turn(tool.name))


def _runnable(thing: Any, *, resumable: bool) -> App | Runner:
    """Return an app for an agent. Raise TypeError for what ADK cannot run."""
    if isinstance(thing, App | Runner):
        return thing
    if not isinstance(thing, BaseNode):
        raise TypeError(f"{thing!r} is not an agent, an App or a Runner of Google ADK")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ADK calls it experimental
        config = ResumabilityConfig(is_resumable=resumable)
    return App(name=thing.name, root_agent=thing, resumability_config=config)


async def _run(turn: Turn, conversation: Conversation, config: RunConfig) -> Outcome | None:
    """Run the agent for a turn, from its message, or from where an earlier attempt was lost."""
    kept, runner = conversation.kept, conversation.runner
    message = content_of(turn.message)
    if kept.waiting and kept.turn_id == conversation.turn_id:  # an earlier attempt was lost once it had asked
        return question(kept.waiting)
    if kept.waiting:
        said = responses(kept.waiting, turn.message)
        if said is None:
            return question(kept.waiting)
        message = said
    writer = EventWriter(turn, runner.agent, runner.artifact_service, conversation.names)
    lost = await conversation.lost()
    for event in lost:
        await writer.restore(event)
    await writer.told.decided(kept.waiting, message, is_again=bool(lost))
    if not (lost and _is_last(lost[-1], runner)):
        marked = {**(config.custom_metadata or {}), TURN: conversation.turn_id}
        events = runner.run_async(
            user_id=conversation.names["user_id"],
            session_id=conversation.names["session_id"],
            invocation_id=lost[0].invocation_id if lost else None,
            new_message=None if lost else message,
            run_config=config.model_copy(update={"custom_metadata": marked}),
        )
        async with aclosing(events):
            async for event in events:
                await writer.take(event)
                if not event.partial:
                    await conversation.checkpoint()
    if writer.waiting:
        if not await conversation.keep(writer.waiting):
            return Failed(NOT_KEPT)
        return question(writer.waiting)
    return Failed(writer.error) if writer.error else None


def _is_last(event: Event, runner: Runner) -> bool:
    """Return True if a run has nothing more to do after an event."""
    if event.author != runner.agent.name:
        return False
    has_said_all = event.content is not None and event.is_final_response()
    return has_said_all or bool(event.actions.end_of_agent)


def _failed(turn: Turn, error: Exception, text: str) -> Failed:
    """Log an error of the model, whose text is not for callers. Return the outcome."""
    logger.error("model of an ADK agent failed task=%s", turn.task.id if turn.task else "", exc_info=error)
    return Failed(text)
