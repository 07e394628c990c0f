"""Serve a compiled graph of LangGraph."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from a2a_grpc.adapters.langgraph.run import OpenGraph, Run
from a2a_grpc.adapters.missing import needed
from a2a_grpc.agent import DEFAULT_MODES, Agent, Turn
from a2a_grpc.parts import Contents
from a2a_grpc.wire import AgentCard

needed("langgraph.graph", "langgraph")
from langchain_core.runnables import RunnableConfig  # noqa: E402
from langgraph.pregel import Pregel  # noqa: E402

Graph: TypeAlias = Pregel | Callable[[], AbstractAsyncContextManager[Pregel]]
"""A compiled graph, or a function that opens one for each turn: a function under `@asynccontextmanager`."""


def agent_of(
    graph: Graph,
    name: str,
    description: str,
    *,
    version: str = "1.0.0",
    skill: str = "run",
    input: Callable[[Turn], Any] | None = None,
    output: Callable[[Any], Contents] | None = None,
    nodes: Sequence[str] = (),
    subgraphs: bool = False,
    history: bool = True,
    resumable: bool = False,
    config: RunnableConfig | None = None,
    input_modes: Sequence[str] = DEFAULT_MODES,
    output_modes: Sequence[str] = DEFAULT_MODES,
    card: AgentCard | None = None,
) -> Agent:
    """Return an agent that runs a graph for each message.

    The texts of the model's messages are streamed. An `interrupt` asks the user, and the next message resumes the
    graph. Each task has a thread of its own, `CONTEXT_ID/TASK_ID`, which begins with the state in which the earlier
    tasks of its conversation have left theirs.

    Args:
        graph: The compiled graph, or a function that opens it for each turn, for example with its checkpointer.
        name: The name of the agent.
        description: What the agent does.
        version: The version of the agent.
        skill: The id of the skill.
        input: The function that makes the input of the graph from the turn; by default `{"messages": [HumanMessage]}`.
        output: The function that makes the result from the final state. By default the result is what was streamed, or
            else the last message, or else the state.
        nodes: The nodes whose messages are streamed; empty for all.
        subgraphs: True to stream the messages of subgraphs while models write them. If False, a message of a subgraph
            comes as a whole, once a node returns it.
        history: False if a task shall not begin with the state of the conversation.
        resumable: True if a task goes on after a crash: from its last checkpoint, if the graph has a durable
            checkpointer, else from the beginning.
        config: Further configuration for each run, such as `recursion_limit` and `callbacks`.
        input_modes: The media types that the agent accepts, as in `Agent`.
        output_modes: The media types that the agent gives, as in `Agent`.
        card: Further fields of the agent card, as in `Agent`.

    Raises:
        TypeError: The graph is neither a compiled graph nor a function.
    """
    if not isinstance(graph, Pregel) and not _opens(graph):
        raise TypeError(
            f"{graph!r} is no compiled graph, and no function without arguments that opens one; call compile() on the "
            "graph first"
        )
    run = Run(OpenGraph(graph), input, output, frozenset(nodes), subgraphs, history, config or {})
    agent = Agent(
        name,
        description,
        version,
        input_modes=input_modes,
        output_modes=output_modes,
        resumable=resumable,
        card=card,
    )
    agent.skill(skill, description=description)(run)
    return agent


def _opens(graph: object) -> bool:
    """Return True for a function that can be called without arguments."""
    if not callable(graph):
        return False
    try:
        inspect.signature(graph).bind()
    except (TypeError, ValueError):
        return False
    return True
