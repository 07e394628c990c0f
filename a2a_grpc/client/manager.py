"""Many agents by name, with one client for each."""

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from a2a_grpc.arguments import Parameters, checked
from a2a_grpc.client.blocking import BlockingClient
from a2a_grpc.client.client import Client
from a2a_grpc.client.connecting import CONNECT_ARGUMENTS, connect, load_settings
from a2a_grpc.client.discovery import Discovered, discover_registry, discover_urls
from a2a_grpc.client.portal import Portal
from a2a_grpc.client.remote import RemoteAgent
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.target import parse, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.logical import is_logical


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
        self._settings: dict[str, Any] = settings
        self._loaded()  # refuses a wrong setting here, not at the first call
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
            shown_to = {name: self._settings[name] for name in ("credentials", "headers") if name in self._settings}
            agents = await discover_registry(urls, self._loaded(), timeout_s, **shown_to)
            with self._lock:
                for agent, result in agents:
                    if agent is None or result.error is not None:
                        continue
                    if self._targets.setdefault(agent.name, agent.target) == agent.target:
                        self._extras[agent.target] = agent.settings
            return [result for _, result in agents]
        found = await discover_urls(urls, self._loaded(), timeout_s, self._settings.get("credentials"))
        with self._lock:
            for one in found:
                if one.card is not None and one.card.name:
                    self._targets.setdefault(one.card.name, one.url)
        return found

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


def _close_blocking(portal: Portal, clients: list[BlockingClient]) -> None:
    for client in clients:
        client.close()
    portal.close()
