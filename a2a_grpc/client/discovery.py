"""Discover agents: fetch the cards at several URLs, or of all agents in a registry, at the same time."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from a2a_grpc.client.connection import cards_for
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.registry import FoundAgent, Registry
from a2a_grpc.client.security import Given
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address, CardUrl, parse, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import AgentCard


@dataclass(frozen=True, slots=True, repr=False)
class Discovered:
    """The result of `ClientManager.discover` for one URL.

    Attributes:
        url: The URL.
        card: The agent's card; None if there is none.
        error: The reason why there is no card; None if there is one.
    """

    url: str
    card: AgentCard | None
    error: A2AError | ConfigurationError | None

    def __repr__(self) -> str:
        """Return a text with the URL without its secrets, and the name on the card."""
        name = self.card.name if self.card else None
        return f"Discovered(url={shown(self.url)!r}, card={name!r}, error={self.error!r})"


async def discover_urls(
    urls: Iterable[str], settings: ClientSettings, timeout_s: float, credentials: Given | None = None
) -> list[Discovered]:
    """Return a result for each URL, in their order. A server that asks for credentials gets those that are given."""
    async with cards_for(settings, timeout_s) as cards:
        return await asyncio.gather(*(_discover(cards, url, timeout_s, credentials) for url in urls))


async def discover_registry(
    registry: str,
    settings: ClientSettings,
    timeout_s: float,
    *,
    credentials: Given | None = None,
    headers: Metadata = (),
) -> list[tuple[FoundAgent | None, Discovered]]:
    """Return each agent in a registry with its result. If the registry fails, return None with the error.

    The registry gets the credentials. The agents that it names get none.
    """
    found: dict[str, FoundAgent] = {}
    try:
        async with (
            asyncio.timeout(timeout_s),
            Registry(registry, settings=settings, credentials=credentials, headers=headers) as opened,
        ):
            async for agent in opened.list():
                found.setdefault(agent.name, agent)
    except TimeoutError:
        late = UnreachableError(f"{shown(registry)} does not answer within {timeout_s:g} s")
        return [(None, Discovered(registry, None, late))]
    except (A2AError, ConfigurationError) as error:
        return [(None, Discovered(registry, None, error))]
    async with cards_for(settings, timeout_s) as cards:
        results = await asyncio.gather(*(discover_agent(cards, agent, timeout_s) for agent in found.values()))
    return list(zip(found.values(), results, strict=True))


async def _discover(cards: Cards, url: str, timeout_s: float, credentials: Given | None = None) -> Discovered:
    try:
        where = parse(url)
        if isinstance(where, Address):
            raise ConfigurationError(f"'{shown(url)}' is an address; cards are at http(s):// URLs")
        async with asyncio.timeout(timeout_s):
            card = await cards.load(where, credentials)
    except TimeoutError:
        return Discovered(url, None, UnreachableError(f"{shown(url)} does not answer within {timeout_s:g} s"))
    except (A2AError, ConfigurationError) as error:
        return Discovered(url, None, error)
    return Discovered(url, card, None)


async def discover_agent(cards: Cards, agent: FoundAgent, timeout_s: float) -> Discovered:
    """Return the result for an agent of a registry. A card at a URL is fetched, so that the agent is known to answer.

    Of an agent at a sentinel, or with the address of its gRPC, the registry has the card. No credentials go to a URL
    that the registry names, since any agent can register one.
    """
    if agent.url and isinstance(parse(agent.url), CardUrl):
        return await _discover(cards, agent.url, timeout_s)
    return Discovered(agent.target, agent.card, None)
