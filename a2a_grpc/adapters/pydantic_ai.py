"""A Pydantic AI agent as an agent here, and a remote agent as a tool of Pydantic AI."""

import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.served import names_of, progress_in_turn, serving
from a2a_grpc.adapters.tool import ABOUT_MESSAGE, ABOUT_TASK_ID, AskError, OnProgress, remote_tool
from a2a_grpc.agent import Agent, Failed, Outcome, Turn
from a2a_grpc.agent.agent import DEFAULT_MODES
from a2a_grpc.client import Client, RemoteAgent

needed("pydantic_ai", "pydantic-ai")
from pydantic import Field  # noqa: E402
from pydantic_ai import CallDeferred, ModelAPIError, RunContext, Tool, UsageLimitExceeded, UsageLimits  # noqa: E402
from pydantic_ai.agent import AbstractAgent  # noqa: E402
from pydantic_ai.exceptions import ContentFilterError, FallbackExceptionGroup  # noqa: E402

from a2a_grpc.adapters.pydantic_run import Options, Run  # noqa: E402

logger = logging.getLogger("a2a_grpc.adapters")


def agent_of(
    assistant: AbstractAgent[Any, Any],
    name: str,
    description: str,
    *,
    deps: Callable[[Turn], Any] | None = None,
    usage_limits: UsageLimits | None = None,
    past_tasks: int = 10,
    version: str = "1.0.0",
    input_modes: Sequence[str] = DEFAULT_MODES,
    output_modes: Sequence[str] = DEFAULT_MODES,
    resumable: bool = True,
) -> Agent:
    """Return an agent that runs a Pydantic AI agent for each message.

    The text of the model is streamed. A tool that needs approval, or whose result comes from outside, asks the user.

    Args:
        assistant: The agent of Pydantic AI.
        name: The name of the agent.
        description: What the agent does, for people and for other agents.
        deps: A function that returns the dependencies of the agent for a turn.
        usage_limits: How much of the model each task may use, in all of its turns.
        past_tasks: The number of earlier tasks of the conversation whose texts the model sees, from 0 to 100.
        version: The version of the agent.
        input_modes: The media types that the agent accepts.
        output_modes: The media types that the agent gives.
        resumable: True to run a task again if its server was lost: from the last response of the model that calls
            tools, or from the results of these tools. False to end such a task in FAILED.

    Raises:
        TypeError: `assistant` is not an agent of Pydantic AI.
    """
    if not isinstance(assistant, AbstractAgent):
        raise TypeError(f"{assistant!r} is not an agent of Pydantic AI")
    agent = Agent(name, description, version, input_modes=input_modes, output_modes=output_modes, resumable=resumable)
    options = Options(deps, usage_limits, past_tasks, resumable)

    async def run(turn: Turn) -> Outcome | None:
        try:
            with serving(turn):
                return await Run(assistant, turn, options).play()
        except UsageLimitExceeded as error:
            return _failed(turn, error, "The agent has used as much of its language model as it may for one task.")
        except ContentFilterError as error:
            return _failed(turn, error, "A content filter of the language model stopped the answer.")
        except (ModelAPIError, FallbackExceptionGroup) as error:
            return _failed(turn, error, "The language model of the agent does not answer now.")

    agent.skill("run", name=name, description=description)(run)
    return agent


def as_tool(
    remote: str | RemoteAgent | Client, *, name: str = "", description: str = "", on_progress: OnProgress | None = None
) -> Tool[Any]:
    """Return a remote agent as a tool for agents of Pydantic AI.

    Args:
        remote: The agent, as `remote_tool` of `a2a_grpc.adapters.tool` takes it.
        name: The name of the tool; by default the name on the card.
        description: What the agent can do; by default what the card says.
        on_progress: The function that gets the progress. By default progress becomes status messages of the task for
            which the tool is called, if an agent of `agent_of` calls it.

    Raises:
        ConfigurationError: The name cannot be used, or the agent has no card that is known here.
        A2AError: The card cannot be fetched.
    """
    tool = remote_tool(remote, name=name, description=description)
    on_progress = on_progress or progress_in_turn(tool.name)

    async def ask(
        context: RunContext[Any],
        message: Annotated[str, Field(description=ABOUT_MESSAGE)],
        task_id: Annotated[str, Field(description=ABOUT_TASK_ID)] = "",
    ) -> str:
        conversation, call_id = names_of(context.conversation_id or "", context.tool_call_id or "")
        try:
            return await tool.ask(message, task_id, conversation=conversation, call_id=call_id, on_progress=on_progress)
        except AskError as error:
            return str(error)

    return Tool(ask, takes_ctx=True, name=tool.name, description=tool.description)


async def ask_user(question: str) -> str:
    """Ask the user for something that is missing. Ask one thing at a time.

    An agent that has this tool needs `DeferredToolRequests` among its output types. The question survives a restart.

    Args:
        question: The question, in words that the user understands.
    """
    raise CallDeferred


def _failed(turn: Turn, error: Exception, text: str) -> Failed:
    """Log an error of the model, whose text is not for callers. Return the outcome."""
    logger.error("language model failed task=%s", turn.task.id if turn.task else "", exc_info=error)
    return Failed(text)
