"""HTTP beside the sentinel: cards byte for byte, the registry, catalogs, and who sees what."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from a2a.client import A2ACardResolver

from a2a_grpc import connect
from a2a_grpc.auth import AuthSettings, CallCredentials
from a2a_grpc.client import AgentCardError, bearer
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.listening.ports import ListenError
from a2a_grpc.principal import Principal
from a2a_grpc.registry import Search
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.wire import AgentFrame, Described
from a2a_grpc.wire import Task
from tests.cli.terminal import run
from tests.covers import covers
from tests.harness import Program, eventually, run_program, scripted_agent
from tests.sentinel.test_attaching import attach, hello, kind_of
from tests.sentinel.tunnels import ADDRESS, attached, channel_to, sentinel

HTTP = "127.0.0.1:0"
CARD = "/.well-known/agent-card.json"


def card_of(address: str, name: str = "", **more: Any) -> dict[str, Any]:
    """The card of an agent at an address."""
    return {
        "name": name or address.partition("@")[0], "description": "Does things.", "version": "1.2.0",
        "capabilities": {}, "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "supportedInterfaces": [
            {"url": "127.0.0.1:1", "protocolBinding": "GRPC", "tenant": address, "protocolVersion": "1.0"}
        ],
        "skills": [], **more,
    }  # fmt: skip


TRANSLATOR = card_of(
    "translator@acme/fast", "Übersetzer", description="Translates texts between languages.",
    skills=[{
        "id": "translate", "name": "Translate", "description": "English to French", "tags": ["language", "text"],
        "examples": ["translate this letter", "what is 'cat' in French"],
    }],
)  # fmt: skip
WEATHER = card_of(
    "weather@acme", "Weather", description="Tells the weather forecast.",
    skills=[{"id": "forecast", "name": "Forecast", "description": "The next days", "tags": ["weather"]}],
)  # fmt: skip


@asynccontextmanager
async def agents(at: Sentinel, *cards: dict[str, Any], token: str = "") -> AsyncIterator[None]:
    """Agents that do nothing but to be attached, with their cards."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    async with channel_to(at.address) as channel:
        calls = []
        for number, card in enumerate(cards):
            address = card["supportedInterfaces"][0]["tenant"]
            call = attach(channel, metadata)
            await call.write(hello(address, f"i-{number}"))
            assert await kind_of(call) == "welcome"
            await call.write(AgentFrame(described=Described(card=json.dumps(card).encode())).SerializeToString())
            calls.append(call)

        async def assert_listed() -> None:
            found = await at.entries.find(Search(), limit=1000)
            there = {one.entry.name for one in found if one.entry.card}
            assert there >= {card["supportedInterfaces"][0]["tenant"] for card in cards}

        await eventually(assert_listed)
        yield
        for call in calls:
            call.cancel()


async def got(url: str, *, method: str = "GET", body: object = None, **headers: str) -> tuple[int, Any, Any]:
    """The status, the headers and the JSON of a response; its bytes if it is no JSON."""
    async with aiohttp.ClientSession() as session:
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
        async with session.request(method, url, headers=headers, data=data) as response:
            raw = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "") and raw
            return response.status, response.headers, json.loads(raw) if is_json else raw


async def listed(url: str | None) -> list[str]:
    """The addresses that `GET /registry/agents` lists."""
    return [one["address"] for one in (await got(f"{url}/registry/agents"))[2]]


async def test_a_card_has_the_bytes_that_the_agent_itself_serves_also_after_a_cut() -> None:
    async with sentinel(http_listen=HTTP) as running:
        async with attached(scripted_agent(), running.address, http_listen=HTTP) as served:
            url = f"{running.http_url}/agents/{ADDRESS}{CARD}"

            async def assert_served() -> None:
                async with aiohttp.ClientSession() as session:
                    async with session.get(url) as ours, session.get(f"{served.server.http_url}{CARD}") as its:
                        assert (ours.status, await ours.read()) == (200, await its.read())

            await eventually(assert_served)
            running._routes.all()[0].ended.set()
            await eventually(assert_served)

        async def assert_gone() -> None:
            assert (await got(url))[0] == 404

        await eventually(assert_gone)


