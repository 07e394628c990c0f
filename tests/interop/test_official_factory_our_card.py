"""The official SDK's client factory, in this process, with the card that this server serves: what it makes of it.

What its client then does with the server is in test_official_client.py.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory, create_client

from a2a_grpc import Message, Part, Task, connect, text_of
from a2a_grpc.wire import (
    ROLE_USER,
    AgentCard,
    AgentInterface,
    CancelTaskRequest,
    GetTaskRequest,
    SendMessageRequest,
    StreamResponse,
)
from tests.client.peers import certificate
from tests.covers import covers
from tests.harness import Served, scripted, scripted_agent, serving


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The scripted agent with its card."""
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as running:
        yield running


def url_of(served: Served) -> str:
    assert served.server.http_url is not None
    return served.server.http_url


class Channels:
    """Opens channels as the factory asks for them, and remembers for what."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, url: str) -> grpc.aio.Channel:
        self.asked.append(url)
        return grpc.aio.insecure_channel(url, options=[("grpc.use_local_subchannel_pool", 1)])


@asynccontextmanager
async def made(card: AgentCard, **config: Any) -> AsyncIterator[Any]:
    """The client that the factory makes of a card."""
    config = {"supported_protocol_bindings": ["GRPC"], "grpc_channel_factory": Channels(), **config}
    client = ClientFactory(ClientConfig(**config)).create(card)
    try:
        yield client
    finally:
        await client.close()


async def resolved(served: Served) -> AgentCard:
    """The card as the SDK reads it."""
    async with httpx.AsyncClient() as http:
        card = await A2ACardResolver(http, url_of(served)).get_agent_card()
    assert isinstance(card, AgentCard)
    return card


async def answers(client: Any, request: SendMessageRequest) -> list[StreamResponse]:
    return [element async for element in client.send_message(request)]


def hello() -> SendMessageRequest:
    """A request made of this package's messages."""
    return SendMessageRequest(message=Message(message_id="m-1", role=ROLE_USER, parts=[Part(text="hello")]))


@covers("SEL-1")
async def test_the_factory_asks_for_a_channel_to_exactly_the_address_of_the_server(served: Served) -> None:
    """It hands the interface's url to the channel as it is: only `host:port` works."""
    channels = Channels()
    async with made(await resolved(served), grpc_channel_factory=channels) as client:
        elements = await answers(client, hello())

    assert channels.asked == [served.server.grpc_address]
    assert text_of(elements[-2].artifact_update.artifact) == "hello"


@covers("CARD-2")
async def test_the_sdks_shortest_way_from_a_url_to_a_client_works(served: Served) -> None:
    config = ClientConfig(supported_protocol_bindings=["GRPC"], grpc_channel_factory=Channels(), streaming=False)
    client = await create_client(url_of(served), client_config=config)
    try:
        [answer] = await answers(client, hello())
    finally:
        await client.close()

    assert isinstance(answer.task, Task)
    assert text_of(answer.task) == "hello"


@covers("CARD-2")
async def test_both_clients_read_the_same_card_and_each_can_use_the_others(served: Served) -> None:
    theirs = await resolved(served)
    async with connect(url_of(served)) as client:
        ours = await client.card()

    assert ours == theirs
    async with made(ours, streaming=False) as client:
        [answer] = await answers(client, hello())
    assert text_of(answer.task) == "hello"


@covers("SEL-1")
@pytest.mark.parametrize(
    "config",
    [
        {"supported_protocol_bindings": ["JSONRPC", "GRPC"]},
        {"supported_protocol_bindings": ["HTTP+JSON", "JSONRPC", "GRPC"], "use_client_preference": True},
    ],
    ids=["the server's order", "the client's order"],
)
async def test_a_factory_that_knows_several_bindings_chooses_grpc(served: Served, config: Any) -> None:
    channels = Channels()
    async with made(await resolved(served), grpc_channel_factory=channels, **config) as client:
        assert await answers(client, hello())
    assert channels.asked == [served.server.grpc_address]


@covers("SEL-1")
async def test_a_factory_that_knows_no_grpc_says_that_nothing_fits(served: Served) -> None:
    """This is the SDK's default."""
    with pytest.raises(ValueError, match="no compatible transports"):
        ClientFactory(ClientConfig()).create(await resolved(served))


@covers("SEL-4")
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
async def test_an_interface_of_an_older_version_in_the_same_card_is_passed_over(served: Served, first: bool) -> None:
    card = await resolved(served)
    older = AgentInterface(url="127.0.0.1:1", protocol_binding="GRPC", protocol_version="0.3")
    interfaces = [older, *card.supported_interfaces] if first else [*card.supported_interfaces, older]
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(interfaces)
    channels = Channels()

    async with made(card, grpc_channel_factory=channels) as client:
        await answers(client, hello())

    assert channels.asked == [served.server.grpc_address]


@covers("TEN-2")
async def test_the_tenant_of_the_card_goes_with_the_factorys_client() -> None:
    async with serving(scripted_agent(), http_listen="127.0.0.1:0", tenant="acme") as served:
        card = await resolved(served)
        async with made(card, streaming=False) as client:
            [answer] = await answers(client, scripted({"input": "?"}))
            task = await served.get(answer.task.id, tenant="acme")
            same = await client.get_task(GetTaskRequest(id=task.id))
            canceled = await client.cancel_task(CancelTaskRequest(id=task.id))

    assert [interface.tenant for interface in card.supported_interfaces] == ["acme"]
    assert same == task
    assert canceled.id == task.id


@covers("SEC-1")
async def test_the_factorys_client_speaks_tls_where_its_channels_do(tmp_path: Path) -> None:
    issued = certificate(tmp_path, "localhost", "127.0.0.1")
    settings = {"http_listen": "127.0.0.1:0", "tls_cert": issued.cert_file, "tls_key": issued.key_file}

    def secure(url: str) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(url, grpc.ssl_channel_credentials(issued.roots))

    roots = ssl.create_default_context(cafile=issued.roots_file)
    async with serving(scripted_agent(), **settings) as served, httpx.AsyncClient(verify=roots) as http:
        card = await A2ACardResolver(http, url_of(served)).get_agent_card()
        async with made(card, grpc_channel_factory=secure, streaming=False) as client:
            [answer] = await answers(client, hello())

    assert text_of(answer.task) == "hello"
