"""Agents of plain routes in the registry: their cards, who sees them, and how other sentinels reach them."""

import json
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.client import find_agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import PermissionDeniedError
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.rules import Rule, Rules
from a2a_grpc.wire import Task
from tests.covers import covers
from tests.harness import eventually, run_program, scripted_agent, serving
from tests.sentinel.test_attaching import attachment, by_token
from tests.sentinel.test_http import CARD, HTTP, WEATHER, card_of, got, listed
from tests.sentinel.tunnels import ADDRESS, sentinel

ROUTE = f"{ADDRESS}=127.0.0.1:9"


def card_file(folder: Path, **more: Any) -> Path:
    """The file of a card that names the agent's own address, and is signed."""
    card = {**WEATHER, "signatures": [{"protected": "e30", "signature": "c2ln"}], **more}
    card["supportedInterfaces"] = [{"url": "10.0.0.5:50051", "protocolBinding": "GRPC", "protocolVersion": "1.0"}]
    path = folder / "card.json"
    path.write_text(json.dumps(card))
    return path


@covers("TEN-4")
async def test_an_agent_of_a_plain_route_is_in_all_lists_with_the_card_that_the_sentinel_fetches() -> None:
    async with serving(scripted_agent(), http_listen=HTTP) as served:
        route, card = f"{ADDRESS}={served.server.grpc_address}", f"{ADDRESS}={served.server.http_url}"
        async with sentinel(route=route, route_card=card, http_listen=HTTP) as running:

            async def shown() -> None:
                assert await listed(running.http_url) == [ADDRESS]

            await eventually(shown, within_s=30)
            found = await find_agent(running.address, skill="play")
            assert (found.name, found.sentinel) == (ADDRESS, running.address)
            base = running.http_url
            status, _, document = await got(f"{base}/agents/{ADDRESS}{CARD}")
            assert status == 200
            here = {"url": running.address, "protocolBinding": "GRPC", "tenant": ADDRESS, "protocolVersion": "1.0"}
            assert document["supportedInterfaces"] == [here]
            catalog = (await got(f"{base}/.well-known/ai-catalog.json"))[2]
            assert ADDRESS in {entry.get("metadata", {}).get("address") for entry in catalog["entries"]}
            async with connect(f"{base}/agents/{ADDRESS}") as client:
                assert isinstance(await client.send("hello"), Task)
            async with found.connect() as client:
                assert isinstance(await client.send("hello"), Task)


async def test_a_plain_route_without_a_card_is_listed_by_its_address() -> None:
    async with sentinel(route=ROUTE) as running:

        async def shown() -> None:
            code, out, _ = await run_program("-m", "a2a_grpc", "agents", "list", "--registry", running.address)
            assert (code, out.split()) == (0, [ADDRESS, "sentinel", running.address])

        await eventually(shown, within_s=60)


async def test_a_card_of_a_plain_route_names_the_sentinel_and_a_changed_one_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.sentinel.route_cards.EVERY_S", 0.05)
    path = card_file(tmp_path)
    async with sentinel(
        route=ROUTE, route_card=f"{ADDRESS}={path}", http_listen=HTTP, public_address="agents.example:443"
    ) as running:

        async def served(name: str) -> None:
            status, _, card = await got(f"{running.http_url}/agents/{ADDRESS}{CARD}")
            assert (status, card["name"] if status == 200 else "") == (200, name)
            assert [one["url"] for one in card["supportedInterfaces"]] == ["agents.example:443"]
            assert "signatures" not in card
            assert card["skills"] == WEATHER["skills"]

        await eventually(lambda: served("Weather"), within_s=30)
        path.write_text("no card")
        await served("Weather")
        card_file(tmp_path, name="Climate")
        await eventually(lambda: served("Climate"), within_s=30)


async def test_a_card_that_names_the_address_as_tenant_keeps_its_signatures(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    card = card_of(ADDRESS, signatures=[{"protected": "e30", "signature": "c2ln"}])
    path.write_text(json.dumps(card))
    async with sentinel(route=ROUTE, route_card=f"{ADDRESS}={path}", http_listen=HTTP) as running:

        async def served() -> None:
            document = (await got(f"{running.http_url}/agents/{ADDRESS}{CARD}"))[2]
            assert isinstance(document, dict)
            assert document.get("signatures") == card["signatures"]
            assert document["supportedInterfaces"] == card["supportedInterfaces"]

        await eventually(served, within_s=30)


async def test_rules_say_who_sees_an_agent_of_a_plain_route(tmp_path: Path) -> None:
    rules = Rules(call=[Rule(addresses=[ADDRESS], subjects=["ada"])])
    settings = SentinelSettings(
        listen=HTTP, http_listen=HTTP, drain_grace_s=0, route=ROUTE, route_card=f"{ADDRESS}={card_file(tmp_path)}",
        pass_credentials=True,
    )  # fmt: skip
    async with Sentinel(settings, auth=[by_token], rules=rules) as running:

        async def seen(token: str, addresses: list[str]) -> None:
            shown = {"Authorization": f"Bearer {token}"}
            found = (await got(f"{running.http_url}/registry/agents", **shown))[2]
            assert [one["address"] for one in found] == addresses
            status, _, _ = await got(f"{running.http_url}/agents/{ADDRESS}{CARD}", **shown)
            assert status == (200 if addresses else 404)

        await eventually(lambda: seen("ada", [ADDRESS]), within_s=30)
        await seen("bob", [])


async def test_an_agent_of_a_plain_route_is_reached_at_each_sentinel_of_the_store(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/sentinels.db"
    async with serving(scripted_agent()) as served, sentinel(store=store) as other:
        async with sentinel(store=store, route=f"{ADDRESS}={served.server.grpc_address}"):
            async with connect(ADDRESS, sentinel=other.address, give_up_after_s=30) as client:
                assert isinstance(await client.send("hello"), Task)
            async with attachment(other.address, replace=True, fail_fast=True) as refused:
                with pytest.raises(PermissionDeniedError):
                    await refused.welcome()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"route_card": f"{ADDRESS}"}, "it must be ADDRESS=URL"),
        ({"route_card": "other@acme=https://a.example"}, "route_card names the address 'other@acme', which route"),
        ({"route_card": f"{ADDRESS}=10.0.0.5:50051"}, "or the path of a file"),
        ({"route_card": f"{ADDRESS}=ftp://a.example"}, "route_card is 'ftp://a.example'"),
        ({"route_card": f"{ADDRESS}=a.json", "listen": "0.0.0.0:0", "insecure": True}, "give --public-address"),
    ],
)
async def test_a_wrong_place_of_a_card_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Sentinel(SentinelSettings(**{"route": ROUTE, "http_listen": "off", **settings}))
