"""An agent of the OpenAI Agents SDK as an agent here, and a remote agent as a tool of that SDK."""

import logging
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.served import names_of, progress_in_turn, serving
from a2a_grpc.adapters.tool import ABOUT_MESSAGE, ABOUT_TASK_ID, AskError, OnProgress, remote_tool
from a2a_grpc.agent import Agent, Failed, Outcome, Rejected, Turn
from a2a_grpc.agent.agent import DEFAULT_MODES
from a2a_grpc.client import Client, RemoteAgent

needed("agents", "openai-agents")
from agents import Agent as Assistant  # noqa: E402
from agents import (  # noqa: E402
    FunctionTool,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    ModelRefusalError,
    ModelTimeoutError,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    function_tool,
)
from agents.tool_context import ToolContext  # noqa: E402
from openai import APIError  # noqa: E402
from pydantic import Field  # noqa: E402

from a2a_grpc.adapters.openai_run import SAID, Options, Run  # noqa: E402

logger = logging.getLogger("a2a_grpc.adapters")

GUARDRAILS = (
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)


def agent_of(
    assistant: Assistant[Any],
    name: str,
    description: str,
    *,
    context: Callable[[Turn], Any] | None = None,
    run_config: RunConfig | None = None,
    max_turns: int = 10,
    past_tasks: int = 10,
    version: str = "1.0.0",
    input_modes: Sequence[str] = DEFAULT_MODES,
    output_modes: Sequence[str] = DEFAULT_MODES,
    resumable: bool = True,
) -> Agent:
    """Return an agent that runs an agent of the OpenAI Agents SDK for each message.

    The text of the model is streamed, unless the agent has output guardrails. A tool that needs approval asks the user.

    Args:
        assistant: The first agent of the SDK.
        name: The name of the agent.
        description: What the agent does, for people and for other agents.
        context: A function that returns the context of the run for a turn.
        run_config: The configuration of the runs, for example `RunConfig(tracing_disabled=True)`.
        max_turns: The number of times that a model may be called for a message.
        past_tasks: The number of earlier tasks of the conversation whose texts the model sees, from 0 to 100.
        version: The version of the agent.
        input_modes: The media types that the agent accepts.
        output_modes: The media types that the agent gives.
        resumable: True to run a task again if its server was lost, from the last call of a model. False to end such a
            task in FAILED.

    Raises:
        TypeError: `assistant` is not an agent of the SDK.
    """
    if not isinstance(assistant, Assistant):
        raise TypeError(f"{assistant!r} is not an agent of the OpenAI Agents SDK")
    agent = Agent(name, description, version, input_modes=input_modes, output_modes=output_modes, resumable=resumable)
    options = Options(context, run_config or RunConfig(), max_turns, past_tasks, resumable)

    async def run(turn: Turn) -> Outcome | None:
        running = Run(assistant, turn, options)
        try:
            with serving(turn):
                return await running.play()
        except InputGuardrailTripwireTriggered:
            await running.withdraw()
            return Rejected("The agent does not accept this message.")
        except ModelRefusalError:
            return Rejected("The language model refuses to answer this.")
        except GUARDRAILS:
            await running.withdraw()
            return Failed("A check of the agent stopped the answer.")
        except MaxTurnsExceeded as error:
            return _failed(turn, error, "The agent has called its language model as often as it may for one message.")
        except (APIError, ModelTimeoutError) as error:
            return _failed(turn, error, "The language model of the agent does not answer now.")

    agent.skill("run", name=name, description=description)(run)
    return agent


def as_tool(
    remote: str | RemoteAgent | Client, *, name: str = "", description: str = "", on_progress: OnProgress | None = None
) -> FunctionTool:
    """Return a remote agent as a tool for agents of the OpenAI Agents SDK.

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
        context: ToolContext[Any],
        message: Annotated[str, Field(description=ABOUT_MESSAGE)],
        task_id: Annotated[str, Field(description=ABOUT_TASK_ID)] = "",
    ) -> str:
        conversation, call_id = names_of("", context.tool_call_id)
        try:
            return await tool.ask(message, task_id, conversation=conversation, call_id=call_id, on_progress=on_progress)
        except AskError as error:
            return str(error)

    return function_tool(ask, name_override=tool.name, description_override=tool.description, strict_mode=False)


@function_tool(needs_approval=True)  # type: ignore[untyped-decorator]
async def ask_user(context: ToolContext[Any], question: str) -> str:
    """Ask the user for something that is missing. Ask one thing at a time.

    Args:
        question: The question, in words that the user understands.
    """
    return SAID.get()[context.tool_call_id]


def _failed(turn: Turn, error: Exception, text: str) -> Failed:
    """Log an error of the model, whose text is not for callers. Return the outcome."""
    logger.error("language model failed task=%s", turn.task.id if turn.task else "", exc_info=error)
    return Failed(text)
