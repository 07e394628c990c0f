"""The agent card over HTTP, and the server that behaves as its card says (spec §4.4.1, §8)."""

import json
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from google.protobuf import json_format

from a2a_grpc import Agent, Turn
from a2a_grpc.config import ConfigurationError
from a2a_grpc.server import ServerSettings
from a2a_grpc.wire import (
    A2AServiceStub,
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    ListTasksRequest,
)
from tests.covers import covers
from tests.harness import V1, Served, elements, refusal, request, scripted_agent, serving
from tests.spec.required import faults

PATH = "/.well-known/agent-card.json"
HTTP = "127.0.0.1:0"


def agent_with(card: AgentCard | None = None, *, streaming: bool = True, description: str = "Echoes.") -> Agent:
    """An agent with one skill of which everything is said."""
    agent = Agent("Echo", description, "2.1.0", card=card, streaming=streaming)

    @agent.skill("echo", tags=["test"], examples=["hello"], input_modes=["text/plain"], output_modes=["text/plain"])
    async def echo(turn: Turn) -> str:
        """Says it again."""
        return turn.text

    return agent


@pytest.fixture
async def served_http() -> AsyncIterator[Served]:
    """The agent above with its HTTP listener on a free port."""
    async with serving(agent_with(), http_listen=HTTP) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def get(
    http: aiohttp.ClientSession, served: Served, *, method: str = "GET", path: str = PATH, **headers: str
) -> tuple[int, Any, bytes]:
    """Status, headers, body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.request(method, f"{served.server.http_url}{path}", headers=named) as response:
        return response.status, response.headers, await response.read()


async def published(http: aiohttp.ClientSession, served: Served) -> AgentCard:
    """The card as clients get it; unknown JSON names are errors."""
    _, _, body = await get(http, served)
    return json_format.Parse(body, AgentCard())


@covers("CARD-1", "CARD-2")
async def test_the_well_known_path_serves_the_card_as_json(served_http: Served, http: aiohttp.ClientSession) -> None:
    status, headers, body = await get(http, served_http)
    assert status == 200
    assert headers["Content-Type"].partition(";")[0] == "application/json"
    assert json_format.Parse(body, AgentCard()) == served_http.server.card


@covers("CARD-2")
async def test_the_json_has_the_names_of_the_contract(served_http: Served, http: aiohttp.ClientSession) -> None:
    _, _, body = await get(http, served_http)
    card = json.loads(body)
    address = served_http.server.grpc_address
    assert card["supportedInterfaces"] == [{"url": address, "protocolBinding": "GRPC", "protocolVersion": "1.0"}]
    assert (card["name"], card["description"], card["version"]) == ("Echo", "Echoes.", "2.1.0")
    assert card["capabilities"]["streaming"] is True
    assert card["capabilities"]["pushNotifications"] is False
    assert card["capabilities"]["extendedAgentCard"] is False
    assert card["defaultInputModes"] == ["text/plain", "application/json"]
    assert card["defaultOutputModes"] == ["text/plain", "application/json"]
    assert card["skills"] == [
        {
            "id": "echo",
            "name": "Echo",
            "description": "Says it again.",
            "tags": ["test"],
            "examples": ["hello"],
            "inputModes": ["text/plain"],
            "outputModes": ["text/plain"],
        }
    ]


@covers("CARD-3", "CARD-6")
async def test_the_response_has_its_validators_and_a_lifetime(http: aiohttp.ClientSession) -> None:
    async with serving(agent_with(), http_listen=HTTP, card_max_age_s=7) as served:
        _, headers, _ = await get(http, served)
        assert "max-age=7" in headers["Cache-Control"].replace(" ", "").split(",")
        assert headers["ETag"].startswith('"')
        assert headers["ETag"].endswith('"')
        assert len(headers["ETag"]) > 10
        modified = parsedate_to_datetime(headers["Last-Modified"])
        assert modified.timestamp() <= time.time() + 1
        assert headers["Last-Modified"].endswith(" GMT")


@covers("CARD-3")
async def test_the_etag_follows_the_content(http: aiohttp.ClientSession) -> None:
    etags = []
    for description in ("Echoes.", "Echoes.", "Repeats."):
        agent = agent_with(description=description)
        async with serving(agent, http_listen=HTTP, advertise="echo.example:443") as served:
            etags += [(await get(http, served))[1]["ETag"], (await get(http, served))[1]["ETag"]]
    assert etags[0] == etags[1] == etags[2] == etags[3]
    assert etags[4] == etags[5] != etags[0]


@covers("CARD-6")
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"other",W/{} , "more"', "*"])
async def test_a_card_that_the_client_has_is_not_sent_again(
    served_http: Served, http: aiohttp.ClientSession, form: str
) -> None:
    _, first, _ = await get(http, served_http)
    status, headers, body = await get(http, served_http, If_None_Match=form.format(first["ETag"]))
    assert (status, body) == (304, b"")
    for name in ("ETag", "Cache-Control", "Last-Modified"):
        assert headers[name] == first[name]


@covers("CARD-6")
@pytest.mark.parametrize("form", ['"other"', 'W/"other"', "{bare}", ""])
async def test_a_client_with_another_card_gets_this_one(
    served_http: Served, http: aiohttp.ClientSession, form: str
) -> None:
    _, first, content = await get(http, served_http)
    bare = first["ETag"].strip('"')
    status, _, body = await get(http, served_http, If_None_Match=form.format(bare=bare))
    assert (status, body) == (200, content)


@covers("CARD-6")
async def test_head_tells_the_same_without_the_card(served_http: Served, http: aiohttp.ClientSession) -> None:
    _, full, content = await get(http, served_http)
    status, headers, body = await get(http, served_http, method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["Content-Length"] == str(len(content))
    for name in ("ETag", "Cache-Control", "Last-Modified", "Content-Type"):
        assert headers[name] == full[name]
    status, headers, _ = await get(http, served_http, method="HEAD", If_None_Match=full["ETag"])
    assert (status, headers["ETag"]) == (304, full["ETag"])


@covers("CARD-2")
async def test_the_card_is_read_only_and_other_paths_are_not_there(
    served_http: Served, http: aiohttp.ClientSession
) -> None:
    assert (await get(http, served_http, method="POST"))[0] == 405
    assert (await get(http, served_http, method="DELETE"))[0] == 405
    assert (await get(http, served_http, path="/"))[0] == 404
    assert (await get(http, served_http, path="/.well-known/../etc/passwd"))[0] == 404


@covers("CARD-7", "CARD-8")
async def test_the_address_in_the_card_is_the_one_that_answers(
    served_http: Served, http: aiohttp.ClientSession
) -> None:
    card = await published(http, served_http)
    interface = card.supported_interfaces[0]
    host, _, port = interface.url.rpartition(":")
    assert (host, interface.protocol_binding) == ("127.0.0.1", "GRPC")
    assert int(port) > 0
    async with grpc.aio.insecure_channel(interface.url) as channel:
        listing = ListTasksRequest(tenant=interface.tenant)
        metadata = (("a2a-version", interface.protocol_version),)
        assert (await A2AServiceStub(channel).ListTasks(listing, metadata=metadata)).total_size == 0


@covers("CARD-8")
@pytest.mark.parametrize(
    ("advertise", "url"),
    [
        ("agent.example:8443", "agent.example:8443"),
        ("https://agent.example", "agent.example:443"),
        ("https://agent.example/a2a/v1", "agent.example:443"),
        ("https://agent.example:8443/a2a", "agent.example:8443"),
        ("http://agent.example", "agent.example:80"),
        ("grpc://agent.example", "agent.example:50051"),
        ("grpc://agent.example:7", "agent.example:7"),
        ("grpcs://agent.example/", "agent.example:443"),
        ("192.0.2.7:50051", "192.0.2.7:50051"),
        ("[2001:db8::7]:50051", "[2001:db8::7]:50051"),
        ("https://[2001:db8::7]", "[2001:db8::7]:443"),
        ("grpc://[2001:db8::7]:7/x", "[2001:db8::7]:7"),
    ],
)
async def test_the_advertised_address_is_host_and_port_in_whatever_form_it_was_given(advertise: str, url: str) -> None:
    async with serving(agent_with(), advertise=advertise) as served:
        assert [interface.url for interface in served.server.card.supported_interfaces] == [url]


@covers("CARD-8")
@pytest.mark.parametrize(
    "advertise",
    [
        *("agent.example", "ftp://agent.example", "https://", "agent.example:70000", "2001:db8::7:50051"),
        *("", " ", "\u0661:1", "\x1b[31m:1", "a b:1", "grpc://a\tb", "\udcff:1", "a" * 5000 + ":1"),
    ],
)
def test_an_advertised_address_that_is_none_is_refused(advertise: str) -> None:
    with pytest.raises(ConfigurationError, match="advertise") as refused:
        ServerSettings(advertise=advertise)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("tenant", ["a" * 257, "\x1b[31m", "a\0b", "\udcff"])
def test_a_tenant_that_no_call_can_name_is_refused(tenant: str) -> None:
    with pytest.raises(ConfigurationError, match="tenant is '") as refused:
        ServerSettings(tenant=tenant)
    assert str(refused.value).isprintable()


@covers("CARD-7")
async def test_further_interfaces_come_after_the_servers_own() -> None:
    other = AgentInterface(url="https://a.example/rpc", protocol_binding="JSONRPC", protocol_version="1.0")
    async with serving(agent_with(AgentCard(supported_interfaces=[other])), tenant="acme") as served:
        own, further = served.server.card.supported_interfaces
        assert (own.url, own.tenant) == (served.server.grpc_address, "acme")
        assert further == other


@covers("CARD-9")
async def test_every_required_field_is_there(served_http: Served, http: aiohttp.ClientSession) -> None:
    assert faults(await published(http, served_http)) == []
    async with serving(scripted_agent(), http_listen=HTTP) as scripted:
        assert faults(await published(http, scripted)) == []


@covers("CARD-9")
async def test_a_skill_of_which_nothing_is_said_has_its_required_fields(http: aiohttp.ClientSession) -> None:
    agent = Agent("Bare", "Says little.")

    @agent.skill()
    async def do_it(turn: Turn) -> None:
        return None

    async with serving(agent, http_listen=HTTP) as served:
        card = await published(http, served)
        assert faults(card) == []
        assert [(skill.id, skill.name, list(skill.tags)) for skill in card.skills] == [("do_it", "Do it", ["do_it"])]


@covers("CARD-9")
@pytest.mark.parametrize("field", ["name", "description", "version"])
async def test_an_agent_without_a_required_field_is_not_served(field: str) -> None:
    agent = agent_with()
    setattr(agent, field, "")
    with pytest.raises(ConfigurationError, match=field):
        async with serving(agent):
            pass


@covers("CARD-9", "OPEN-21")
async def test_an_agent_without_skills_is_not_served() -> None:
    with pytest.raises(ConfigurationError, match="no skill"):
        async with serving(Agent("Empty", "Can do nothing.")):
            pass


@covers("CARD-11")
async def test_what_the_template_says_is_served(http: aiohttp.ClientSession) -> None:
    template = AgentCard(
        name="ignored",
        provider=AgentProvider(url="https://example.org", organization="Example"),
        documentation_url="https://docs.example.org",
        icon_url="https://example.org/icon.png",
        capabilities=AgentCapabilities(extensions=[AgentExtension(uri="urn:x:1", description="X.")]),
        default_input_modes=["text/*"],
    )
    before = AgentCard()
    before.CopyFrom(template)
    async with serving(agent_with(template), http_listen=HTTP) as served:
        card = await published(http, served)
    assert (card.name, card.provider.organization) == ("Echo", "Example")
    assert (card.documentation_url, card.icon_url) == ("https://docs.example.org", "https://example.org/icon.png")
    assert list(card.default_input_modes) == ["text/*"]
    assert "urn:x:1" in [extension.uri for extension in card.capabilities.extensions]
    assert template == before


@covers("CARD-11")
@pytest.mark.parametrize(
    "agent",
    [agent_with(streaming=False), agent_with(AgentCard(capabilities=AgentCapabilities(streaming=False)))],
    ids=["declared", "in the template"],
)
async def test_without_streaming_in_the_card_streams_are_refused_and_the_rest_works(
    agent: Agent, http: aiohttp.ClientSession
) -> None:
    async with serving(agent, http_listen=HTTP) as served:
        card = await published(http, served)
        assert card.capabilities.HasField("streaming")
        assert card.capabilities.streaming is False
        for call in (served.stream(request()), served.subscribe("t-1")):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
            assert refused.metadata == {"capability": "streaming"}
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0
        assert (await served.send(request("hi"))).task.artifacts[0].parts[0].text == "hi"


@covers("CARD-11")
async def test_with_streaming_in_the_card_streams_are_served() -> None:
    template = AgentCard(capabilities=AgentCapabilities(streaming=True))
    async with serving(agent_with(template, streaming=False)) as served:
        assert served.server.card.capabilities.streaming is True
        assert (await elements(served.stream(request())))[0].WhichOneof("payload") == "task"


@covers("CARD-11")
async def test_the_media_types_of_the_card_are_those_that_are_taken() -> None:
    template = AgentCard(default_input_modes=["image/*"])
    async with serving(agent_with(template)) as served:
        picture = request("look")
        picture.message.parts.add(raw=b"x", media_type="image/png")
        assert (await served.send(picture)).task.artifacts
        sound = request("listen")
        sound.message.parts.add(raw=b"x", media_type="audio/ogg")
        assert (await refusal(served.send(sound))).reason == "CONTENT_TYPE_NOT_SUPPORTED"


@covers("CARD-5")
async def test_the_card_tells_nothing_of_how_the_server_was_started(
    served_http: Served, http: aiohttp.ClientSession
) -> None:
    _, headers, body = await get(http, served_http)
    assert b"memory:" not in body
    assert served_http.server.http_url is not None
    assert served_http.server.http_url.encode() not in body
    assert "Set-Cookie" not in headers
