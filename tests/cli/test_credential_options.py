"""The options for credentials: what each sends, and that no output shows a secret, even if the agent sends it back."""

import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.cli.terminal import Done, run
from tests.client.authority import CLIENT_ID, CLIENT_SECRET, Authority
from tests.client.peers import Failure, Page, Peer, Site, peering

CANARY = "C4nary-s3cret.v4lue"


class Echo(Peer):
    """A peer that refuses each call, and sends back all that the call has shown."""

    async def answer(self, rpc: str, request: Any, context: Any) -> Any:
        shown = " ".join(str(value) for _, value in context.invocation_metadata())
        self.always = Failure(grpc.StatusCode.UNAUTHENTICATED, f"not known: {shown}", (("x-said", shown),))
        return await super().answer(rpc, request, context)


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with Authority() as running:
        yield running


def giving(authority: Authority, tmp_path: Path) -> dict[str, tuple[tuple[str, ...], dict[str, str], str]]:
    """The options and variables for each kind of credentials, with the value that an agent gets."""
    secret, command = tmp_path / "secret", tmp_path / "print token.py"
    secret.write_text(CLIENT_SECRET + "\n")
    command.write_text(f"print({CANARY!r})")
    words = f"{sys.executable} {shlex.quote(str(command))}"
    oauth = ("--oauth2-client-id", CLIENT_ID, "--oauth2-token-url", authority.token_url)
    by_issuer = ("--oauth2-client-id", CLIENT_ID, "--oauth2-issuer", authority.issuer)
    variables = {
        "A2A_GRPC_OAUTH2_CLIENT_ID": CLIENT_ID,
        "A2A_GRPC_OAUTH2_CLIENT_SECRET_FILE": str(secret),
        "A2A_GRPC_OAUTH2_TOKEN_URL": authority.token_url,
        "A2A_GRPC_OAUTH2_SCOPE": "a\nb",
    }
    return {
        "token command": (("--token-command", words), {}, f"Bearer {CANARY}"),
        "token command by variable": ((), {"A2A_GRPC_TOKEN_COMMAND": words}, f"Bearer {CANARY}"),
        "oauth2": ((*oauth, "--oauth2-client-secret-file", str(secret)), {}, f"Bearer {CANARY}"),
        "oauth2 by issuer": ((*by_issuer, "--oauth2-client-secret-file", str(secret)), {}, f"Bearer {CANARY}"),
        "secret by variable": (oauth, {"A2A_GRPC_OAUTH2_CLIENT_SECRET": CLIENT_SECRET}, f"Bearer {CANARY}"),
        "oauth2 by variables": ((), variables, f"Bearer {CANARY}"),
    }


def answer(authority: Authority) -> None:
    authority.answers = [(200, {"access_token": CANARY, "token_type": "Bearer", "expires_in": 3600})]


KINDS = list(giving(Authority(), Path("/tmp")))


def check(done: Done) -> Done:
    assert not [secret for secret in (CANARY, CLIENT_SECRET) if secret in done.out + done.err]
    assert "Traceback" not in done.err
    return done


@pytest.mark.parametrize("kind", KINDS)
async def test_what_each_option_sends_and_what_the_output_hides(
    authority: Authority, tmp_path: Path, kind: str
) -> None:
    options, env, value = giving(authority, tmp_path)[kind]
    answer(authority)
    async with peering() as peer:
        done = check(await run("get", "t-1", "--agent", peer.address, "-v", *options, env=env))
    assert done.code == 0
    assert [call.values("authorization") for call in peer.calls] == [[value]]
    if "variables" in kind:
        assert authority.requests[0].form["scope"] == "a b"


@pytest.mark.parametrize("kind", KINDS[::2])
async def test_an_agent_that_sends_the_token_back(authority: Authority, tmp_path: Path, kind: str) -> None:
    options, env, value = giving(authority, tmp_path)[kind]
    answer(authority)
    async with peering(Echo()) as peer:
        done = check(await run("get", "t-1", "--agent", peer.address, "-v", *options, env=env))
        assert done.code == 4
        assert "not known: " in done.err
        assert peer.calls[0].values("authorization") == [value]
        shown = check(await run("get", "t-1", "--agent", peer.address, "--as-grpcurl", *options, env=env))
    assert '-H "authorization: Bearer $A2A_GRPC_TOKEN"' in shown.out


@pytest.mark.parametrize("key", [CANARY, f"{CANARY}=="])
async def test_a_key_without_a_name_gets_that_of_the_card(key: str) -> None:
    schemes = {"key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}}}
    requirements: list[Any] = [{"schemes": {"key": {}}}]
    async with peering(Echo()) as peer:
        page = Page.card(peer.address, capabilities={}, securitySchemes=schemes, securityRequirements=requirements)
        async with Site(page) as site:
            done = check(await run("get", "t-1", "--agent", site.url, "-v", "--api-key", key))
            shown = check(await run("get", "t-1", "--agent", site.url, "--as-grpcurl", "--api-key", key))
    assert done.code == 4
    assert peer.calls[0].values("x-key") == [key]
    assert '-H "x-key: $A2A_GRPC_API_KEY"' in shown.out


async def test_a_login_is_hidden_too(authority: Authority, tmp_path: Path) -> None:
    import json

    file = tmp_path / "a2a-grpc" / "logins.json"
    file.parent.mkdir()
    file.touch(0o600)
    async with peering(Echo()) as peer, Site(Page.card(peer.address, capabilities={})) as site:
        login = {"client_id": "c", "token_url": authority.token_url, "token": "old", "refresh_token": CLIENT_SECRET}
        file.write_text(json.dumps({site.url: {**login, "expires_at": 1.0}}))
        answer(authority)
        done = check(await run("get", "t-1", "--agent", site.url, "-v", env={"XDG_CONFIG_HOME": str(tmp_path)}))
    assert done.code == 4
    assert peer.calls[0].values("authorization") == [f"Bearer {CANARY}"]


async def test_credentials_do_not_leave_the_machine_in_plaintext() -> None:
    done = check(await run("get", "t-1", "--agent", "192.0.2.1:50051", "--plaintext", "--token", CANARY))
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert line.startswith("Error: the credentials are not sent to '192.0.2.1:50051'")