@pytest.mark.parametrize(
    "path", ["translator@acme/fast", "translator%40acme/fast", "translator%40acme%2Ffast", "translator@acme%2ffast"]
)
async def test_an_address_may_be_escaped_in_the_path_of_its_card(path: str) -> None:
    async with sentinel(http_listen=HTTP) as running, agents(running, TRANSLATOR):
        status, headers, card = await got(f"{running.http_url}/agents/{path}{CARD}")
        assert (status, card) == (200, TRANSLATOR)
        assert headers["Content-Type"] == "application/json"


@covers("CARD-3")
async def test_a_card_has_validators() -> None:
    async with sentinel(http_listen=HTTP, card_max_age_s=7) as running, agents(running, WEATHER):
        url = f"{running.http_url}/agents/weather@acme{CARD}"
        _, headers, _ = await got(url)
        assert headers["Cache-Control"] == "public, max-age=7"
        status, again, body = await got(url, **{"If-None-Match": headers["ETag"]})
        assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
        status, head, body = await got(url, method="HEAD")
        assert (status, body, head["ETag"]) == (200, b"", headers["ETag"])
        assert int(head["Content-Length"]) == len(json.dumps(WEATHER))
        assert (await got(url, **{"If-None-Match": '"other"'}))[0] == 200


async def test_our_client_and_the_official_resolver_find_an_agent_by_the_url_of_its_card() -> None:
    async with sentinel(http_listen=HTTP) as running, attached(scripted_agent(), running.address):

        async def assert_listed() -> None:
            assert await listed(running.http_url) == [ADDRESS]

        await eventually(assert_listed)
        [listing] = (await got(f"{running.http_url}/registry/agents"))[2]
        for url in (listing["url"], f"{running.http_url}/agents/{ADDRESS}{CARD}", listing["url"].replace("@", "%40")):
            async with connect(url) as agent:
                assert (await agent.card()).supported_interfaces[0].tenant == ADDRESS
                assert isinstance(await agent.send("hello"), Task)
        async with httpx.AsyncClient() as http:
            card = await A2ACardResolver(http, listing["url"]).get_agent_card()
            assert card.supported_interfaces[0].tenant == ADDRESS


async def test_the_registry_is_a_list_of_names_and_urls() -> None:
    async with sentinel(http_listen=HTTP) as running, agents(running, WEATHER, TRANSLATOR):
        status, headers, found = await got(f"{running.http_url}/registry/agents")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert [(one["name"], one["url"]) for one in found] == [
            ("Übersetzer", f"{running.http_url}/agents/translator@acme/fast"),
            ("Weather", f"{running.http_url}/agents/weather@acme"),
        ]
        assert found[1]["skills"][0]["tags"] == ["weather"]


