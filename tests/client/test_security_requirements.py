"""Which of the given credentials are sent: those for the first requirement of the card that they meet."""

from typing import Any

import pytest
from google.protobuf import json_format

from a2a_grpc import connect
from a2a_grpc.client import ClientSettings, api_key, bearer
from a2a_grpc.client.connection import Link
from a2a_grpc.client.identity import check_privacy
from a2a_grpc.client.security import all_of, asked_by, chosen
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.wire import AgentCard
from tests.client.peers import Failure, Page, Peer, Site, peering
from tests.client.test_credentials import SECRET, told
from tests.covers import covers

SCHEMES = {
    "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}},
    "query": {"apiKeySecurityScheme": {"location": "query", "name": "key"}},
    "bearer": {"httpAuthSecurityScheme": {"scheme": "bearer"}},
    "basic": {"httpAuthSecurityScheme": {"scheme": "Basic"}},
    "oauth": {"oauth2SecurityScheme": {"flows": {"authorizationCode": {"tokenUrl": "https://idp.example/t"}}}},
    "openid": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://idp.example/o"}},
    "mtls": {"mtlsSecurityScheme": {}},
}


def card(*requirements: list[str]) -> AgentCard:
    return json_format.ParseDict(
        {
            "securitySchemes": SCHEMES,
            "securityRequirements": [{"schemes": {name: {"list": []} for name in names}} for names in requirements],
        },
        AgentCard(),
    )


async def own() -> tuple[str, str]:
    return "authorization", "Basic eA=="


KEY, NAMELESS, OTHER, TOKEN = api_key("x-key", "k"), api_key(None, "n"), api_key("other", "o"), bearer("t")


async def sent(asked: AgentCard, given: Any, *, has_certificate: bool = False) -> dict[str, str]:
    found = chosen(asked, given, source="card", host="h", any_host=False, has_certificate=has_certificate)
    return dict([await one() for one in found])


@pytest.mark.parametrize(
    ("requirements", "given", "expected"),
    [
        ([], TOKEN, {"authorization": "Bearer t"}),
        ([], [KEY, TOKEN], {"x-key": "k", "authorization": "Bearer t"}),
        ([["key"]], KEY, {"x-key": "k"}),
        ([["key"]], NAMELESS, {"x-key": "n"}),
        ([["key"], ["bearer"]], TOKEN, {"authorization": "Bearer t"}),
        ([["key"], ["bearer"]], [TOKEN, KEY], {"x-key": "k"}),
        ([["bearer"], ["key"]], [TOKEN, KEY], {"authorization": "Bearer t"}),
        ([["key", "oauth"]], [TOKEN, KEY], {"x-key": "k", "authorization": "Bearer t"}),
        ([["key", "oauth"], ["openid"]], TOKEN, {"authorization": "Bearer t"}),
        ([["basic"]], own, {"authorization": "Basic eA=="}),
        ([["basic"], ["key"]], [own, KEY], {"authorization": "Basic eA=="}),
        ([["key"]], [own, KEY], {"x-key": "k"}),
        ([[], ["bearer"]], TOKEN, {"authorization": "Bearer t"}),
        ([[], ["bearer"]], KEY, {"x-key": "k"}),
        ([["query"]], {"query": KEY}, {"x-key": "k"}),
        ([["key"]], {"key": NAMELESS, "bearer": TOKEN}, {"x-key": "n"}),
        ([["bearer"]], {"key": NAMELESS, "bearer": TOKEN}, {"authorization": "Bearer t"}),
    ],
)
async def test_the_first_requirement_that_can_be_met(
    requirements: list[list[str]], given: Any, expected: dict[str, str]
) -> None:
    assert await sent(card(*requirements), given) == expected


