"""No secret that is part of a target reaches an error, a traceback, a repr, a name or a log of the client."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from a2a_grpc import Client, ClientManager, RemoteAgent, connect
from a2a_grpc.client import BlockingClient, Cards, ConfigurationError
from a2a_grpc.client.target import CardUrl, parse, shown
from a2a_grpc.errors import A2AError
from tests.client.peers import OPERATIONS, Page, Site, card_json, peering, silent_port
from tests.covers import covers
from tests.ports import free_address, free_port

pytestmark = covers("SEC-7")

CANARY = "c4n4ry"

REFUSED = [
    f"http://user:{CANARY}@127.0.0.1:1/card.json",
    f"https://{CANARY}@127.0.0.1:1",
    f"http://user:a@{CANARY}@127.0.0.1:1",
    f"grpc://user:{CANARY}@127.0.0.1:1",
    f"user:{CANARY}@127.0.0.1:1",
    f"grpcs://127.0.0.1:1?token={CANARY}",
    f"127.0.0.1:1?t={CANARY}",
    f"dns:///127.0.0.1:1?x={CANARY}",
    f"htps://user:{CANARY}@127.0.0.1/card.json?t={CANARY}",
    f"ftp://127.0.0.1/?t={CANARY}",
    f"file://user:{CANARY}@host/card.json?t={CANARY}",
    f"127.0.0.1/card.json?t={CANARY}",
    f"http://127.0.0.1:99999/?t={CANARY}",
    f"http://[::1/?t={CANARY}",
    f"http://?t={CANARY}",
    f"https://127.0.0.1:0/?t={CANARY}",
    f"unix:?t={CANARY}\x00",
    f"missing.json?t={CANARY}",
]
"""Targets that cannot be, or at which nothing is."""


def told(error: BaseException) -> str:
    """All that is printed of an error, its causes included."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


async def failure(target: str, use: Callable[[Client], Any] = OPERATIONS["GetTask"], **settings: Any) -> str:
    """All that is printed of an operation's failure."""
    with pytest.raises((A2AError, ConfigurationError)) as failed:
        async with connect(target, connect_timeout_s=0.3, give_up_after_s=0.1, timeout_s=0.5, **settings) as client:
            await use(client)
    return told(failed.value)


@pytest.mark.parametrize("target", REFUSED)
async def test_a_target_that_cannot_be_is_told_without_its_secrets(target: str) -> None:
    assert CANARY not in await failure(target)
    async with ClientManager() as agents:
        [found] = await agents.discover([target])
        assert found.error is not None
        assert CANARY not in told(found.error) + repr(found)


QUERIES = [
    f"?token={CANARY}",
    f"?x={CANARY}&y=1",
    f"?{CANARY}",
    f"?a=b;c={CANARY}",
    f"?a=b#{CANARY}",
    f"?q=%26token%3D{CANARY}",
]

PAGES = {
    "no card": Page(status=404),
    "no JSON": Page(b"<html>"),
    "another version": Page(b'{"url": "x", "protocolVersion": "0.3"}'),
    "no fields": Page(b"{}"),
    "another host": Page.card("agents.example:443"),
    "no interface": Page.card(supportedInterfaces=[]),
    "an interface with a password": Page.card(f"grpc://user:{CANARY}@127.0.0.1:1"),
    "an interface with a query": Page.card(f"127.0.0.1:1?token={CANARY}"),
    "other interfaces": Page.card(
        supportedInterfaces=[
            {"url": f"https://u:{CANARY}@h/?k={CANARY}", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        ]
    ),
    "a redirect": Page(status=302, headers=[("Location", f"http://u:{CANARY}@agents.example/?token={CANARY}")]),
    "a redirect to nowhere": Page(status=302, headers=[("Location", f"http://[/?token={CANARY}")]),
    "redirects": Page(status=302, headers=[("Location", f"/again?token={CANARY}")]),
    "an encoding": Page(b"x", [("Content-Encoding", "br")]),
    "too much": Page(b" " * (1 << 20) + b"{}"),
    "nothing listens": Page.card("127.0.0.1:{closed}"),
}


@pytest.mark.few(10)
@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("query", QUERIES[:2])
async def test_the_query_of_a_card_url_is_in_no_error(kind: str, query: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    page = Page(
        PAGES[kind].body.replace(b"{closed}", str(free_port()).encode()), PAGES[kind].headers, PAGES[kind].status
    )
    async with Site(page) as site:
        target = f"{site.url}/card.json{query}"
        assert CANARY not in await failure(target)
        async with ClientManager() as agents:
            [found] = await agents.discover([target])
            assert CANARY not in repr(found) + (told(found.error) if found.error else "")
        assert any(CANARY in path for path, _ in site.requests)  # the server gets the query as it is
    assert CANARY not in caplog.text


@pytest.mark.few(2)
@pytest.mark.parametrize("query", QUERIES)
async def test_a_card_url_that_cannot_be_reached_is_told_without_its_query(query: str) -> None:
    assert CANARY not in await failure(f"http://127.0.0.1:{free_port()}/{query}")
    assert CANARY not in await failure(f"https://agents.invalid/{query}")
    async with silent_port() as address:
        assert CANARY not in await failure(f"http://{address}/{query}")
    async with peering() as peer:
        assert CANARY not in await failure(f"http://{peer.address}/{query}")
        assert CANARY not in await failure(f"https://{peer.address}/{query}")


@pytest.mark.parametrize("rpc", OPERATIONS)
async def test_no_operation_tells_the_query_of_the_card_that_led_to_it(rpc: str) -> None:
    async with Site(Page.card(free_address())) as site:
        assert CANARY not in await failure(f"{site.url}/?token={CANARY}", OPERATIONS[rpc])


async def test_reprs_and_names_have_no_secrets() -> None:
    target = f"http://127.0.0.1:1/card.json?token={CANARY}"
    where = parse(target)
    assert isinstance(where, CardUrl)
    assert CANARY in where.url
    agent = RemoteAgent(target)
    with pytest.raises(RuntimeError) as failed:
        agent.describe()
    agents = ClientManager()
    agents.register("a", target)
    with pytest.raises(ConfigurationError) as refused:
        agents.register("a", f"{target}2")
    cards = Cards()
    objects = (where, agent, agent.name, agents, cards, connect(target), failed.value, refused.value)
    assert CANARY not in "".join(repr(one) + str(one) for one in objects)
    await agents.close()


def test_a_blocking_client_tells_no_secret() -> None:
    target = f"http://127.0.0.1:{free_port()}/?token={CANARY}"
    with pytest.raises(A2AError) as failed, BlockingClient(target, connect_timeout_s=0.3):
        pass
    assert CANARY not in told(failed.value)


def test_what_is_shown_of_a_target_still_says_which_one_it_is() -> None:
    assert shown("https://agents.example:8443/a/card.json?token=x") == "https://agents.example:8443/a/card.json?***"
    assert shown("127.0.0.1:50051") == "127.0.0.1:50051"
    assert card_json(shown("unix:/run/a.sock"))["supportedInterfaces"][0]["url"] == "unix:/run/a.sock"