async def test_catalogs_name_the_cards_and_the_search() -> None:
    async with sentinel(http_listen=HTTP) as running, agents(running, WEATHER, TRANSLATOR):
        base = running.http_url
        status, headers, catalog = await got(f"{base}/.well-known/ai-catalog.json")
        assert (status, headers["Content-Type"]) == (200, "application/ai-catalog+json")
        assert (catalog["specVersion"], list(catalog)) == ("1.0", ["specVersion", "host", "entries"])
        registry, translator, weather = catalog["entries"]
        assert (registry["type"], registry["url"]) == ("application/ai-registry+json", f"{base}/")
        assert translator == {
            "identifier": "urn:air:acme:a2a:translator:fast",
            "displayName": "Übersetzer",
            "type": "application/a2a-agent-card+json",
            "url": f"{base}/agents/translator@acme/fast{CARD}",
            "description": "Translates texts between languages.",
            "tags": ["language", "text"],
            "capabilities": ["translate"],
            "representativeQueries": ["translate this letter", "what is 'cat' in French"],
            "version": "1.2.0",
            "metadata": {"address": "translator@acme/fast"},
        }
        assert "representativeQueries" not in weather
        assert (await got(weather["url"]))[2] == WEATHER
        status, headers, manifest = await got(f"{base}/.well-known/ard.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        context = {"@context": "https://agenticresourcediscovery.org/context/v1"}
        assert manifest["entries"] == [context | entry for entry in catalog["entries"]]


async def test_catalogs_name_the_host_that_is_asked_or_the_public_url() -> None:
    async with sentinel(http_listen=HTTP) as running, agents(running, WEATHER):
        port = str(running.http_url).rpartition(":")[2]

        async def base_for(host: str) -> str:
            [one] = (await got(f"{running.http_url}/registry/agents", Host=host))[2]
            return str(one["url"]).removesuffix("/agents/weather@acme")

        assert await base_for("agents.example") == "http://agents.example"
        assert await base_for("[::1]:81") == "http://[::1]:81"
        for wrong in ("0.0.0.0:80", "a b", "x/../y", "u@evil.example", '"><script>'):
            assert await base_for(wrong) == f"http://127.0.0.1:{port}"
    async with (
        sentinel(http_listen=HTTP, public_url="https://agents.example/a2a/") as running,
        agents(running, WEATHER),
    ):
        [one] = (await got(f"{running.http_url}/registry/agents"))[2]
        assert one["url"] == "https://agents.example/a2a/agents/weather@acme"


async def test_an_entry_is_found_by_its_identifier() -> None:
    async with sentinel(http_listen=HTTP) as running, agents(running, WEATHER, TRANSLATOR):
        base = running.http_url
        items = (await got(f"{base}/agents"))[2]["items"]
        assert [item["displayName"] for item in items] == ["Übersetzer", "Weather"]
        for item in items:
            for escaped in (item["identifier"], item["identifier"].replace(":", "%3A")):
                status, _, found = await got(f"{base}/agents/{escaped}")
                assert (status, found) == (200, item)
        for unknown in (
            "urn:air:acme:a2a:nobody",
            "urn:air:acme:weather",
            "urn:air:acme:mcp:weather",
            "urn:air:acme:a2a:W",
        ):
            status, _, error = await got(f"{base}/agents/{unknown}")
            assert (status, error["errorCode"]) == (404, "NOT_FOUND")
        for wrong in (
            "weather@acme",
            "urn:air:acme",
            "urn:air:acme:a2a:w%2Fx",
            "urn%253Aair%253Aacme%253Aa2a",
            "x" * 400,
        ):
            status, _, error = await got(f"{base}/agents/{wrong}")
            assert (status, error["errorCode"]) == (400, "INVALID_ARGUMENT")


async def search(url: str | None, text: str, **more: Any) -> tuple[int, Any]:
    body = {"query": {"text": text, **more.pop("query", {})}, **more}
    status, _, answer = await got(f"{url}/search", method="POST", body=body)
    return status, answer


async def test_a_search_ranks_by_the_words_that_match() -> None:
    async with sentinel(http_listen=HTTP) as running, agents(running, WEATHER, TRANSLATOR):
        base = running.http_url
        status, answer = await search(base, "weather forecast, or languages", federation="referrals")
        assert status == 200
        assert [one["displayName"] for one in answer["results"]] == ["Weather", "Übersetzer"]
        assert answer["results"][0]["score"] > answer["results"][1]["score"] > 0
        assert answer["results"][0]["source"] == f"{base}/"
        assert answer["referrals"] == []
        assert (await search(base, "quantum chemistry"))[1] == {"results": []}
        assert (await search(base, "?!"))[1] == {"results": []}
        filters: list[tuple[dict[str, Any], list[str]]] = [
            ({"type": ["application/mcp-server-card+json"]}, []),
            ({"type": "application/a2a-agent-card+json"}, ["Übersetzer", "Weather"]),
            ({"tags": ["text", "weather"]}, ["Übersetzer", "Weather"]),
            ({"tags": ["text"], "publisher": "acme"}, ["Übersetzer"]),
            ({"publisher": ["other"]}, []),
            ({"capabilities": ["forecast"]}, ["Weather"]),
            ({"identifier": "urn:air:acme:a2a:weather"}, ["Weather"]),
            ({"metadata.address": ["translator@acme/fast"], "version": ["1.2.0"]}, ["Übersetzer"]),
        ]
        for filter, names in filters:
            status, answer = await search(base, "weather languages", query={"filter": filter})
            assert (status, [one["displayName"] for one in answer["results"]]) == (200, names), filter


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "body: is no JSON"),
        (b"[" * 60_000, "body: is no JSON"),
        (b"\xff", "body: is no JSON"),
        ([], "body: must be an object"),
        ({}, "query: must be an object"),
        ({"query": {}}, "query.text: must be a text"),
        ({"query": {"text": ""}}, "query.text: must be a text"),
        ({"query": {"text": "a" * 5000}}, "query.text: must be a text"),
        ({"query": {"text": "a"}, "limit": 1}, "body: has the member 'limit'"),
        ({"query": {"text": "a"}, "pageSize": 0}, "pageSize: must be from 1 to 100"),
        ({"query": {"text": "a"}, "pageSize": True}, "pageSize: must be from 1 to 100"),
        ({"query": {"text": "weather"}, "pageToken": 1}, "pageToken: must be a text"),
        ({"query": {"text": "weather"}, "pageToken": "?"}, "pageToken: is not a token of this registry"),
        ({"query": {"text": "weather"}, "pageToken": "\ud800"}, "pageToken: is not a token of this registry"),
        ({"query": {"text": "a"}, "federation": "all"}, "federation: must be one of auto, referrals, none"),
        ({"query": {"text": "a", "filter": []}}, "query.filter: must be an object"),
        ({"query": {"text": "a", "filter": {"okf:taxonomy": "x"}}}, "query.filter: has the member 'okf:taxonomy'"),
        ({"query": {"text": "a", "filter": {"tags": [1]}}}, "query.filter.tags: must be a text or a list of texts"),
    ],
)
async def test_a_wrong_search_is_refused_by_the_name_of_its_member(body: object, said: str) -> None:
    async with sentinel(http_listen=HTTP) as running:
        status, _, error = await got(f"{running.http_url}/search", method="POST", body=body)
        assert (status, error["errorCode"]) == (400, "INVALID_ARGUMENT")
        assert error["message"].startswith(said), error


