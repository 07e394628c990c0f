"""The address in the card of a server that listens on every address of its machine."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from a2a_grpc import Agent, Turn, connect
from a2a_grpc.address import is_wildcard, split_address
from a2a_grpc.client.card import interface_address
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.listening.http import asked_host
from a2a_grpc.server.published import host_towards
from a2a_grpc.wire import AgentCard, AgentInterface
from tests.covers import covers
from tests.harness import Program, serving

WILDCARD = {"listen": "0.0.0.0:0", "http_listen": "0.0.0.0:0", "insecure": True}


def extending() -> Agent:
    """An agent with an extended card."""
    agent = Agent("Wide", "Listens everywhere.")

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    @agent.extended_card
    def extend(card: AgentCard, principal: Any) -> AgentCard:
        return card

    return agent


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def named(http: aiohttp.ClientSession, url: str, host: str = "") -> tuple[str, str]:
    """The address that the card at a URL names, asked for with a Host header, and its ETag."""
    async with http.get(f"{url}/.well-known/agent-card.json", headers={"Host": host} if host else {}) as response:
        card = json.loads(await response.read())
        return card["supportedInterfaces"][0]["url"], response.headers["ETag"]


@covers("CARD-8")
async def test_the_card_names_the_host_that_it_is_asked_at_with_the_grpc_port(http: aiohttp.ClientSession) -> None:
    async with serving(extending(), **WILDCARD) as served:
        grpc_port = split_address("", served.server.grpc_address)[1]
        http_port = served.server.http_url.rpartition(":")[2] if served.server.http_url else ""
        here = f"http://127.0.0.1:{http_port}"
        for host, expected in (
            ("", "127.0.0.1"),
            ("agents.example", "agents.example"),
            ("Agents.Example:8080", "agents.example"),
            ("[2001:db8::7]:8080", "[2001:db8::7]"),
            ("192.0.2.7", "192.0.2.7"),
            ("my_service:80", "my_service"),
        ):
            assert (await named(http, here, host))[0] == f"{expected}:{grpc_port}"
        for odd in ("0.0.0.0:8080", "[::]", "a b", "a/b", "a@b", "a,b", "[x]", "a" * 254, "ev%il", "x:y", "a:99999"):
            assert (await named(http, here, odd))[0] == f"127.0.0.1:{grpc_port}", odd
        tags = {(await named(http, here, host))[1] for host in ("a.example", "b.example")}
        assert len(tags) == 2
        headers = {"Host": "a.example", "If-None-Match": ", ".join(tags)}
        async with http.get(f"{here}/.well-known/agent-card.json", headers=headers) as response:
            assert response.status == 304
        for target in (here, f"http://localhost:{http_port}"):
            async with connect(target, connect_timeout_s=5.0) as client:
                assert str((await client.link()).address).rpartition(":")[2] == str(grpc_port)
                extended = await client.extended_card()
                assert extended.supported_interfaces[0].url in (f"127.0.0.1:{grpc_port}", f"[::1]:{grpc_port}")


@covers("CARD-8")
@pytest.mark.parametrize(
    "settings",
    [{**WILDCARD, "advertise": "agents.example:1"}, {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}],
)
async def test_an_address_of_its_own_stays_whatever_the_card_is_asked_at(
    settings: dict[str, Any], http: aiohttp.ClientSession
) -> None:
    async with serving(extending(), **settings) as served:
        port = str(served.server.http_url).rpartition(":")[2]
        own = settings.get("advertise", served.server.grpc_address)
        assert (await named(http, f"http://127.0.0.1:{port}", "elsewhere.example"))[0] == own


@covers("CARD-8")
async def test_a_caller_without_a_host_header_gets_the_address_that_it_connected_to() -> None:
    async with serving(extending(), **WILDCARD) as served:
        port = int(str(served.server.http_url).rpartition(":")[2])

        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as way:
                way.sendall(b"GET /agent-card HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: way.recv(65536), b""))

        answer = await asyncio.to_thread(ask)
        assert b'"url": "127.0.0.1:' in answer


async def test_a_program_says_so_at_its_start() -> None:
    options = ("--listen", "0.0.0.0:0", "--http-listen", "127.0.0.1:0", "--insecure", "--store", "memory:")
    async with Program("servers/scripted.py", "-o", "json", *options) as program:
        notes = [event["text"] for event in program.events if event["event"] == "note"]
        port = program.address.rpartition(":")[2]
        assert notes[0] == (
            f"the card names the host that it is asked at, with port {port}; --advertise HOST:PORT names another"
        )


@pytest.mark.parametrize("url", ["0.0.0.0:50051", "grpc://0.0.0.0:50051", "[::]:50051", "[::ffff:0.0.0.0]:50051"])
@pytest.mark.parametrize(
    ("card_host", "any_host", "near"),
    [
        ("agents.example", False, "agents.example:50051"),
        ("127.0.0.1", True, "127.0.0.1:50051"),
        ("", False, "HOST:50051"),
    ],
)
def test_a_card_that_names_every_address_is_told_as_what_it_is(
    url: str, card_host: str, any_host: bool, near: str
) -> None:
    with pytest.raises(AgentCardError) as refused:
        interface_address(AgentInterface(url=url), "here", card_host=card_host, any_host=any_host)
    assert "every address of the agent's machine" in str(refused.value)
    assert f"--advertise HOST:PORT), or call it at {near}" in str(refused.value)


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (asked_host, "", ""),
        (asked_host, ":80", ""),
        (asked_host, "localhost", "localhost"),
        (asked_host, "[::1]", "::1"),
        (asked_host, "[::1%lo]:1", ""),
        (host_towards, "ipv4:127.0.0.1:50", "127.0.0.1"),
        (host_towards, "ipv6:%5B::1%5D:50", "::1"),
        (host_towards, "unix:", ""),
    ],
)
def test_hosts_are_read_from_what_others_say(read: Callable[[str], str], text: str, expected: str) -> None:
    assert read(text) == expected


def test_which_hosts_stand_for_every_address() -> None:
    assert all(map(is_wildcard, ("0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0", "0")))
    assert not any(map(is_wildcard, ("127.0.0.1", "localhost", "0.0.0.1", "::1")))
