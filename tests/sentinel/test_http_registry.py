"""HTTP of the sentinel and its registry: registered agents, other sentinels, a store that does not answer."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf import json_format

from a2a_grpc.registry import Entry, Key
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.wire import AgentCard
from tests.harness import eventually, scripted_agent
from tests.sentinel.test_http import CARD, HTTP, WEATHER, agents, by_token, got, search
from tests.sentinel.tunnels import ADDRESS, attached, sentinel


def registered(name: str, url: str, *, tenant: str = "", **card: Any) -> Entry:
    """The entry of an agent that has registered itself."""
    read = json_format.ParseDict({**WEATHER, "name": name, **card}, AgentCard())
    entry = Entry(key=Key(name, "i"), owner="o", url=url, tenant=tenant)
    return entry.with_card(read.SerializeToString())


async def test_registered_agents_are_listed_with_the_place_where_they_are_called() -> None:
    async with sentinel(http_listen=HTTP) as running:
        base = running.http_url
        await running.entries.add(registered("by-card", "https://agents.example/weather"))
        await running.entries.add(registered("by-file", "https://agents.example/cards/w.json"))
        await running.entries.add(registered("Über den Wolken/1", "10.0.0.5:50051"))
        listed = (await got(f"{base}/registry/agents"))[2]
        assert {one["registered"]: one["url"] for one in listed} == {
            "by-card": "https://agents.example/weather",
            "by-file": "https://agents.example/cards/w.json",
            "Über den Wolken/1": f"{base}/agents/%C3%9Cber%20den%20Wolken%2F1",
        }
        items = {item["displayName"]: item for item in (await got(f"{base}/agents"))[2]["items"]}
        assert items["by-card"]["url"] == f"https://agents.example/weather{CARD}"
        assert items["by-file"]["url"] == "https://agents.example/cards/w.json"
        assert items["by-card"]["identifier"] == "urn:air:agent.localhost:agent:by-card"
        for item in items.values():
            assert (await got(f"{base}/agents/{item['identifier']}"))[2] == item
        status, headers, card = await got(items["Über den Wolken/1"]["url"])
        assert (status, card["name"], "ETag" in headers) == (200, "Über den Wolken/1", True)
        assert [one["displayName"] for one in (await search(base, "wolken"))[1]["results"]] == ["Über den Wolken/1"]
        for wrong in ("x--zz", "x--ff", "x--62792d63617264", "no"):
            assert (await got(f"{base}/agents/urn:air:agent.localhost:agent:{wrong}"))[0] == 404


async def test_a_registered_agent_is_shown_to_callers_whose_credentials_cover_its_tenant() -> None:
    settings = SentinelSettings(listen=HTTP, http_listen=HTTP, drain_grace_s=0)
    async with Sentinel(settings, auth=[by_token]) as running:
        await running.entries.add(registered("ours", "10.0.0.5:50051", tenant="acme"))
        base = running.http_url
        for token, seen in (("ada:acme", ["ours"]), ("bob:other", []), ("eve", ["ours"])):
            shown = {"Authorization": f"Bearer {token}"}
            assert [one["name"] for one in (await got(f"{base}/registry/agents", **shown))[2]] == seen
            assert (await got(f"{base}/agents/ours{CARD}", **shown))[0] == (200 if seen else 404)


async def test_an_agent_of_several_processes_is_listed_once() -> None:
    async with sentinel(http_listen=HTTP) as running:
        for number in range(250):
            entry = registered("many", "10.0.0.5:50051")
            await running.entries.add(Entry(key=Key("many", f"i-{number}"), url=entry.url).with_card(entry.card))
        await running.entries.add(Entry(key=Key("one", "i"), url=entry.url).with_card(entry.card))
        first = (await got(f"{running.http_url}/agents?pageSize=1"))[2]
        assert first["items"][0]["identifier"].endswith(":many")
        second = (await got(f"{running.http_url}/agents?pageSize=1&pageToken={first['pageToken']}"))[2]
        assert [item["identifier"].rpartition(":")[2] for item in second["items"]] == ["one"]
        assert "pageToken" not in second


async def test_sentinels_of_one_store_serve_the_cards_of_all_agents(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/sentinel.db"
    async with sentinel(http_listen=HTTP, store=store) as here, sentinel(http_listen=HTTP, store=store) as there:
        async with attached(scripted_agent(), there.address):

            async def assert_served() -> None:
                status, _, card = await got(f"{here.http_url}/agents/{ADDRESS}{CARD}")
                assert status == 200
                assert card == (await got(f"{there.http_url}/agents/{ADDRESS}{CARD}"))[2]
                [one] = (await got(f"{here.http_url}/registry/agents"))[2]
                assert one["url"] == f"{here.http_url}/agents/{ADDRESS}"

            await eventually(assert_served)


async def test_a_card_has_the_same_bytes_at_each_sentinel_of_a_store(tmp_path: Path) -> None:
    """The card has a member that A2A 1.0 does not know. A signature over the card covers it."""
    store = f"sqlite:///{tmp_path}/sentinel.db"
    card = {**WEATHER, "laterMember": {"π": [1.0, None]}, "signatures": [{"protected": "e30", "signature": "c2ln"}]}
    async with sentinel(http_listen=HTTP, store=store) as here, sentinel(http_listen=HTTP, store=store) as there:
        async with agents(there, card), aiohttp.ClientSession() as session:
            answers = []
            for base in (here.http_url, there.http_url):
                async with session.get(f"{base}/agents/weather@acme{CARD}") as response:
                    answers.append((response.status, response.headers["ETag"], await response.read()))
            assert answers[0] == answers[1]
            assert answers[0][2] == json.dumps(card).encode()


@pytest.mark.long
async def test_the_card_of_an_agent_that_is_attached_here_needs_no_store(postgres_server: Any) -> None:
    async with sentinel(http_listen=HTTP, store=postgres_server.url()) as running, agents(running, WEATHER):
        await postgres_server.kill()
        base = running.http_url
        status, headers, error = await got(f"{base}/registry/agents")
        assert (status, error["errorCode"], headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
        assert (await got(f"{base}/agents/other@acme{CARD}"))[0] == 503
        assert (await got(f"{base}/agents/weather@acme{CARD}"))[2] == WEATHER