async def test_pages_have_each_agent_once() -> None:
    cards = [card_of(f"a{number:02}@acme", skills=[{"id": "s", "name": "s", "tags": ["t"]}]) for number in range(25)]
    addresses = [f"a{number:02}@acme" for number in range(25)]
    async with sentinel(http_listen=HTTP) as running, agents(running, *cards):
        base = running.http_url
        seen: list[str] = []
        token = ""
        while True:
            page = (await got(f"{base}/agents?pageSize=10&pageToken={token}"))[2]
            seen += [item["metadata"]["address"] for item in page["items"]]
            if not (token := page.get("pageToken", "")):
                break
        assert seen == addresses
        seen, token = [], ""
        while True:
            page = (await search(base, "things", pageSize=7, pageToken=token, query={"filter": {"tags": "t"}}))[1]
            seen += [item["metadata"]["address"] for item in page["results"]]
            if not (token := page.get("pageToken", "")):
                break
        assert seen == addresses
        for wrong in ("pageSize=0", "pageSize=101", "pageSize=x", "pageSize=1e1", "pageToken=%ff", "filter=x"):
            assert (await got(f"{base}/agents?{wrong}"))[0] == 400


async def test_long_catalogs_continue_in_a_further_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_grpc.sentinel.http.CATALOG_AGENTS", 2)
    async with sentinel(http_listen=HTTP) as running:
        async with agents(running, *(card_of(f"a{number}@acme") for number in range(5))):
            url: str | None = f"{running.http_url}/.well-known/ai-catalog.json"
            seen: list[str] = []
            while url:
                entries = (await got(url))[2]["entries"]
                seen += [entry["displayName"] for entry in entries if "a2a" in entry["type"]]
                url = next((entry["url"] for entry in entries if entry["type"] == "application/ai-catalog+json"), None)
            assert seen == [f"a{number}" for number in range(5)]
            _, headers, first = await got(f"{running.http_url}/registry/agents")
            assert headers["Link"].endswith('>; rel="next"')
            second = (await got(headers["Link"].partition(">")[0].strip("<")))[2]
            assert [one["name"] for one in first + second] == ["a0", "a1", "a2", "a3"]


