"""Cards over HTTP: how long they are kept (RFC 9111), and what is said of one that cannot be had."""

import asyncio
from email.utils import formatdate
from typing import Any

import pytest

from a2a_grpc import connect
from a2a_grpc.client import AgentCardError, Cards, UnreachableError
from a2a_grpc.client.target import CardFile, CardUrl, parse
from a2a_grpc.wire import AgentCard
from tests.client.peers import Page, Site, black_hole, peering, silent_port
from tests.covers import covers
from tests.ports import free_port


def at(url: str) -> CardUrl | CardFile:
    """The place of a card."""
    found = parse(url)
    assert isinstance(found, CardUrl)
    return found


async def loaded(cards: Cards, site: Site, times: int = 1) -> AgentCard:
    """The card, loaded so many times one after the other."""
    for _ in range(times):
        card = await cards.load(at(site.url))
    return card


def card(*headers: tuple[str, str]) -> Page:
    return Page.card("127.0.0.1:1", *headers)


def not_modified(*headers: tuple[str, str]) -> Page:
    return Page(status=304, headers=headers)


NOW = formatdate(usegmt=True)
HOUR_AGO = "Thu, 01 Jan 2026 00:00:00 GMT"

FRESH = {
    "no headers": [],
    "max-age": [("Cache-Control", "public, max-age=600")],
    "max-age in quotes": [("Cache-Control", 'max-age="600"')],
    "upper case": [("Cache-Control", "Max-Age=600")],
    "max-age over Expires": [("Cache-Control", "max-age=600"), ("Expires", "0")],
    "max-age over Age": [("Cache-Control", "max-age=600"), ("Age", "601")],
    "another directive": [("Cache-Control", "public, must-revalidate")],
}

STALE = {
    "max-age=0": [("Cache-Control", "max-age=0")],
    "no-cache": [("Cache-Control", "no-cache")],
    "no-cache over max-age": [("Cache-Control", "max-age=600, no-cache")],
    "no-store": [("Cache-Control", "no-store, max-age=600")],
    "no-store in capitals": [("Cache-Control", "No-Store")],
    "a second header": [("Cache-Control", "public, max-age=600"), ("Cache-Control", "no-store")],
}


@covers("CARD-4")
@pytest.mark.parametrize("headers", FRESH.values(), ids=FRESH)
async def test_a_fresh_card_costs_no_request(headers: list[tuple[str, str]]) -> None:
    async with Site(card(*headers)) as site, Cards() as cards:
        assert (await loaded(cards, site, 3)).name == "Elsewhere"
    assert len(site.requests) == 1


@covers("CARD-4")
@pytest.mark.parametrize("headers", STALE.values(), ids=STALE)
async def test_a_stale_card_is_asked_for_again(headers: list[tuple[str, str]]) -> None:
    async with Site(card(*headers)) as site, Cards() as cards:
        await loaded(cards, site, 3)
    assert len(site.requests) == 3


@covers("CARD-4")
async def test_a_stale_card_is_asked_for_with_its_etag_and_may_stay() -> None:
    stale = ("Cache-Control", "max-age=0")
    pages = [card(stale, ("ETag", '"v1"'), ("Last-Modified", HOUR_AGO)), not_modified(stale)]
    async with Site(*pages) as site, Cards() as cards:
        first = await loaded(cards, site)
        assert await loaded(cards, site) == first
    headers = [request for _, request in site.requests]
    assert "If-None-Match" not in headers[0]
    assert headers[1]["If-None-Match"] == '"v1"'
    assert "If-Modified-Since" not in headers[1]


@covers("CARD-4")
async def test_a_304_gives_the_card_another_lifetime() -> None:
    pages = [card(("Cache-Control", "max-age=0"), ("ETag", '"v1"')), not_modified(("Cache-Control", "max-age=600"))]
    async with Site(*pages) as site, Cards() as cards:
        await loaded(cards, site, 5)
    assert len(site.requests) == 2


@covers("CARD-4")
async def test_a_304_that_says_nothing_of_a_lifetime_leaves_it_as_it_was() -> None:
    """RFC 9111 §4.3.4: fields that the 304 does not have are kept."""
    pages = [card(("Cache-Control", "no-cache"), ("ETag", '"v1"')), not_modified()]
    async with Site(*pages) as site, Cards() as cards:
        await loaded(cards, site, 4)
    assert [headers.get("If-None-Match") for _, headers in site.requests] == [None, '"v1"', '"v1"', '"v1"']


