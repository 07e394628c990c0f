"""Find the agent of a registry that fits best."""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

from a2a_grpc.arguments import checking
from a2a_grpc.client.connecting import load_settings
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.registry import FoundAgent, Registry
from a2a_grpc.client.security import Given
from a2a_grpc.errors import NoAgentFound

MAX_OFFERED = 1000
"""The number of agents that a selection function may choose from."""

Select: TypeAlias = Callable[[Sequence[FoundAgent], str], FoundAgent | Awaitable[FoundAgent | None] | None]
"""Chooses one of several agents for a query; None if no agent is suitable."""


@checking
async def find_agent(
    registry: str | None = None,
    *,
    skill: str = "",
    tags: Sequence[str] = (),
    query: str = "",
    select: Select | None = None,
    credentials: Given | None = None,
    headers: Metadata = (),
    **settings: object,
) -> FoundAgent:
    """Return the agent in a registry that fits best.

    Without a selection function this is the agent whose card has most words of the query. Agents with as many words
    are taken in the order of their names.

    Example:
        found = await find_agent("127.0.0.1:8000", skill="translate")
        async with found.connect() as agent:
            print(await agent.send("hello"))

    Args:
        registry: HOST:PORT or URL of the registry; by default that of `A2A_GRPC_SENTINEL`, then of `REGISTRY_URL`.
        skill: The id of a skill that the agent must have.
        tags: Tags that the agent's skills must have.
        query: What the agent is for, in words. A selection function gets the query as it is.
        select: A function that chooses one of the agents with the skill and the tags, or None. It may be a coroutine
            function, for example one that asks a language model.
        credentials: Credentials for the registry, as `connect` takes them.
        headers: gRPC metadata of every call.
        **settings: Fields of ClientSettings.

    Raises:
        NoAgentFound: No agent that the caller may call fits.
        ConfigurationError: No registry is named, or its address is wrong.
        A2AError: The registry does not answer, or refuses the call.
    """
    loaded = load_settings(settings)
    async with Registry(registry, credentials=credentials, headers=headers, settings=loaded) as opened:
        offered: list[FoundAgent] = []
        async with aclosing(opened.find(skill=skill, tags=tags, query="" if select else query)) as agents:
            async for agent in agents:
                offered.append(agent)
                if select is None or len(offered) == MAX_OFFERED:
                    break
    chosen: Any = offered[0] if offered else None
    if select is not None and offered:
        chosen = select(offered, query)
        if inspect.isawaitable(chosen):
            chosen = await chosen
    if chosen is None:
        raise no_agent(opened.address, skill, tags, query)
    if not isinstance(chosen, FoundAgent):
        raise TypeError(f"select returned a {type(chosen).__name__}; it must return one of the agents, or None")
    return chosen


def no_agent(registry: str, skill: str, tags: Sequence[str], query: str) -> NoAgentFound:
    """Return the error about a search that has found no agent.

    Args:
        registry: The address of the registry.
        skill: The id of the skill that was looked for.
        tags: The tags that were looked for.
        query: The words that were looked for.
    """
    conditions = [f"the skill '{skill}'"] * bool(skill) + [f"the tag '{tag}'" for tag in tags]
    conditions += [f"'{query[:200]}' in its card"] * bool(query)
    wanted = f" with {' and '.join(conditions)}" if conditions else ""
    return NoAgentFound(f"the registry {registry} has no agent that you may call{wanted}")
