"""Many agents by name, over as few connections as there are agents."""

import asyncio
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from a2a_grpc.arguments import Parameters, checked
from a2a_grpc.client.blocking import BlockingClient, Portal
from a2a_grpc.client.client import CONNECT_ARGUMENTS, Client, connect, load_settings
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.remote import RemoteAgent
from a2a_grpc.client.target import Address, parse, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import AgentCard


@dataclass(frozen=True, slots=True, repr=False)
class Discovered:
    """What became of one URL: its card, or why there is none."""

    url: str
    card: AgentCard | None
    error: A2AError | ConfigurationError | None

    def __repr__(self) -> str:
        """The URL without its secrets, and of the card its name."""
        name = self.card.name if self.card else None
        return f"Discovered(url={shown(self.url)!r}, card={name!r}, error={self.error!r})"


@checked()
class ClientManager:
    """Named agents. `settings` are those of `connect`, for all of them.

        async with ClientManager() as agents:
            agents.register("poet", "https://poet.example")
            print(await agents.agent("poet").run("a haiku"))

    Guarantees:

    - Safe from any number of tasks, event loops and threads.
    - One channel per target in an event loop, however many names it has; one event loop for all threads that have none.
    - `close` closes what the manager opened, in whichever event loop, and nothing else; for good: whoever asks for an
      agent afterwards gets a RuntimeError, so that no thread of a program that ends opens a connection anew.
    """

    def __init__(self, **settings: object) -> None:
        Parameters(connect, "ClientManager").check((), settings)
        load_settings({name: value for name, value in settings.items() if name not in CONNECT_ARGUMENTS})
        self._settings: dict[str, Any] = settings
        self._lock = threading.Lock()
        self._targets: dict[str, str] = {}
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
        """For a program without an event loop."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run(self.close())

    @property
    def names(self) -> list[str]:
        """The registered names, in order of registration."""
        with self._lock:
            return list(self._targets)

    def register(self, name: str, target: str) -> None:
        """Gives a target a name. The same again changes nothing; another target under a taken name, or one that cannot
        be, is a ConfigurationError."""
        parse(target)
        with self._lock:
            if self._targets.setdefault(name, target) != target:
                raise ConfigurationError(f"agent '{name}' is registered as '{shown(self._targets[name])}' already")

    def get(self, name: str) -> Client:
        """The client of a named agent for the running event loop. Raises ConfigurationError for an unknown name,
        RuntimeError once the manager is closed."""
        place = (asyncio.get_running_loop(), self._target(name))
        with self._lock:
            self._check_open()
            for loop, target in [place for place in self._clients if place[0].is_closed()]:
                del self._clients[loop, target]  # what is left of it closes with the channel
            client = self._clients.get(place)
            if client is None:
                client = self._clients[place] = connect(place[1], **self._settings)
            return client

    def agent(self, name: str) -> RemoteAgent:
        """The named agent, for the running event loop."""
        return RemoteAgent(name=name, client=self.get(name))

    def blocking(self, name: str) -> BlockingClient:
        """The client of a named agent for threads without an event loop. The manager closes it. Raises as `get`."""
        target = self._target(name)
        with self._lock:
            self._check_open()
            client = self._blocking.get(target)
            if client is None:
                self._portal = self._portal or Portal()
                client = self._blocking[target] = BlockingClient(target, portal=self._portal, **self._settings)
            return client

    async def discover(self, urls: Iterable[str], *, timeout_s: float = 5.0) -> list[Discovered]:
        """Fetches the cards at all URLs at the same time, each within `timeout_s`: one result for each, in their order.

        Nothing is raised for a URL: what went wrong is in its result. An agent that answered is registered under its
        card's name, unless the card has none or the name is taken.
        """
        async with Cards(timeout_s=timeout_s, ca_cert=self._settings.get("ca_cert")) as cards:
            found = await asyncio.gather(*(_discover(cards, url, timeout_s) for url in urls))
        for one in found:
            if one.card is not None and one.card.name:
                with self._lock:
                    self._targets.setdefault(one.card.name, one.url)
        return found

    async def close(self) -> None:
        """Closes every client, for good. Tasks go on."""
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

    def _check_open(self) -> None:
        """Under the lock."""
        if self._is_closed:
            raise RuntimeError("the manager is closed")

    def _target(self, name: str) -> str:
        with self._lock:
            try:
                return self._targets[name]
            except KeyError:
                known = ", ".join(self._targets) or "none"
                raise ConfigurationError(f"there is no agent '{name}'; registered are: {known}") from None


async def _discover(cards: Cards, url: str, timeout_s: float) -> Discovered:
    try:
        where = parse(url)
        if isinstance(where, Address):
            raise ConfigurationError(f"'{shown(url)}' is an address; cards are at http(s):// URLs")
        async with asyncio.timeout(timeout_s):
            card = await cards.load(where)
    except TimeoutError:
        return Discovered(url, None, UnreachableError(f"{shown(url)} does not answer within {timeout_s:g} s"))
    except (A2AError, ConfigurationError) as error:
        return Discovered(url, None, error)
    return Discovered(url, card, None)


def _close_blocking(portal: Portal, clients: list[BlockingClient]) -> None:
    for client in clients:
        client.close()
    portal.close()
