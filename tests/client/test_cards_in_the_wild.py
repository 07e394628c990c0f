"""Cards as they are met: whatever else is wrong with one, a gRPC interface that can be called is called."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import ClientManager, RemoteAgent, connect
from a2a_grpc.client import AgentCardError
from tests.cli.terminal import run
from tests.client.peers import Page, Site, card_json, interface_json, peering
from tests.covers import covers

Change = Callable[[dict[str, Any]], object]


def members(**changed: Any) -> Change:
    return lambda card: card.update(changed)


def interface(**changed: Any) -> Change:
    return lambda card: card["supportedInterfaces"][0].update(changed)


def without(*names: str) -> Change:
    return lambda card: [card.pop(name) for name in names]


def old_form(card: dict[str, Any]) -> None:
    [ours] = card.pop("supportedInterfaces")
    card.update(protocolVersion="1.0", url="https://a.example/rpc", preferredTransport="JSONRPC")
    card["additionalInterfaces"] = [None, 5, {}, {"url": ours["url"], "transport": "GRPC"}]


def old_form_preferred(card: dict[str, Any]) -> None:
    [ours] = card.pop("supportedInterfaces")
    card.update(protocolVersion="1.0.0", url=ours["url"], preferredTransport="grpc", additionalInterfaces=None)


def behind_others(card: dict[str, Any]) -> None:
    [ours] = card["supportedInterfaces"]
    others: list[Any] = [
        None, "grpc", [], interface_json("ftp://a.example"), interface_json("elsewhere.example:1"), interface_json(""),
        interface_json("https://a.example", binding="JSONRPC"),
    ]  # fmt: skip
    card["supportedInterfaces"] = [*others, ours]


SCHEMES = {"k": {"apiKeySecurityScheme": {"name": 1, "location": ["header"]}}, "x": "basic", "y": None}

CARDS: dict[str, Change] = {
    "no skills": members(skills=[]),
    "nothing but the interface": without(
        "name", "description", "version", "capabilities", "skills", "defaultInputModes", "defaultOutputModes"
    ),
    "empty texts": members(name="", description="", version=""),
    "a skill without tags and description": members(skills=[{"id": "s", "name": "S"}]),
    "nulls": members(name=None, skills=None, capabilities=None, provider=None, securitySchemes=None),
    "nulls in lists": members(skills=[None, {"id": "s", "tags": [None, "t"]}], defaultInputModes=[None]),
    "wrong types": members(name=7, version=1.5, description={}, skills={}, capabilities=["streaming"]),
    "wrong types inside": members(
        capabilities={"streaming": "true", "extensions": [{"uri": 1, "required": "yes"}, 5]},
        skills=[{"id": 1, "tags": "t", "examples": {}}, "s", 3],
    ),
    "one value for a list": members(skills={"id": "s"}, defaultInputModes="text/plain"),
    "schemes that are none": members(securitySchemes=SCHEMES, security=[{"k": []}], securityRequirements=["k"]),
    "unknown members": members(novelty=[{"deep": [1]}], supportsAuthenticatedExtendedCard=True, security="none"),
    "unknown words": members(signatures=[{"alg": "none"}], capabilities={"streaming": True, "telepathy": True}),
    "a lower-case binding": interface(protocolBinding="grpc"),
    "a binding with a space": interface(protocolBinding=" gRPC "),
    "no version": interface(protocolVersion=""),
    "a version as a number": interface(protocolVersion=1.0),
    "a patch version": interface(protocolVersion="1.0.1"),
    "an empty tenant": interface(tenant=None),
    "an interface on its own": lambda card: card.update(supportedInterfaces=card["supportedInterfaces"][0]),
    "behind others": behind_others,
    "in the form of 0.3": old_form,
    "in the form of 0.3, preferred": old_form_preferred,
    "both forms": members(url="https://a.example/rpc", preferredTransport="JSONRPC", protocolVersion="0.3.0"),
}


def card_with(change: Change, address: str) -> dict[str, Any]:
    card = card_json(address)
    change(card)
    return card


@covers("OPEN-21", "WIRE-5")
@pytest.mark.few(8)
@pytest.mark.parametrize("name", CARDS)
async def test_an_odd_card_with_a_usable_interface_leads_to_its_agent(name: str) -> None:
    async with peering() as peer:
        page = Page(json.dumps(card_with(CARDS[name], peer.address)).encode())
        async with Site(page) as site, connect(site.url) as client, ClientManager() as agents:
            assert (await client.get("t-1")).id == "t-1"
            await client.card()
            async with RemoteAgent(site.url) as agent:
                assert agent.name
            [found] = await agents.discover([site.url])
            assert found.error is None
            assert "" not in agents.names


WRITTEN: dict[str, Change] = {
    "a path": interface(url="{}/"),
    "slashes": interface(url="grpc://{}//a2a/v1/"),
    "upper case": interface(url="GRPC://{}"),
    "http": interface(url="http://{}/a2a?x=1#y"),
    "spaces": interface(url="  {}\n"),
}


@pytest.mark.parametrize("name", WRITTEN)
async def test_an_address_may_be_written_in_many_ways(name: str) -> None:
    async with peering() as peer:
        card = card_with(WRITTEN[name], peer.address)
        [given] = card["supportedInterfaces"]
        given["url"] = given["url"].format(peer.address)
        async with Site(Page(json.dumps(card).encode())) as site, connect(site.url) as client:
            assert (await client.get("t-1")).id == "t-1"


ENCODED: dict[str, Callable[[str], Page]] = {
    "UTF-8 with a mark": lambda text: Page(text.encode("utf-8-sig")),
    "UTF-16": lambda text: Page(text.encode("utf-16")),
    "Latin-1": lambda text: Page(text.encode("latin-1"), [("Content-Type", 'text/html; charset="ISO-8859-1"')]),
    "another type": lambda text: Page(text.encode(), [("Content-Type", "text/plain; charset=nonsense")]),
    "no type": lambda text: Page(text.encode()),
}


@pytest.mark.parametrize("name", ENCODED)
async def test_a_card_may_be_encoded_in_many_ways(name: str) -> None:
    async with peering() as peer:
        text = json.dumps(card_json(peer.address, name="Café"), ensure_ascii=False)
        async with Site(ENCODED[name](text)) as site, RemoteAgent(site.url) as agent:
            assert agent.name == "Café"


async def test_a_redirect_to_the_same_place_leads_to_the_card() -> None:
    async with peering() as peer:
        moved = Page(b"", [("Location", "/.well-known/agent-card.json/")], status=301)
        async with Site(moved, Page.card(peer.address)) as site, connect(site.url) as client:
            assert (await client.get("t-1")).id == "t-1"


USELESS: dict[str, tuple[Change, str]] = {
    "none": (members(supportedInterfaces=[]), "it has none"),
    "no list": (members(supportedInterfaces="grpc"), "it has none"),
    "another binding": (interface(protocolBinding="JSONRPC"), "it has JSONRPC 1.0"),
    "another version": (interface(protocolVersion="0.3"), "it has GRPC 0.3"),
    "no url": (interface(url=" "), "has no GRPC interface"),
    "no address": (interface(url="ftp://a.example"), "target is 'ftp://a.example'"),
    "another host": (interface(url="elsewhere.example:1"), "another host"),
}


@pytest.mark.parametrize("name", USELESS)
async def test_only_a_card_without_a_usable_grpc_interface_stops_a_connection(name: str) -> None:
    change, said = USELESS[name]
    async with peering() as peer, Site(Page(json.dumps(card_with(change, peer.address)).encode())) as site:
        with pytest.raises(AgentCardError) as refused:
            async with connect(site.url):
                pass
    assert said in str(refused.value)


async def test_card_validate_tells_what_is_wrong(tmp_path: Path) -> None:
    change = CARDS["wrong types inside"]
    card = card_with(change, "127.0.0.1:1")
    card["supportedInterfaces"][0]["protocolBinding"] = "grpc"
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card))
    done = await run("card", "--validate", str(path))
    assert done.code == 6
    for told in ("skills[0].tags", "skills[1]", "skills[2]", "capabilities.streaming", "capabilities.extensions[0].uri",
                 "protocolBinding is 'grpc', not GRPC", "skills[0].description is missing"):  # fmt: skip
        assert told in done.err