@covers("CARD-4")
async def test_a_card_that_changed_replaces_the_kept_one() -> None:
    stale = ("Cache-Control", "max-age=0")
    pages = [card(stale, ("ETag", '"v1"')), Page.card("127.0.0.1:2", ("ETag", '"v2"'), name="Changed")]
    async with Site(*pages) as site, Cards() as cards:
        assert (await loaded(cards, site)).name == "Elsewhere"
        assert (await loaded(cards, site)).name == "Changed"
        assert (await loaded(cards, site)).name == "Changed"
    assert len(site.requests) == 2


@covers("CARD-4")
@pytest.mark.parametrize("directive", ["no-store", "No-Store", "private, no-store"])
async def test_what_must_not_be_stored_is_asked_for_without_validators(directive: str) -> None:
    async with Site(card(("Cache-Control", directive), ("ETag", '"v1"'))) as site, Cards() as cards:
        await loaded(cards, site, 2)
    assert ["If-None-Match" in headers for _, headers in site.requests] == [False, False]


async def test_cards_of_several_urls_are_kept_apart() -> None:
    async with Site(Page.card(name="One")) as one, Site(Page.card(name="Two")) as two, Cards() as cards:
        for _ in range(2):
            assert [(await loaded(cards, site)).name for site in (one, two)] == ["One", "Two"]
    assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_a_failure_is_not_kept() -> None:
    async with Site(Page(status=500), card()) as site, Cards() as cards:
        with pytest.raises(AgentCardError):
            await loaded(cards, site)
        assert (await loaded(cards, site)).name == "Elsewhere"


async def test_clients_that_share_cards_share_one_request() -> None:
    async with peering() as peer, Site(Page.card(peer.address)) as site, Cards() as cards:
        for _ in range(3):
            async with connect(site.url, cards=cards) as client:
                await client.get("t-1")
    assert len(site.requests) == 1


async def test_first_calls_made_at_the_same_time_fetch_the_card_once() -> None:
    async with peering() as peer, Site(Page.card(peer.address, ("Cache-Control", "no-store"))) as site:
        client = connect(site.url)
        try:
            tasks = await asyncio.gather(*(client.get("t-1") for _ in range(20)))
        finally:
            await client.close()
    assert [task.id for task in tasks] == ["t-1"] * 20
    assert len(site.requests) == 1
    assert len(peer.calls) == 20


async def test_cards_may_be_loaded_by_many_at_a_time() -> None:
    async with Site(card()) as site, Cards(timeout_s=60) as cards:
        found = await asyncio.gather(*(cards.load(at(site.url)) for _ in range(20)))
        assert [one.name for one in found] == ["Elsewhere"] * 20
        before = len(site.requests)
        await loaded(cards, site)
        assert len(site.requests) == before


async def test_a_closed_store_of_cards_keeps_them_and_opens_again() -> None:
    async with Site(card()) as site, Site(Page.card(name="Other")) as other, Cards() as cards:
        await loaded(cards, site)
        await cards.close()
        await loaded(cards, site)
        assert (await loaded(cards, other)).name == "Other"
    assert len(site.requests) == 1


async def test_json_is_asked_for_at_the_well_known_path() -> None:
    async with Site(card()) as site, Cards() as cards:
        await loaded(cards, site)
    [(path, headers)] = site.requests
    assert path == "/.well-known/agent-card.json"
    assert headers["Accept"] == "application/json"


# -- detours


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_followed(status: int) -> None:
    """On the same scheme, host and port; to other places: see test_hostile_cards."""
    moved = Page(status=status, headers=[("Location", "/cards/agent.json")])
    async with peering() as peer, Site(moved, Page.card(peer.address)) as site, connect(site.url) as client:
        assert (await client.card()).name == "Elsewhere"
        assert (await client.get("t-1")).id == "t-1"
    assert site.requests[1][0] == "/cards/agent.json"


async def test_a_redirect_that_leads_round_in_circles_is_told_as_such() -> None:
    async with Site(Page(status=302, headers=[("Location", "/again")])) as site:
        with pytest.raises(UnreachableError, match="redirect") as failed:
            await use(site.url)
    assert site.url in str(failed.value)


