"""`a2a-grpc login` and `logout`: a token by a browser, kept in a file of the user, used by every verb of its origin."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc.errors import UnauthenticatedError
from tests.cli.terminal import Done, run, running
from tests.client.authority import Authority
from tests.client.peers import Failure, Page, Peer, Site, peering
from tests.client.test_oauth2 import SCHEMES

CANARY = "canary"


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with Authority() as running_authority:
        yield running_authority


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with peering() as running_peer:
        yield running_peer


@pytest.fixture
async def site(authority: Authority, peer: Peer) -> AsyncIterator[Site]:
    schemes = {
        "key": {"apiKeySecurityScheme": {"location": "header", "name": "x-key"}},
        "idp": SCHEMES["openid"](authority.issuer),
    }
    card = Page.card(
        peer.address,
        capabilities={"streaming": True},
        securitySchemes=schemes,
        securityRequirements=[{"schemes": {"key": {}}}, {"schemes": {"idp": {"list": ["read"]}}}],
    )
    async with Site(card) as running_site:
        yield running_site


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a2a-grpc" / "logins.json"


async def call(home: Path, *words: str, **env: str) -> Done:
    done = await run(*words, env={"XDG_CONFIG_HOME": str(home.parent.parent), **env})
    assert CANARY not in done.out + done.err
    return done


def shown(peer: Peer) -> list[list[str]]:
    return [received.values("authorization") for received in peer.calls]


def stored(home: Path, site: Site, authority: Authority, **members: Any) -> None:
    """Write a login as it is after a while."""
    login = {"client_id": "cli", "token_url": authority.token_url, "token": "old-canary", "expires_at": time.time() - 1}
    home.parent.mkdir(parents=True, exist_ok=True)
    home.touch(0o600)
    home.write_text(json.dumps({site.url: {**login, "refresh_token": "refresh-canary-0", **members}}))


async def test_a_login_is_used_by_other_verbs_until_the_logout(
    home: Path, site: Site, authority: Authority, peer: Peer
) -> None:
    authority.answers = []
    done = await call(home, "login", site.url, "--client-id", "cli")
    assert (done.code, done.out) == (0, "")
    first, last = done.err.splitlines()
    assert first == f"open {authority.issuer}/activate and enter the code ABCD-EFGH"
    assert last == f"logged in at {site.url}; the token is in {home}"
    device, token = authority.requests
    assert device.form == {"client_id": "cli", "scope": "read"}
    assert token.form["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"
    assert (home.stat().st_mode & 0o777, home.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    for verb in (("list",), ("get", "t-1", "-v"), ("doctor", "-v")):
        assert (await call(home, *verb, "--agent", f"{site.url}/agent-card.json")).code == 0
    assert {("Bearer token-1",)} == {tuple(values) for values in shown(peer)}
    out = await call(home, "logout", site.url)
    assert (out.code, out.err) == (0, f"logged out of {site.url}\n")
    assert json.loads(home.read_text()) == {}
    assert (await call(home, "logout", "--all")).err == "there is no login\n"


async def test_the_token_goes_to_its_origin_only_and_other_credentials_win(
    home: Path, site: Site, authority: Authority, peer: Peer
) -> None:
    stored(home, site, authority, expires_at=time.time() + 3600)
    async with Site(Page.card(peer.address, capabilities={})) as other:
        await call(home, "get", "t-1", "--agent", other.url)
    await call(home, "get", "t-1", "--agent", peer.address)
    await call(home, "get", "t-1", "--agent", site.url, "--api-key", "k")
    await call(home, "get", "t-1", "--agent", site.url, "-H", "authorization: Basic x")
    await call(home, "get", "t-1", "--agent", site.url)
    assert shown(peer) == [[], [], [], ["Basic x"], ["Bearer old-canary"]]


async def test_an_ended_token_is_refreshed_once_for_all_processes(
    home: Path, site: Site, authority: Authority, peer: Peer
) -> None:
    stored(home, site, authority)
    ended = await asyncio.gather(*(call(home, "get", "t-1", "--agent", site.url) for _ in range(3)))
    assert [done.code for done in ended] == [0, 0, 0]
    (asked,) = authority.requests
    assert asked.form == {"grant_type": "refresh_token", "refresh_token": "refresh-canary-0", "client_id": "cli"}
    assert shown(peer) == [["Bearer token-1"]] * 3
    (kept,) = json.loads(home.read_text()).values()
    assert (kept["token"], kept["refresh_token"]) == ("token-1", "refresh-canary-1")


async def test_a_refused_token_is_refreshed(home: Path, site: Site, authority: Authority, peer: Peer) -> None:
    stored(home, site, authority, expires_at=time.time() + 3600)
    peer.failures = [Failure.of(UnauthenticatedError())]
    assert (await call(home, "get", "t-1", "--agent", site.url)).code == 0
    assert shown(peer) == [["Bearer old-canary"], ["Bearer token-1"]]


@pytest.mark.parametrize("refresh_token", ["", "refresh-canary-0"])
async def test_a_login_that_has_ended_names_the_way_out(
    home: Path, site: Site, authority: Authority, peer: Peer, refresh_token: str
) -> None:
    stored(home, site, authority, refresh_token=refresh_token)
    authority.answers = [(400, {"error": "invalid_grant", "error_description": "refresh-canary-0 is used"})]
    done = await call(home, "get", "t-1", "--agent", site.url)
    assert done.code == 4
    assert done.err.startswith(f"Error: the login for {site.url} has ended")
    assert done.err.endswith(f"run: a2a-grpc login {site.url}\n")
    assert peer.calls == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "access_denied"}, "the login was refused on the page"),
        ({"error": "expired_token"}, "the code was not entered in time; log in again"),
        ({"error": "invalid_client"}, "the token endpoint {} refused the request: invalid_client"),
    ],
)
async def test_a_login_that_fails(home: Path, site: Site, authority: Authority, answer: Any, said: str) -> None:
    authority.answers = [(400, {"error": "authorization_pending"}), (400, answer)]
    done = await call(home, "login", site.url, "--client-id", "cli")
    assert (done.code, done.err.splitlines()[-1]) == (4, f"Error: {said.format(authority.token_url)}")
    assert not home.exists()


@pytest.mark.parametrize("page", ["javascript:alert(1)", "file:///etc/passwd", "https://", "https://a.example/ b", "x"])
async def test_a_page_that_is_no_web_page_is_not_shown(home: Path, site: Site, authority: Authority, page: str) -> None:
    authority.page = page
    done = await call(home, "login", site.url, "--client-id", "cli")
    said = "names a page that is not an https:// or http:// URL"
    assert (done.code, len(done.err.splitlines()), said in done.err) == (4, 1, True)
    assert not home.exists()


async def test_a_file_that_cannot_be_used_is_named_before_the_user_signs_in(
    home: Path, site: Site, authority: Authority
) -> None:
    stored(home, site, authority)
    home.chmod(0o644)
    done = await call(home, "login", site.url, "--client-id", "cli")
    assert (done.code, done.err) == (2, f"Error: others can read the logins in {home}; run: chmod 600 {home}\n")
    home.chmod(0o600)
    home.write_text("{")
    done = await call(home, "login", site.url, "--client-id", "cli")
    assert (done.code, "delete the file, and log in again" in done.err) == (2, True)
    assert authority.requests == []


async def test_ctrl_c_ends_a_login(home: Path, site: Site, authority: Authority) -> None:
    authority.answers = [(400, {"error": "authorization_pending"})] * 100
    env = {"XDG_CONFIG_HOME": str(home.parent.parent)}
    async with running("login", site.url, "--client-id", "cli", env=env) as login:
        await login.err.until("enter the code")
        login.interrupt()
        done = await login.finished()
    assert done.code == 130
    assert "Traceback" not in done.err
    assert not home.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("login", "127.0.0.1:1", "--client-id=x"), "a login is for the URL of a card"),
        (("login", "http://a.example", "--client-id=x"), "the URL of the card is 'http://a.example/"),
        (("login", "http://127.0.0.1:1"), "give --client-id"),
        (("login", "http://127.0.0.1:1", "--client-id=x", "--scope=a b"), "a scope is empty, or has a space"),
        (("login", "http://127.0.0.1:1", "--client-id=x", "--issuer=http://b.example"), "the issuer is 'http://b"),
        (("logout",), "give the URL of a card, or --all"),
        (("logout", "https://a.example", "--all"), "give the URL of a card, or --all"),
        (("logout", "127.0.0.1:1"), "a login is for the URL of a card"),
    ],
)
async def test_wrong_usage_is_named_in_one_line(home: Path, words: tuple[str, ...], said: str) -> None:
    done = await call(home, *words)
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith(f"Error: {said}")


async def test_a_card_without_a_login_says_what_it_asks_for(home: Path, peer: Peer) -> None:
    schemes = {"basic": {"httpAuthSecurityScheme": {"scheme": "basic"}}}
    requirements: list[Any] = [{"schemes": {"basic": {}}}]
    async with Site(Page.card(peer.address, securitySchemes=schemes, securityRequirements=requirements)) as site:
        done = await call(home, "login", site.url, "--client-id", "cli")
    assert done.code == 2
    assert "names no server for a login with a browser; it asks for 'basic' (HTTP basic); give --issuer" in done.err


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
async def test_a_file_that_others_can_read_is_refused(home: Path, site: Site, authority: Authority) -> None:
    stored(home, site, authority)
    home.chmod(0o644)
    done = await call(home, "get", "t-1", "--agent", site.url)
    assert (done.code, done.err) == (2, f"Error: others can read the logins in {home}; run: chmod 600 {home}\n")


@pytest.mark.parametrize("content", ["{", "[]", '{"http://a": {}}', '{"http://a": {"token": "canary", "x": 1}}'])
async def test_a_file_that_is_broken_is_named(home: Path, site: Site, authority: Authority, content: str) -> None:
    stored(home, site, authority)
    home.write_text(content)
    done = await call(home, "get", "t-1", "--agent", site.url)
    assert (done.code, done.err) == (
        2,
        f"Error: the logins in {home} cannot be read; delete the file, and log in again\n",
    )
