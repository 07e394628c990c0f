"""Many agents by name, with one client for each."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from a2a_grpc.arguments import Parameters, checked
from a2a_grpc.client.blocking import BlockingClient
from a2a_grpc.client.client import CONNECT_ARGUMENTS, Client, connect, load_settings
from a2a_grpc.client.connection import cards_for
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.portal import Portal
from a2a_grpc.client.registry import FoundAgent, Registry
from a2a_grpc.client.remote import RemoteAgent
from a2a_grpc.client.security import Given
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import Address, CardUrl, parse, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.logical import is_logical
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


@checked()
class ClientManager:
    """Agents by name. The manager opens a client for each of them when it is needed, and closes all clients.

    Use it in an `async with` block, or in a `with` block of a program without an event loop.

    Guarantees:

    - It may be used by any number of tasks, event loops and threads.
    - In an event loop, a target has one client, even if it has several names. All threads without an event loop share
      one thread that holds their clients.
    - `close` closes the clients that the manager opened, in all event loops. Later calls raise RuntimeError, so that a
      program that ends opens no connections.

    Example:
        async with ClientManager() as agents:
            agents.register("poet", "https://poet.example")
            print(await agents.agent("poet").run("a haiku"))

    Args:
        **settings: The arguments of `connect` for all agents: credentials and so on, and fields of ClientSettings.

    Raises:
        TypeError: No setting has a name that was given.
        ConfigurationError: A setting has a value that is not possible.
    """

    def __init__(self, **settings: object) -> None:
        Parameters(connect, "ClientManager").check((), settings)
        load_settings({name: value for name, value in settings.items() if name not in CONNECT_ARGUMENTS})
        self._settings: dict[str, Any] = settings
        self._lock = threading.Lock()
        self._targets: dict[str, str] = {}
        self._extras: dict[str, dict[str, Any]] = {}
        """Settings for targets that a registry has named."""
        self._clients: dict[tuple[asyncio.AbstractEventLoop, str], Client] = {}
        self._blocking: dict[str, BlockingClient] = {}
        self._portal: Portal | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        """Begin the block of a program without an event loop."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run(self.close())

    @property
    def names(self) -> list[str]:
        """The registered names, in the order of their registration."""
        with self._lock:
            return list(self._targets)

    def register(self, name: str, target: str) -> None:
        """Give a target a name. The same pair again changes nothing. No connection is opened.

        Args:
            name: The name.
            target: The agent, as `connect` takes it.

        Raises:
            ConfigurationError: Another target has this name, or the target has none of the forms that `connect` takes.
        """
        if not is_logical(target):
            parse(target)
        with self._lock:
            if self._targets.setdefault(name, target) != target:
                raise ConfigurationError(f"agent '{name}' is registered as '{shown(self._targets[name])}' already")

    def get(self, name: str) -> Client:
        """Return the client of an agent, for the running event loop.

        Args:
            name: The name of the agent.

        Raises:
            ConfigurationError: No agent has this name.
            RuntimeError: The manager is closed, or no event loop runs.
        """
        place = (asyncio.get_running_loop(), self._target(name))
        with self._lock:
            self._check_open()
            for loop, target in [place for place in self._clients if place[0].is_closed()]:
                del self._clients[loop, target]  # what is left of it closes with the channel
            client = self._clients.get(place)
            if client is None:
                client = self._clients[place] = connect(place[1], **self._settings_for(place[1]))
            return client

    def agent(self, name: str) -> RemoteAgent:
        """Return an agent, for the running event loop.

        Args:
            name: The name of the agent.

        Raises:
            ConfigurationError: No agent has this name.
            RuntimeError: The manager is closed, or no event loop runs.
        """
        return RemoteAgent(name=name, client=self.get(name))

    def blocking(self, name: str) -> BlockingClient:
        """Return the client of an agent, for threads without an event loop. The manager closes it.

        Args:
            name: The name of the agent.

        Raises:
            ConfigurationError: No agent has this name.
            RuntimeError: The manager is closed.
        """
        target = self._target(name)
        with self._lock:
            self._check_open()
            client = self._blocking.get(target)
            if client is None:
                self._portal = self._portal or Portal()
                client = self._blocking[target] = BlockingClient(
                    target, portal=self._portal, **self._settings_for(target)
                )
            return client

    async def discover(self, urls: Iterable[str] | str, *, timeout_s: float = 5.0) -> list[Discovered]:
        """Fetch the cards at several URLs, or of all agents in a registry, at the same time. Return a result for each.

        The results are in the order of the URLs, or in the order of names. An agent at a URL is registered under the
        name on its card, unless the card has no name or the name is taken. An agent of a registry is registered under
        its name there. A URL, or a registry, that fails raises nothing; the result has the error.

        Args:
            urls: The URLs of cards or agents, or paths of cards, as `connect` takes them. Or one text: HOST:PORT of a
                registry. A server of these URLs that asks for credentials gets those of the manager. The agents that a
                registry names get none.
            timeout_s: Seconds for each card, and for the list of the registry.
        """
        if isinstance(urls, str):
            return await self._discover_registry(urls, timeout_s)
        credentials = self._settings.get("credentials")
        async with cards_for(self._loaded(), timeout_s) as cards:
            found = await asyncio.gather(*(_discover(cards, url, timeout_s, credentials) for url in urls))
        for one in found:
            if one.card is not None and one.card.name:
                with self._lock:
                    self._targets.setdefault(one.card.name, one.url)
        return found

    async def _discover_registry(self, registry: str, timeout_s: float) -> list[Discovered]:
        """Return a result for each agent in a registry, and one with the error if the registry fails."""
        loaded = self._loaded()
        shown_to = {name: self._settings[name] for name in ("credentials", "headers") if name in self._settings}
        found: dict[str, FoundAgent] = {}
        try:
            async with asyncio.timeout(timeout_s), Registry(registry, settings=loaded, **shown_to) as opened:
                async for agent in opened.list():
                    found.setdefault(agent.name, agent)
        except TimeoutError:
            late = UnreachableError(f"{shown(registry)} does not answer within {timeout_s:g} s")
            return [Discovered(registry, None, late)]
        except (A2AError, ConfigurationError) as error:
            return [Discovered(registry, None, error)]
        async with cards_for(loaded, timeout_s) as cards:
            results = await asyncio.gather(*(_discover_agent(cards, agent, timeout_s) for agent in found.values()))
        with self._lock:
            for agent, result in zip(found.values(), results, strict=True):
                if result.error is None and self._targets.setdefault(agent.name, agent.target) == agent.target:
                    self._extras[agent.target] = agent.settings
        return results

    async def close(self) -> None:
        """Close all clients, for good. The agents' tasks go on. The block calls this."""
        with self._lock:
            self._is_closed = True
            clients, self._clients = self._clients, {}
            blocking, self._blocking = self._blocking, {}
            portal, self._portal = self._portal, None
        here = asyncio.get_running_loop()
        for (loop, _), client in clients.items():
            if loop is here:
                await client.close()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.close(), loop))
        if portal is not None:
            await asyncio.to_thread(_close_blocking, portal, list(blocking.values()))

    def _loaded(self) -> ClientSettings:
        """Return the settings of all clients."""
        return load_settings({name: it for name, it in self._settings.items() if name not in CONNECT_ARGUMENTS})

    def _settings_for(self, target: str) -> dict[str, Any]:
        return {**self._extras.get(target, {}), **self._settings}

    def _check_open(self) -> None:
        """Raise RuntimeError if the manager is closed. The caller holds the lock."""
        if self._is_closed:
            raise RuntimeError("the manager is closed")

    def _target(self, name: str) -> str:
        with self._lock:
            try:
                return self._targets[name]
            except KeyError:
                known = ", ".join(self._targets) or "none"
                raise ConfigurationError(f"there is no agent '{name}'; registered are: {known}") from None


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


async def _discover_agent(cards: Cards, agent: FoundAgent, timeout_s: float) -> Discovered:
    """Return the result for an agent of a registry. A card at a URL is fetched, so that the agent is known to answer.

    Of an agent at a sentinel, or with the address of its gRPC, the registry has the card. No credentials go to a URL
    that the registry names, since any agent can register one.
    """
    if agent.url and isinstance(parse(agent.url), CardUrl):
        return await _discover(cards, agent.url, timeout_s)
    return Discovered(agent.target, agent.card, None)


def _close_blocking(portal: Portal, clients: list[BlockingClient]) -> None:
    for client in clients:
        client.close()
    portal.close()