async def test_a_proxy_of_the_environment_is_for_other_machines_and_never_for_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Site(Page.card(name="By proxy")) as proxy, Site(Page.card(name="Direct")) as site, Cards() as cards:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert (await loaded(cards, site)).name == "Direct"
        assert (await cards.load(at("http://agents.example"))).name == "By proxy"
        async with Cards() as others:
            assert (await others.load(at("http://agents.example"))).name == "By proxy"
            assert (await loaded(others, site)).name == "Direct"
    assert {path for path, _ in proxy.requests} == {"http://agents.example/.well-known/agent-card.json"}


# -- what cannot be had


async def use(target: str, **settings: Any) -> None:
    async with connect(target, connect_timeout_s=0.5, **settings):
        pass


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "404 Not Found"), (503, "503 Service Unavailable"), (204, "204")],
)
async def test_a_status_without_a_card_is_told(status: int, words: str) -> None:
    async with Site(Page(status=status)) as site:
        with pytest.raises(AgentCardError, match=words) as failed:
            await use(site.url)
    assert site.url in str(failed.value)


async def test_a_web_page_is_no_card() -> None:
    async with Site(Page(b"<!doctype html>", [("Content-Type", "text/html")])) as site:
        with pytest.raises(AgentCardError, match="is not JSON") as failed:
            await use(site.url)
    assert site.url in str(failed.value)


async def test_a_card_may_be_served_as_any_media_type() -> None:
    async with Site(card(("Content-Type", "text/plain"))) as site, Cards() as cards:
        assert (await loaded(cards, site)).name == "Elsewhere"


async def test_a_huge_card_is_not_read_to_its_end() -> None:
    huge = Page.card(description="x" * (1 << 20))
    async with Site(huge) as site:
        with pytest.raises(AgentCardError, match="more than 1048576 bytes") as failed:
            await use(site.url)
    assert site.url in str(failed.value)


async def test_a_large_card_of_less_than_that_is_read() -> None:
    async with Site(Page.card(description="x" * 1_000_000)) as site, Cards() as cards:
        assert len((await loaded(cards, site)).description) == 1_000_000


@covers("S0-38")
async def test_a_closed_port_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match="nothing listens at") as failed:
        await use(url)
    assert url in str(failed.value)


@covers("S0-38")
async def test_a_host_that_does_not_exist_is_told() -> None:
    with pytest.raises(UnreachableError, match=r"there is no host 'agents\.invalid'"):
        await use("http://agents.invalid")


@covers("S0-38")
async def test_a_server_that_does_not_answer_is_waited_for_as_long_as_connecting_may_take() -> None:
    async with silent_port() as address:
        with pytest.raises(UnreachableError, match=r"does not answer within 0\.5 s") as failed:
            await use(f"http://{address}")
    assert address in str(failed.value)


@covers("S0-38")
async def test_a_server_that_cannot_be_connected_to_is_waited_for_as_long() -> None:
    async with black_hole() as address:
        with pytest.raises(UnreachableError, match=r"does not answer within 0\.5 s"):
            await use(f"http://{address}")


@covers("S0-38")
async def test_a_server_that_stops_in_the_middle_is_waited_for_as_long() -> None:
    async with Site(card()) as site:
        site.held = asyncio.Event()
        with pytest.raises(UnreachableError, match="does not answer within"):
            await use(site.url)


@covers("S0-38")
async def test_a_grpc_port_called_by_http_is_told_as_such() -> None:
    async with peering() as peer:
        with pytest.raises(
            UnreachableError, match="if this is the gRPC port of the agent, give its address without http://"
        ) as failed:
            await use(f"http://{peer.address}")
    assert peer.address in str(failed.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", "answers in HTTP that cannot be read: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "answers in HTTP that cannot be read: "),
        (b'{"name": "Shouts"}\r\n\r\n', "does not speak HTTP"),
    ],
)
async def test_an_answer_in_broken_http_is_not_taken_for_a_grpc_port(answer: bytes, said: str) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    async with server, Cards() as cards:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnreachableError, match=said) as failed:
            await cards.load(at(f"http://127.0.0.1:{port}"))
    assert "gRPC" not in str(failed.value)
