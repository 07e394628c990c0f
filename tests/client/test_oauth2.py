"""Tokens by client credentials: obtained once for all who need them, renewed ahead of their end, never shown."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import a2a_grpc.client.endpoint
import a2a_grpc.client.tokens
from a2a_grpc import connect
from a2a_grpc.client import ClientManager, CredentialsUnavailableError, oauth2
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError
from tests.client.authority import CLIENT_ID, CLIENT_SECRET, Authority, expiring
from tests.client.peers import Failure, Page, Peer, Site, certificate, collected, peering
from tests.client.test_credentials import authorizations, told


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with Authority() as running:
        yield running


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peering() as running:
        yield running


def by(authority: Authority, **options: Any) -> Any:
    return oauth2(CLIENT_ID, CLIENT_SECRET, **{"token_url": authority.token_url, **options})


async def test_a_token_is_obtained_at_the_first_call_and_kept(authority: Authority, peer: Peer) -> None:
    async with connect(peer.address, credentials=by(authority, scopes=["a", "b"], audience="agents")) as client:
        await client.get("t-1")
        await client.send("hello")
        await collected(client.subscribe("t-1"))
    assert authorizations(peer) == [["Bearer token-1"]] * 3
    (asked,) = authority.requests
    assert asked.form == {"grant_type": "client_credentials", "scope": "a b", "audience": "agents"}
    assert asked.basic == (CLIENT_ID, CLIENT_SECRET)


@pytest.mark.parametrize("after_s", [-1.0, 0.0, 59.0])
async def test_a_token_is_renewed_60_seconds_before_its_end(
    authority: Authority, peer: Peer, after_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    async with connect(peer.address, credentials=by(authority)) as client:
        await client.get("t-1")
        clock.later(3600 - 60 + after_s)
        await client.get("t-1")
    assert authorizations(peer) == [["Bearer token-1"], ["Bearer token-1" if after_s < 0 else "Bearer token-2"]]


async def test_a_short_token_is_renewed_after_half_of_its_life(
    authority: Authority, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, authority.lifetime_s = Clock(monkeypatch), 10
    async with connect(peer.address, credentials=by(authority)) as client:
        for _ in range(3):
            await client.get("t-1")
            clock.later(3)
    assert authorizations(peer) == [["Bearer token-1"], ["Bearer token-1"], ["Bearer token-2"]]


async def test_the_end_of_a_jwt_counts_if_the_answer_does_not_say_it(
    authority: Authority, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, first = Clock(monkeypatch), expiring(300)
    authority.answers = [(200, {"access_token": first, "token_type": "Bearer"})]
    async with connect(peer.address, credentials=by(authority)) as client:
        await client.get("t-1")
        clock.later(250)
        await client.get("t-1")
    assert authorizations(peer) == [[f"Bearer {first}"], ["Bearer token-1"]]


async def test_100_calls_on_an_expired_token_make_one_request(
    authority: Authority, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    async with connect(peer.address, credentials=by(authority)) as client:
        await client.get("t-1")
        clock.later(3600)
        await asyncio.gather(*(client.get("t-1") for _ in range(100)))
    assert len(authority.requests) == 2
    assert authorizations(peer)[1:] == [["Bearer token-2"]] * 100


async def test_100_calls_get_the_error_of_one_request(authority: Authority, peer: Peer) -> None:
    authority.answers = [(400, {"error": "invalid_scope"})] * 100
    async with connect(peer.address, credentials=by(authority)) as client:
        errors = await asyncio.gather(*(client.get("t-1") for _ in range(100)), return_exceptions=True)
    assert len(authority.requests) == 1
    assert {str(error) for error in errors} == {
        f"the token endpoint {authority.token_url} refused the request: invalid_scope"
    }
    assert peer.calls == []


async def test_a_canceled_call_leaves_the_request_to_the_next_one(authority: Authority, peer: Peer) -> None:
    authority.held = asyncio.Event()
    async with connect(peer.address, credentials=by(authority)) as client:
        first, second = (asyncio.create_task(client.get("t-1")) for _ in range(2))
        while not authority.requests:
            await asyncio.sleep(0)
        first.cancel()
        authority.held.set()
        await second
    assert authorizations(peer) == [["Bearer token-1" if len(authority.requests) == 1 else "Bearer token-2"]]


async def test_a_token_that_cannot_be_renewed_is_used_until_its_end(
    authority: Authority, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    async with connect(peer.address, credentials=by(authority), max_retries=0, timeout_s=1.0) as client:
        await client.get("t-1")
        clock.later(3600 - 30)
        authority.answers = [(503, {})] * 100
        await client.get("t-1")
        await client.get("t-1")
        assert len(authority.requests) == 2  # the second call within AGAIN_S does not ask again
        clock.later(31)
        with pytest.raises(CredentialsUnavailableError, match="answers HTTP 503"):
            await client.get("t-1")
    assert authorizations(peer) == [["Bearer token-1"]] * 3


async def test_clients_of_several_event_loops_share_one_object(authority: Authority, peer: Peer) -> None:
    credentials = by(authority)
    async with ClientManager(credentials=credentials) as agents:
        agents.register("peer", peer.address)
        await agents.get("peer").get("t-1")
        blocking = agents.blocking("peer")
        await asyncio.gather(*(asyncio.to_thread(blocking.get, "t-1") for _ in range(3)))
    assert len(authority.requests) == 1


# -- UNAUTHENTICATED


@pytest.mark.parametrize("rpc", ["GetTask", "SendMessage", "SendStreamingMessage", "SubscribeToTask", "ListTasks"])
async def test_a_refused_token_is_renewed_once_and_the_call_repeated(authority: Authority, rpc: str) -> None:
    from tests.client.peers import OPERATIONS

    peer = Peer(failures=[Failure.of(UnauthenticatedError())])
    async with peering(peer), connect(peer.address, credentials=by(authority)) as client:
        await OPERATIONS[rpc](client)
    assert [call.rpc for call in peer.calls] == [rpc, rpc]
    assert authorizations(peer) == [["Bearer token-1"], ["Bearer token-2"]]


@pytest.mark.parametrize("rpc", ["GetTask", "SendMessage", "SendStreamingMessage", "SubscribeToTask", "ListTasks"])
async def test_an_agent_that_refuses_all_tokens_is_asked_twice(authority: Authority, rpc: str) -> None:
    from tests.client.peers import OPERATIONS

    peer = Peer(always=Failure.of(UnauthenticatedError("no")))
    async with peering(peer), connect(peer.address, credentials=by(authority)) as client:
        with pytest.raises(UnauthenticatedError, match="no"):
            await OPERATIONS[rpc](client)
        assert len(peer.calls) == 2
        for _ in range(3):
            with pytest.raises(UnauthenticatedError, match="no"):
                await OPERATIONS[rpc](client)
    assert len(authority.requests) == 2


class Revoked(Peer):
    """A peer that refuses the token `token-1`."""

    async def answer(self, rpc: str, request: Any, context: Any) -> Any:
        if ("authorization", "Bearer token-1") in list(context.invocation_metadata()):
            self.always = Failure.of(UnauthenticatedError())
        else:
            self.always = None
        return await super().answer(rpc, request, context)


async def test_100_refused_calls_renew_the_token_once(authority: Authority) -> None:
    peer = Revoked()
    async with peering(peer), connect(peer.address, credentials=by(authority)) as client:
        await asyncio.gather(*(client.get("t-1") for _ in range(100)))
    assert len(authority.requests) == 2
    assert len(peer.calls) <= 200


# -- the secret


async def test_a_server_that_knows_only_the_form_gets_the_secret_in_the_form(authority: Authority, peer: Peer) -> None:
    authority.methods = {"client_secret_post"}
    async with connect(peer.address, credentials=by(authority)) as client:
        await client.get("t-1")
    assert [asked.basic is None for asked in authority.requests] == [False, True]
    assert authority.requests[1].form["client_secret"] == CLIENT_SECRET


async def test_the_way_that_the_metadata_names_is_tried_first(authority: Authority, peer: Peer) -> None:
    authority.methods = {"client_secret_post"}
    authority.metadata["token_endpoint_auth_methods_supported"] = ["private_key_jwt", "client_secret_post"]
    async with connect(peer.address, credentials=by(authority, token_url=None, issuer=authority.issuer)) as client:
        await client.get("t-1")
    assert [asked.basic for asked in authority.requests] == [None]


async def test_a_secret_in_a_file_is_read_for_each_request(authority: Authority, peer: Peer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    async with connect(peer.address, credentials=oauth2(CLIENT_ID, secret, token_url=authority.token_url)) as client:
        with pytest.raises(UnauthenticatedError, match=r"refused the request: invalid_client \(unknown client\)"):
            await client.get("t-1")
        secret.write_text(f"{CLIENT_SECRET}\n")
        await client.get("t-1")


@pytest.mark.parametrize(
    "answer",
    [
        (401, {"error": "invalid_client", "error_description": f"the secret {CLIENT_SECRET} is wrong"}),
        (400, {"error": CLIENT_SECRET}),
        (400, {"message": CLIENT_SECRET}),
        (200, {"error": "odd", "error_description": CLIENT_SECRET}),
        (200, {"access_token": ""}),
        (200, {"access_token": "caf\u00e9"}),
        (200, {"access_token": "a", "token_type": "mac"}),
        (200, {"access_token": ["a"]}),
        (500, {"error": CLIENT_SECRET}),
    ],
)
async def test_errors_name_the_endpoint_and_not_the_secret(authority: Authority, peer: Peer, answer: Any) -> None:
    authority.answers = [answer] * 4
    async with connect(peer.address, credentials=by(authority)) as client:
        with pytest.raises((UnauthenticatedError, CredentialsUnavailableError)) as refused:
            await client.get("t-1")
    assert authority.token_url in str(refused.value)
    assert CLIENT_SECRET not in told(refused.value)
    assert peer.calls == []


async def test_a_response_that_is_no_json_is_refused(authority: Authority, peer: Peer) -> None:
    authority.answers = [web.Response(text=f"<html>{CLIENT_SECRET}</html>")]
    async with connect(peer.address, credentials=by(authority)) as client:
        with pytest.raises(UnauthenticatedError, match="refused the request: HTTP 200"):
            await client.get("t-1")


async def test_a_redirect_is_not_followed(authority: Authority, peer: Peer) -> None:
    async with Authority() as other:
        authority.answers = [web.Response(status=307, headers={"Location": other.token_url})]
        async with connect(peer.address, credentials=by(authority)) as client:
            with pytest.raises(ConfigurationError, match=f"redirects to {other.token_url}, which is not followed"):
                await client.get("t-1")
        assert other.requests == []


async def test_a_large_response_is_refused(authority: Authority, peer: Peer) -> None:
    authority.answers = [web.Response(body=b"x" * 300_000)]
    async with connect(peer.address, credentials=by(authority)) as client:
        with pytest.raises(ConfigurationError, match="more than 262144 bytes"):
            await client.get("t-1")


async def test_an_endpoint_that_hangs_is_left(
    authority: Authority, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(a2a_grpc.client.endpoint, "TIMEOUT_S", 0.05)
    authority.held = asyncio.Event()
    async with connect(peer.address, credentials=by(authority)) as client:
        with pytest.raises(CredentialsUnavailableError, match="does not answer within"):
            await client.get("t-1")


@pytest.mark.parametrize("where", ["token_url", "issuer"])
@pytest.mark.parametrize(
    "url", ["http://idp.example/token", "ftp://idp.example", "idp.example", "https://u:p@idp.example"]
)
def test_an_endpoint_without_tls_is_refused(where: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match=where):
        oauth2(CLIENT_ID, CLIENT_SECRET, **{where: url})


async def test_an_endpoint_with_tls_of_a_private_authority(peer: Peer, tmp_path: Path) -> None:
    import ssl

    issued = certificate(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.cert_file, issued.key_file)
    async with Authority(tls=context) as authority:
        async with connect(peer.address, credentials=by(authority, ca_cert=issued.roots_file)) as client:
            await client.get("t-1")
        async with connect(peer.address, credentials=by(authority)) as client:
            with pytest.raises(ConfigurationError, match="certificate of the token endpoint"):
                await client.get("t-1")
    assert authorizations(peer) == [["Bearer token-1"]]


# -- discovery


async def test_the_endpoint_comes_from_the_metadata_of_the_issuer(authority: Authority, peer: Peer) -> None:
    async with connect(peer.address, credentials=by(authority, token_url=None, issuer=authority.issuer)) as client:
        await client.get("t-1")
    assert authority.metadata_requests == ["/.well-known/openid-configuration"]
    assert authorizations(peer) == [["Bearer token-1"]]


async def test_metadata_of_another_issuer_is_refused(authority: Authority, peer: Peer) -> None:
    authority.metadata["issuer"] = "https://other.example"
    async with connect(peer.address, credentials=by(authority, token_url=None, issuer=authority.issuer)) as client:
        with pytest.raises(ConfigurationError, match=r"is for the issuer 'https://other\.example'"):
            await client.get("t-1")
    assert authority.requests == []


SCHEMES: dict[str, Any] = {
    "token url": lambda issuer: {
        "oauth2SecurityScheme": {
            "flows": {"clientCredentials": {"tokenUrl": f"{issuer}/token", "scopes": {"read": "Reads."}}}
        }
    },
    "metadata url": lambda issuer: {
        "oauth2SecurityScheme": {
            "flows": {"authorizationCode": {"tokenUrl": "https://x.example", "authorizationUrl": "https://x.example"}},
            "oauth2MetadataUrl": f"{issuer}/.well-known/openid-configuration",
        }
    },
    "openid": lambda issuer: {
        "openIdConnectSecurityScheme": {"openIdConnectUrl": f"{issuer}/.well-known/openid-configuration"}
    },
}


def asking(peer: Peer, issuer: str, kind: str) -> Page:
    return Page.card(
        peer.address,
        securitySchemes={"idp": SCHEMES[kind](issuer)},
        securityRequirements=[{"schemes": {"idp": {"list": ["read"]}}}],
        capabilities={"streaming": True},
    )


@pytest.mark.parametrize("kind", SCHEMES)
async def test_the_endpoint_and_the_scopes_come_from_the_scheme_of_the_card(
    authority: Authority, peer: Peer, kind: str
) -> None:
    credentials = oauth2(CLIENT_ID, CLIENT_SECRET)
    async with Site(asking(peer, authority.issuer, kind)) as site:
        for _ in range(2):  # two clients share one token
            async with connect(site.url, credentials=credentials) as client:
                await client.get("t-1")
    assert [asked.form["scope"] for asked in authority.requests] == ["read"]
    assert authorizations(peer) == [["Bearer token-1"]] * 2


@pytest.mark.parametrize("kind", SCHEMES)
async def test_a_card_cannot_send_the_secret_to_another_host(peer: Peer, kind: str) -> None:
    async with Site(asking(peer, "https://evil.example", kind)) as site:
        async with connect(site.url, credentials=oauth2(CLIENT_ID, CLIENT_SECRET)) as client:
            with pytest.raises(ConfigurationError, match=r"another host, evil\.example.*issuer=") as refused:
                await client.get("t-1")
    assert CLIENT_SECRET not in told(refused.value)
    assert peer.calls == []


async def test_without_a_card_and_an_endpoint_the_way_out_is_named(peer: Peer) -> None:
    async with connect(peer.address, credentials=oauth2(CLIENT_ID, CLIENT_SECRET)) as client:
        with pytest.raises(ConfigurationError, match="give token_url or issuer"):
            await client.get("t-1")


def test_nothing_shows_the_secret() -> None:
    credentials = oauth2(CLIENT_ID, CLIENT_SECRET, token_url="https://idp.example/token")
    assert CLIENT_SECRET not in repr(credentials)
    assert "canary" not in repr(a2a_grpc.client.tokens.Token("canary", refresh="canary"))
    with pytest.raises(TypeError) as refused:
        oauth2(CLIENT_ID, CLIENT_SECRET.encode())  # type: ignore[arg-type]
    assert CLIENT_SECRET not in str(refused.value)


class Clock:
    """The clock of tokens, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        self._ahead_s = 0.0
        real, real_monotonic = time.time, time.monotonic
        clock = type("clock", (), {"time": lambda: real() + self._ahead_s, "monotonic": real_monotonic})
        monkeypatch.setattr(a2a_grpc.client.tokens, "time", clock)

    def later(self, seconds: float) -> None:
        self._ahead_s += seconds