@covers("OPEN-13")
@pytest.mark.parametrize(
    ("requirements", "given", "missing"),
    [
        ([["key"]], TOKEN, "'key'"),
        ([["key"]], OTHER, "'key'"),
        ([["query"]], OTHER, "'query'"),
        ([["basic"]], TOKEN, "'basic'"),
        ([["key"], ["basic"]], TOKEN, "'key' or 'basic'"),
        ([["bearer", "key"]], TOKEN, "'key'"),
        ([["bearer", "mtls"]], TOKEN, "'mtls'"),
        ([["bearer"]], {"other": TOKEN}, "'bearer'"),
        ([["unknown"]], TOKEN, "'unknown'"),
    ],
)
async def test_missing_schemes_are_named(requirements: list[list[str]], given: Any, missing: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await sent(card(*requirements), given)
    assert str(refused.value).endswith(f"; missing: {missing}")
    assert asked_by(card(*requirements)) in str(refused.value)


async def test_a_client_certificate_meets_mutual_tls() -> None:
    assert await sent(card(["mtls", "bearer"]), TOKEN, has_certificate=True) == {"authorization": "Bearer t"}


def test_what_a_card_asks_for_in_words() -> None:
    assert asked_by(card(["key", "mtls"], ["oauth"], [])) == (
        "'key' (API key 'X-Key' in header) together with 'mtls' (client certificate), or "
        "'oauth' (OAuth 2.0, authorization code), or nothing"
    )


async def test_the_text_of_a_card_is_bounded_and_harmless_in_errors() -> None:
    asked = card(*[[f"\x1b[2J{number}" + "x" * 1000] for number in range(100)])
    with pytest.raises(ConfigurationError) as refused:
        await sent(asked, TOKEN)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 2000


def secured(peer: Peer, *requirements: list[str]) -> Page:
    return Page.card(
        peer.address,
        capabilities={"streaming": True},
        securitySchemes=SCHEMES,
        securityRequirements=[{"schemes": {name: {"list": []} for name in names}} for names in requirements],
    )


@covers("META-5", "SCHM-1")
async def test_connect_sends_the_key_under_the_name_of_the_card() -> None:
    async with peering() as peer, Site(secured(peer, ["bearer"], ["key"])) as site:
        async with connect(site.url, credentials=api_key(None, SECRET)) as client:
            await client.get("t-1")
    assert peer.calls[0].values("x-key") == [SECRET]


async def test_connect_names_what_is_missing_and_calls_nothing() -> None:
    async with peering() as peer, Site(secured(peer, ["basic"])) as site:
        async with connect(site.url, credentials=bearer(SECRET)) as client:
            with pytest.raises(ConfigurationError, match=r"asks for: 'basic' \(HTTP Basic\); missing: 'basic'") as no:
                await client.get("t-1")
    assert SECRET not in told(no.value)
    assert peer.calls == []


async def test_a_refused_call_without_credentials_says_what_the_card_asks_for() -> None:
    peer = Peer(always=Failure.of(UnauthenticatedError()))
    async with peering(peer), Site(secured(peer, ["bearer"])) as site, connect(site.url) as client:
        with pytest.raises(UnauthenticatedError, match=r"the card asks for 'bearer' \(HTTP bearer\)"):
            await client.get("t-1")
    assert len(peer.calls) == 1


async def test_several_credentials_are_sent_to_an_address() -> None:
    async with peering() as peer:
        for given in ([KEY, TOKEN], {"a": KEY, "b": TOKEN}):
            async with connect(peer.address, credentials=given) as client:
                await client.get("t-1")
    for call in peer.calls:
        assert (call.values("x-key"), call.values("authorization")) == (["k"], ["Bearer t"])


async def test_a_key_without_a_name_needs_a_card() -> None:
    async with peering() as peer, connect(peer.address, credentials=NAMELESS) as client:
        with pytest.raises(ConfigurationError, match="the API key has no name"):
            await client.get("t-1")
    assert peer.calls == []


def test_one_list_or_mapping_of_credentials() -> None:
    assert all_of(None) == []
    assert all_of(TOKEN) == all_of([TOKEN]) == all_of({"a": TOKEN}) == [TOKEN]
    with pytest.raises(TypeError, match="credentials is of type str") as refused:
        connect("127.0.0.1:1", credentials=SECRET)  # type: ignore[arg-type]
    assert SECRET not in str(refused.value)
    with pytest.raises(TypeError, match="credentials"):
        connect("127.0.0.1:1", credentials=[SECRET])  # type: ignore[list-item]


# -- where credentials go


@pytest.mark.parametrize("target", ["192.0.2.1:50051", "agents.example:80", "grpc://agents.example"])
@pytest.mark.parametrize("shown", [{"credentials": bearer(SECRET)}, {"headers": [("Authorization", SECRET)]}])
async def test_credentials_do_not_leave_the_machine_in_plaintext(target: str, shown: Any) -> None:
    async with connect(target, plaintext=True, **shown) as client:
        with pytest.raises(ConfigurationError, match=r"called in plaintext.*Call it with TLS") as refused:
            await client.get("t-1")
    assert SECRET not in told(refused.value)
    assert target.removeprefix("grpc://") in str(refused.value)


@pytest.mark.parametrize(
    ("target", "tls", "goes"),
    [
        ("127.0.0.1:1", False, True),
        ("[::1]:1", False, True),
        ("localhost:1", False, True),
        ("unix:/run/agent.sock", False, True),
        ("192.0.2.1:1", True, True),
        ("192.0.2.1:1", False, False),
        ("localhost.evil.example:1", False, False),
        ("127.0.0.1.evil.example:1", False, False),
        ("0.0.0.0:1", False, False),
    ],
)
def test_where_credentials_may_go(target: str, tls: bool, goes: bool) -> None:
    link = Link(grpc_address(target), tls, "", None, None)  # type: ignore[arg-type]
    if goes:
        return check_privacy(link, target)
    with pytest.raises(ConfigurationError):
        check_privacy(link, target)
    return None


async def test_a_card_cannot_send_credentials_to_another_host() -> None:
    async with Site(Page.card("b.example:443")) as site:
        with pytest.raises(Exception, match=r"another host, b\.example:443.*any_card_host"):
            async with connect(site.url, credentials=bearer(SECRET)) as client:
                await client.get("t-1")
    assert ClientSettings().any_card_host is False