async def by_token(credentials: CallCredentials) -> Principal | None:
    """An authenticator: `NAME:TENANT,…` is a bearer token, or a key."""
    shown = credentials.metadata.get("authorization") or credentials.metadata.get("x-api-key")
    if not shown:
        return None
    name, _, tenants = str(shown[0]).removeprefix("Bearer ").partition(":")
    return Principal(subject=name, tenants=frozenset(tenants.split(",")) if tenants else None)


@covers("SEC-4")
async def test_a_caller_sees_what_it_may_call_and_nothing_else() -> None:
    settings = SentinelSettings(listen=HTTP, http_listen=HTTP, drain_grace_s=0, pass_credentials=True)
    async with Sentinel(settings, auth=[by_token]) as running, agents(running, WEATHER, TRANSLATOR, token="owner"):
        base = running.http_url
        reads = [
            f"/agents/weather@acme{CARD}", "/registry/agents", "/.well-known/ai-catalog.json", "/.well-known/ard.json",
            "/agents", "/agents/urn:air:acme:a2a:weather",
        ]  # fmt: skip
        for path in reads:
            status, headers, error = await got(f"{base}{path}")
            assert (status, error["errorCode"], headers["Cache-Control"]) == (401, "UNAUTHENTICATED", "no-store")
            status, headers, _ = await got(f"{base}{path}", **{"X-Api-Key": "ada"})
            assert (status, headers["Cache-Control"].split(",")[0]) == (200, "private")
            assert headers["Vary"] == "Authorization, X-Api-Key"
        ada = {"Authorization": "Bearer ada:translator@acme/fast,other@acme"}
        assert [one["address"] for one in (await got(f"{base}/registry/agents", **ada))[2]] == ["translator@acme/fast"]
        entries = (await got(f"{base}/.well-known/ai-catalog.json", **ada))[2]["entries"]
        assert [entry["displayName"] for entry in entries[1:]] == ["Übersetzer"]
        assert len((await got(f"{base}/agents", **ada))[2]["items"]) == 1
        found = await got(f"{base}/search", method="POST", body={"query": {"text": "weather languages"}}, **ada)
        assert [one["displayName"] for one in found[2]["results"]] == ["Übersetzer"]
        for hidden, unknown in (
            (f"weather@acme{CARD}", f"no@acme{CARD}"),
            ("urn:air:acme:a2a:weather", "urn:air:acme:a2a:no"),
        ):
            assert await got_alike(f"{base}/agents/{hidden}", **ada) == await got_alike(
                f"{base}/agents/{unknown}", **ada
            )
        assert [(await got(f"{base}{probe}"))[0] for probe in ("/livez", "/readyz")] == [200, 200]


async def test_our_client_fetches_the_card_and_calls_the_agent_with_one_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SentinelSettings(listen=HTTP, http_listen=HTTP, drain_grace_s=0)
    async with Sentinel(settings, auth=[by_token]) as running:
        url = f"{running.http_url}/agents/{ADDRESS}"
        async with attached(scripted_agent(), running.address, token="owner"):

            async def assert_served() -> None:
                assert (await got(f"{url}{CARD}", **{"X-Api-Key": "ada"}))[0] == 200

            await eventually(assert_served)
            async with connect(url, credentials=bearer("ada")) as client:
                assert isinstance(await client.send("hello"), Task)
            assert "auth refused" not in caplog.text, "to ask which credentials are needed is no attack"
            with pytest.raises(UnauthenticatedError, match=r"needs credentials \(401 Unauthorized\)"):
                async with connect(url):
                    pass
            with pytest.raises(AgentCardError, match="404"):  # as for an agent that does not exist
                async with connect(url, credentials=bearer("bob:other@acme")):
                    pass
            (tmp_path / "token").write_text("ada")
            done = await run("send", "--agent", url, "--token-file", str(tmp_path / "token"), "hello")
            assert done.code == 0, done.err


