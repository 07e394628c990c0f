"""Callers of the sentinel's HTTP that show a client certificate: who they are, and which certificates are accepted."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from a2a_grpc import connect
from a2a_grpc.auth import ClientCertificates
from a2a_grpc.client import UnreachableError
from a2a_grpc.errors import UnauthenticatedError
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.rules import Rule, Rules
from tests.auth.pki import DAY, Authority, Pair, write
from tests.harness import eventually, scripted_agent
from tests.sentinel.test_http import by_token
from tests.sentinel.tunnels import ADDRESS, attached

SERVERS, CLIENTS, FOREIGN = Authority("Servers"), Authority("Clients"), Authority("Foreign")
CARD = f"/agents/{ADDRESS}/.well-known/agent-card.json"
LOOK_S = 0.05


@asynccontextmanager
async def asking(folder: Path, rules: Rules | None = None, **more: Any) -> AsyncIterator[Sentinel]:
    """A sentinel that asks for certificates of `CLIENTS`, and knows callers with tokens at its second address, too."""
    SERVERS.issue("server", dns=("localhost",)).write(folder)
    write(folder / "roots.pem", SERVERS.pem)
    write(folder / "clients.pem", CLIENTS.pem)
    settings = SentinelSettings(
        listen="localhost:0/mtls,localhost:0/tls",
        http_listen="localhost:0",
        tls_cert=str(folder / "tls.crt"),
        tls_key=str(folder / "tls.key"),
        tls_client_ca=str(folder / "clients.pem"),
        drain_grace_s=0.0,
        **more,
    )
    async with Sentinel(settings, auth=[by_token, ClientCertificates()], rules=rules) as running:
        yield running


async def status_of(url: str, folder: Path, pair: Pair | None = None, **headers: str) -> int:
    """The status of a request on a new connection, on which a certificate is shown; 0 if the connection was ended."""
    context = ssl.create_default_context(cafile=folder / "roots.pem")
    if pair is not None:
        context.load_cert_chain(*pair.write(folder, "caller"))
    try:
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context, headers=headers) as response:
            return response.status
    except (aiohttp.ClientError, OSError):
        return 0


async def test_a_caller_of_http_is_the_one_that_its_certificate_names(tmp_path: Path) -> None:
    rules = Rules(call=[Rule(addresses=["*"], methods=["certificate"], subjects=["ada"])])
    async with asking(tmp_path, rules) as running:
        agents_url = f"{running.http_url}/registry/agents"
        attach = {"attach_ca_cert": str(tmp_path / "roots.pem")}
        async with attached(scripted_agent(), running.addresses[1], token="owner", attach=attach):

            async def assert_served() -> None:
                assert await status_of(f"{running.http_url}{CARD}", tmp_path, CLIENTS.issue("ada")) == 200

            await eventually(assert_served)
            assert await status_of(f"{running.http_url}{CARD}", tmp_path, CLIENTS.issue("bob")) == 404
            assert await status_of(agents_url, tmp_path) == 401
            assert await status_of(agents_url, tmp_path, Authorization="Bearer eve") == 200
            assert await status_of(f"{running.http_url}/readyz", tmp_path) == 200


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(FOREIGN.issue("ada"), id="foreign CA"),
        pytest.param(Authority("Clients").issue("ada"), id="foreign CA of the same name"),
        pytest.param(CLIENTS.issue("ada", begins=-2 * DAY, ends=-DAY), id="expired"),
    ],
)
async def test_a_certificate_that_is_not_valid_ends_the_connection(pair: Pair, tmp_path: Path) -> None:
    async with asking(tmp_path) as running:
        assert await status_of(f"{running.http_url}/registry/agents", tmp_path, pair) == 0
        assert await status_of(f"{running.http_url}/registry/agents", tmp_path, CLIENTS.issue("ada")) == 200


async def test_a_client_ca_that_was_replaced_counts_for_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.sentinel.ports.LOOK_EVERY_S", LOOK_S)
    async with asking(tmp_path) as running:
        url = f"{running.http_url}/registry/agents"
        assert await status_of(url, tmp_path, CLIENTS.issue("ada")) == 200
        write(tmp_path / "clients.pem", FOREIGN.pem)

        async def assert_replaced() -> None:
            assert await status_of(url, tmp_path, CLIENTS.issue("ada")) == 0
            assert await status_of(url, tmp_path, FOREIGN.issue("ada")) == 200

        await eventually(assert_replaced)


async def test_our_client_calls_an_agent_by_the_url_of_its_card_with_its_certificate(tmp_path: Path) -> None:
    roots = str(tmp_path / "roots.pem")
    async with asking(tmp_path) as running:
        url = f"{running.http_url}/agents/{ADDRESS}"
        async with attached(
            scripted_agent(), running.addresses[1], token="owner", attach={"attach_ca_cert": roots}
        ) as served:
            certificate, key = CLIENTS.issue("ada").write(tmp_path, "ada")

            async def assert_served() -> None:
                assert await status_of(f"{running.http_url}{CARD}", tmp_path, CLIENTS.issue("ada")) == 200

            await eventually(assert_served)
            shown: dict[str, Any] = {"client_cert": str(certificate), "client_key": str(key)}
            async with connect(url, ca_cert=roots, **shown) as client:
                card = await client.public_card()
                assert card is not None
                assert card.name == served.server.card.name
            foreign, foreign_key = FOREIGN.issue("ada").write(tmp_path, "foreign")
            with pytest.raises(UnreachableError, match="does it accept the certificate in client_cert"):
                async with connect(url, ca_cert=roots, client_cert=str(foreign), client_key=str(foreign_key)):
                    pass
            with pytest.raises(UnauthenticatedError, match=r"needs credentials \(401 Unauthorized\)"):
                async with connect(url, ca_cert=roots):
                    pass
