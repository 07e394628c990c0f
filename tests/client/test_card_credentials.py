"""Cards whose servers ask for credentials: what the client shows, where, and what it says if that does not help."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from a2a_grpc import ClientManager, connect
from a2a_grpc.client import AgentCardError, Cards, Credentials, api_key, bearer, oauth2
from a2a_grpc.client.target import CardUrl, parse
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, PermissionDeniedError, UnauthenticatedError
from tests.cli.terminal import run, run_all
from tests.client.peers import Page, Site, peering

GOOD = "good-token"


class Guarded(Site):
    """A site that answers requests without the right token with a status of its own."""

    def __init__(self, *pages: Page, status: int = 401, tokens: tuple[str, ...] = (GOOD,), tls: Any = None) -> None:
        super().__init__(*pages, tls=tls)
        self.status = status
        self.tokens = tokens

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("Authorization", request.headers.get("X-Api-Key", "")).removeprefix("Bearer ")
        if shown not in self.tokens:
            self.requests.append((request.raw_path, dict(request.headers)))
            return web.Response(status=self.status)
        return await super()._answer(request)

    @property
    def shown(self) -> list[str]:
        """What each request has shown."""
        return [told.get("Authorization", told.get("X-Api-Key", "")) for _, told in self.requests]


def at(site: Site) -> CardUrl:
    found = parse(site.url)
    assert isinstance(found, CardUrl)
    return found


async def opened(target: str, **settings: Any) -> str:
    """The name on the card that a client has fetched."""
    async with connect(target, connect_timeout_s=5, **settings) as client:
        card = await client.public_card()
        assert card is not None
        return card.name


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("credentials", [bearer(GOOD), api_key("x-api-key", GOOD)], ids=["token", "key"])
async def test_a_card_is_fetched_with_credentials_if_its_server_asks_for_them(
    status: int, credentials: Credentials
) -> None:
    async with Guarded(Page.card(name="Guarded"), status=status) as site:
        assert await opened(site.url, credentials=credentials) == "Guarded"
        assert site.shown[0] == ""


async def test_a_server_that_asks_for_nothing_gets_no_credentials() -> None:
    async with Site(Page.card(name="Public")) as site:
        assert await opened(site.url, credentials=bearer(GOOD)) == "Public"
        assert all("Authorization" not in headers for _, headers in site.requests)


async def test_calls_work_with_the_credentials_that_have_opened_the_card() -> None:
    async with peering() as peer, Guarded(Page.card(peer.address)) as site:
        async with connect(site.url, credentials=bearer(GOOD)) as client:
            await client.get("t-1")
    assert peer.of("GetTask")[0].values("authorization") == [f"Bearer {GOOD}"]


@pytest.mark.parametrize(
    ("status", "credentials", "kind", "said"),
    [
        (401, None, UnauthenticatedError, "the card at {url} needs credentials (401 Unauthorized)"),
        (403, None, UnauthenticatedError, "the card at {url} needs credentials (403 Forbidden)"),
        (401, bearer("bad"), UnauthenticatedError,
         "the credentials are not accepted for the card at {url} (401 Unauthorized)"),
        (403, bearer("bad"), PermissionDeniedError, "the credentials do not cover the card at {url} (403 Forbidden)"),
        (404, bearer("bad"), AgentCardError, "{url} answers 404 Not Found; there is no card"),
    ],
)  # fmt: skip
async def test_a_refusal_is_one_clear_line(
    status: int, credentials: Credentials | None, kind: type[A2AError], said: str
) -> None:
    async with Guarded(Page.card(), status=status) as site:
        with pytest.raises(kind) as failed:
            await opened(site.url, credentials=credentials)
        assert type(failed.value) is kind
        assert str(failed.value) == said.format(url=at(site).url)


async def test_credentials_that_need_the_card_are_named_as_what_is_missing() -> None:
    async with Guarded(Page.card()) as site:
        with pytest.raises(ConfigurationError, match=r"the API key has no name.*--api-key NAME=KEY"):
            await opened(site.url, credentials=api_key(None, GOOD))
        with pytest.raises(ConfigurationError, match=r"no token endpoint is known.*--oauth2-token-url"):
            await opened(site.url, credentials=oauth2("id", "secret"))


# -- where credentials go


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_no_redirect_gets_the_credentials(status: int) -> None:
    async with Guarded(Page.card(name="Trap"), status=401) as trap:
        elsewhere = Page(status=status, headers=[("Location", f"{trap.url}/card.json")])
        async with Guarded(elsewhere) as site:
            with pytest.raises(AgentCardError, match="redirects to another place"):
                await opened(site.url, credentials=bearer(GOOD))
            assert site.shown == ["", f"Bearer {GOOD}"]
        assert trap.requests == []


async def test_a_redirect_to_tls_on_another_port_gets_no_credentials(tmp_path: Path) -> None:
    """Redirects from http to https on one host are followed, and any program of the host may listen on the port."""
    import ssl

    from tests.client.peers import certificate

    pair = certificate(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert_file, pair.key_file)
    async with Guarded(Page.card(name="Trap"), tls=context) as trap:
        async with Site(Page(status=301, headers=[("Location", f"{trap.url}/card.json")])) as site:
            with pytest.raises(AgentCardError) as failed:
                await opened(site.url, credentials=bearer(GOOD), ca_cert=pair.roots_file)
        assert str(failed.value) == (
            f"the card at {at(site)} redirects to {trap.url}/card.json, which asks for credentials; "
            "if you trust that server, call it by its URL"
        )
        assert trap.shown == [""]


async def test_credentials_are_not_sent_over_plaintext_to_another_machine() -> None:
    from a2a_grpc.client.guarded import may_show
    from a2a_grpc.client.page import Page as Answer

    url = "http://agents.example:8500/.well-known/agent-card.json"
    where = parse(url)
    assert isinstance(where, CardUrl)
    with pytest.raises(ConfigurationError, match=r"not sent to 'http://agents.example:8500.*called in plaintext"):
        may_show(where, Answer(url, 401, "Unauthorized", {}, b""))
    assert not may_show(where, Answer(url, 404, "Not Found", {}, b""))


async def test_plaintext_to_another_machine_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy stands for the other machine, whose name leads nowhere."""
    async with Guarded(Page.card()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(ConfigurationError, match="called in plaintext"):
            await opened("http://agents.example", credentials=bearer(GOOD))
        assert proxy.shown == [""]


async def test_a_registry_that_names_a_url_does_not_lead_credentials_there() -> None:
    """Only URLs that the caller has named are asked with credentials."""
    from a2a_grpc.client.discovery import discover_agent
    from a2a_grpc.client.registry import FoundAgent

    async with Guarded(Page.card()) as trap, Cards() as cards:
        found = await discover_agent(cards, FoundAgent(name="trap", url=trap.url), 5)
        assert isinstance(found.error, UnauthenticatedError)
        assert trap.shown == [""]


async def test_a_manager_discovers_urls_with_its_credentials() -> None:
    async with Guarded(Page.card(name="Guarded")) as site, ClientManager(credentials=bearer(GOOD)) as agents:
        (found,) = await agents.discover([site.url])
        assert (found.error, agents.names) == (None, ["Guarded"])


# -- cards that are kept, and credentials that change


FRESH = ("Cache-Control", "private, max-age=600")


async def test_a_kept_card_is_for_callers_with_the_same_credentials() -> None:
    async with Guarded(Page.card("127.0.0.1:1", FRESH)) as site, Cards() as cards:
        for _ in range(3):
            await cards.load(at(site), bearer(GOOD))
        assert len(site.requests) == 2
        with pytest.raises(UnauthenticatedError):
            await cards.load(at(site))
        with pytest.raises(UnauthenticatedError):
            await cards.load(at(site), bearer("bad"))


@dataclass
class Rotating:
    """Credentials whose token is another one after the first was shown."""

    tokens: list[str] = field(default_factory=lambda: ["old", GOOD])

    async def __call__(self) -> tuple[str, str]:
        return "authorization", f"Bearer {self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]}"


async def test_a_token_that_was_renewed_is_shown_once_more() -> None:
    async with Guarded(Page.card(name="Guarded")) as site:
        assert await opened(site.url, credentials=Rotating()) == "Guarded"
        assert site.shown[:3] == ["", "Bearer old", f"Bearer {GOOD}"]


# -- the command line


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{GOOD}\n")
    return file


async def test_the_options_and_variables_of_the_command_line_open_a_card(token_file: Path) -> None:
    async with Guarded(Page.card(name="Guarded")) as site:
        done = await run_all(
            ("card", site.url, "--token-file", str(token_file)),
            ("card", site.url, "--token", GOOD),
            ("card", site.url, "--api-key", f"x-api-key={GOOD}"),
        )
        done.append(await run("card", site.url, env={"A2A_GRPC_TOKEN_FILE": str(token_file)}))
        assert [(one.code, one.out.splitlines()[:1]) for one in done] == [(0, ["Guarded 1.0.0"])] * 4, done
        refused = await run_all(("card", site.url), ("card", site.url, "--token", "bad-token"))
        assert [one.code for one in refused] == [4, 4]
        assert [len(one.err.splitlines()) for one in refused] == [1, 1]
        assert "needs credentials (401 Unauthorized)" in refused[0].err
        assert "are not accepted" in refused[1].err
        assert "bad-token" not in refused[1].err