async def test_wrong_credentials_and_many_requests_are_limited_as_calls_are() -> None:
    settings = SentinelSettings(listen=HTTP, http_listen=HTTP, drain_grace_s=0)
    limits = AuthSettings(auth_failures_per_minute=1, calls_per_second=0.001, calls_burst=2)
    async with Sentinel(settings, auth=[by_token], callers=limits) as running:
        url = f"{running.http_url}/registry/agents"
        assert [(await got(url))[0] for _ in range(3)] == [401, 429, 429]
        answers = [await got(url, **{"X-Api-Key": "ada"}) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        _, headers, error = answers[2]
        assert (error["errorCode"], int(headers["Retry-After"]) > 0) == ("RATE_LIMIT_EXCEEDED", True)
        assert (await got(url, **{"X-Api-Key": "bob"}))[0] == 200


async def got_alike(url: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    """A response without the time at which it was given."""
    status, told, body = await got(url, **headers)
    return status, {name: value for name, value in told.items() if name != "Date"}, body


async def test_http_can_be_switched_off_and_a_taken_port_is_named() -> None:
    async with sentinel(http_listen="off") as running:
        assert running.http_url is None
    async with sentinel(http_listen=HTTP) as running:
        taken = str(running.http_url).removeprefix("http://")
        with pytest.raises(ListenError, match=f"cannot listen on {taken} for HTTP"):
            async with sentinel(http_listen=taken):
                pass


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"http_listen": "0.0.0.0:1"}, "http_listen is '0.0.0.0:1': plaintext beyond this machine"),
        ({"http_listen": "x"}, "http_listen is 'x'; it must be HOST:PORT"),
        ({"public_url": "agents.example"}, "public_url is 'agents.example'; it must be http"),
        ({"public_url": "https://u:p@agents.example"}, "without a query"),
        ({"public_url": "https://agents.example/?a"}, "without a query"),
        ({"public_url": "https://0.0.0.0"}, "clients cannot call it"),
        ({"public_url": "https://x:99999"}, "it must be http"),
    ],
)
def test_wrong_settings_of_http_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SentinelSettings(**settings)
    assert said in str(refused.value)
    assert ":p@" not in str(refused.value)


async def test_errors_are_json_and_bodies_are_bounded() -> None:
    async with sentinel(http_listen=HTTP) as running:
        base = running.http_url
        for method, path, body, status, code in [
            ("GET", "/nothing", None, 404, "NOT_FOUND"),
            ("PUT", "/search", None, 405, "METHOD_NOT_ALLOWED"),
            ("POST", "/explore", b"{}", 501, "NOT_IMPLEMENTED"),
            ("POST", "/search", b"x" * 70_000, 413, "REQUEST_ENTITY_TOO_LARGE"),
        ]:
            answered, _, error = await got(f"{base}{path}", method=method, body=body)
            assert (answered, error["errorCode"]) == (status, code)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /agents/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_fills_no_log(raw: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with sentinel(http_listen=HTTP) as running:
        host, _, port = str(running.http_url).removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw)
        assert (await reader.read()).split(b" ")[1] == b"400"
        writer.close()
        assert (await got(f"{running.http_url}/livez"))[0] == 200
        assert caplog.records == []


async def test_the_command_tells_where_http_is() -> None:
    command = ("-m", "a2a_grpc", "sentinel", "--listen", "127.0.0.1:0")
    async with Program(*command, "-o", "json", "--http-listen", HTTP) as program:
        assert (await got(f"{program.http}/readyz"))[0] == 200
    code, _, err = await run_program(*command, "--http-listen", "256.0.0.1:1x")
    assert (code, err.count("\n"), "http_listen is '256.0.0.1:1x'" in err) == (2, 1, True), err
