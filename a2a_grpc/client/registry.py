"""The registry of a sentinel, as a client calls it."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc.aio
from google.protobuf.message import DecodeError

from a2a_grpc.client.client import Client
from a2a_grpc.client.connecting import connect, load_settings
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.pages import Pages
from a2a_grpc.client.security import Given
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.status import ending_of, failure_of, to_error
from a2a_grpc.client.target import grpc_address, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, InvalidAgentResponseError, UnimplementedError
from a2a_grpc.registry.wire import (
    FindRequest,
    GetRequest,
    ListRequest,
    RegisteredAgent,
    RegistryStub,
)
from a2a_grpc.wire import AgentCard

REGISTRY_URL = "REGISTRY_URL"
"""The environment variable that names a registry if neither the caller nor `A2A_GRPC_SENTINEL` does."""
PAGE_SIZE = 100
MAX_PAGES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAgent:
    """An agent in a registry.

    Attributes:
        name: The logical address of an attached agent, or the name under which another agent is registered.
        url: The URL of the agent's card, or the address of its gRPC; empty for an attached agent.
        sentinel: The address of the sentinel at which an attached agent is called; empty for others.
        tenant: The tenant of requests to the agent.
        card: The agent's card; None if the registry does not have the card yet.
    """

    name: str
    url: str = ""
    sentinel: str = ""
    tenant: str = ""
    card: AgentCard | None = field(default=None, repr=False)

    @property
    def target(self) -> str:
        """What `connect` takes: the URL, or the logical address."""
        return self.url or self.name

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that `connect` needs for this agent."""
        if not self.url:
            return {"sentinel": self.sentinel}
        return {"tenant": self.tenant} if self.tenant else {}

    def connect(self, **settings: Any) -> Client:
        """Return a client of the agent. Use it in an `async with` block.

        Args:
            **settings: The arguments of `connect`, without the target.

        Raises:
            ConfigurationError: The registry has an address that cannot be called.
        """
        return connect(self.target, **{**self.settings, **settings})


class Registry:
    """Calls the registry of a sentinel. Use it in an `async with` block, which opens and closes the connection.

    Example:
        async with Registry("127.0.0.1:8000") as registry:
            async for agent in registry.find(skill="translate"):
                print(agent.name)

    Args:
        address: HOST:PORT or URL of the registry; by default that of `A2A_GRPC_SENTINEL`, then of `REGISTRY_URL`.
        credentials: Credentials for each call, as `connect` takes them.
        headers: gRPC metadata of every call.
        settings: The settings of the client; by default those of the environment.

    Raises:
        ConfigurationError: No registry is named, or the address is wrong.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: Given | None = None,
        headers: Metadata = (),
        settings: ClientSettings | None = None,
    ) -> None:
        settings = settings or load_settings({})
        self._address = registry_at(address, settings)
        self._client = Client(self._address, settings, credentials=credentials, headers=headers)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. The block calls this."""
        await self._client.close()

    @property
    def address(self) -> str:
        """The address of the registry, where attached agents are called, too."""
        return self._address

    async def get(self, name: str) -> FoundAgent:
        """Return the agent with a name.

        Args:
            name: The name.

        Raises:
            NoAgentFound: There is no such agent that the caller may call.
            A2AError: The registry does not answer, or refuses the call.
        """
        return self._found(await self.call("Get", GetRequest(name=name)))

    async def list(self) -> AsyncGenerator[FoundAgent, None]:
        """Yield all agents, in the order of their names.

        Raises:
            A2AError: The registry does not answer, or refuses the call.
        """
        async for agent in self._all("List", ListRequest(page_size=PAGE_SIZE)):
            yield agent

    async def find(
        self, *, skill: str = "", tags: Sequence[str] = (), query: str = ""
    ) -> AsyncGenerator[FoundAgent, None]:
        """Yield the agents that meet all conditions that are given, those with most words of the query first.

        Args:
            skill: The id of a skill.
            tags: Tags of the agent's skills.
            query: Words of which the agent's card has at least one.

        Raises:
            A2AError: The registry does not answer, or refuses the call.
        """
        request = FindRequest(skill=skill, tags=tags, text=query, page_size=PAGE_SIZE)
        async for agent in self._all("Find", request):
            yield agent

    async def call(self, method: str, request: Any) -> Any:
        """Call a method of the registry's service. Return its response.

        Args:
            method: The name of the method.
            request: The request.

        Raises:
            A2AError: The registry does not answer, or refuses the call.
        """
        stub: Any = RegistryStub((await self._client.link()).channel)
        metadata = await self._client.metadata()
        try:
            return await getattr(stub, method)(request, metadata=metadata, timeout=self._client.settings.timeout_s)
        except grpc.aio.AioRpcError as failure:
            raise await self._failed(failure) from failure

    @asynccontextmanager
    async def stream(self, method: str) -> AsyncIterator[Any]:
        """Open a stream in both directions, for as long as the block runs. The block gets gRPC's call.

        Args:
            method: The name of the method.

        Raises:
            A2AError: The registry does not answer, or has refused or ended the stream.
        """
        stub: Any = RegistryStub((await self._client.link()).channel)
        call = getattr(stub, method)(metadata=await self._client.metadata())
        ending = ending_of(call)
        try:
            yield call
        except (asyncio.InvalidStateError, grpc.RpcError, grpc.aio.BaseError) as failure:
            raise await self._failed(await failure_of(ending)) from failure
        finally:
            call.cancel()

    async def _failed(self, failure: grpc.aio.AioRpcError) -> A2AError:
        """Return the error of a call that has failed."""
        error: A2AError = to_error(failure)
        if isinstance(error, UnimplementedError):
            error.say(f"{self._address} speaks gRPC, but has no registry of a sentinel")
        return await self._client.explained(error)

    async def _all(self, method: str, request: ListRequest | FindRequest) -> AsyncGenerator[FoundAgent, None]:
        pages: Pages[RegisteredAgent] = Pages(self.call, method, request, "agents", max_pages=MAX_PAGES)
        async with aclosing(pages) as agents:
            async for agent in agents:
                yield self._found(agent)

    def _found(self, agent: RegisteredAgent) -> FoundAgent:
        try:
            card = AgentCard.FromString(agent.card) if agent.card else None
        except DecodeError:
            raise InvalidAgentResponseError(f"the card of '{agent.name}' in the registry is no AgentCard") from None
        sentinel = self._address if agent.attached else ""
        return FoundAgent(name=agent.name, url=agent.url, sentinel=sentinel, tenant=agent.tenant, card=card)


def registry_at(address: str | None, settings: ClientSettings) -> str:
    """Return the target of a registry.

    Args:
        address: HOST:PORT or URL of the registry, if the caller has named one.
        settings: The settings of the client, which may name a sentinel.

    Raises:
        ConfigurationError: No registry is named, or its address is wrong.
    """
    given = address or settings.sentinel or os.environ.get(REGISTRY_URL, "")
    if not given:
        raise ConfigurationError(
            f"no registry is named: give --registry HOST:PORT, or set A2A_GRPC_SENTINEL or {REGISTRY_URL}"
        )
    try:
        found = grpc_address(given)
    except ConfigurationError as error:
        raise ConfigurationError(f"registry is '{shown(given)}': {error}") from None
    return f"grpcs://{found}" if found.tls else str(found)
