"""The official SDK's client reads from the card how to say who calls, and does so (sdk_auth_client.py)."""

import json
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc.auth.keyedits import add
from a2a_grpc.auth.keyfile import Key, digest_of
from tests.auth.issuer import AUDIENCE, Issuer
from tests.auth.pki import Authority
from tests.harness import Program, run_program

CLIENT = "tests/interop/sdk_auth_client.py"
SERVER = "servers/scripted.py"


async def seen_by_client(url: str, schemes: dict[str, str], *files: Path) -> Any:
    code, out, err = await run_program(
        CLIENT, url, *map(str, files), timeout_s=100, env={"SCHEMES": json.dumps(schemes)}
    )
    assert code == 0, err[-2000:]
    return json.loads(out)


def assert_known(seen: Any) -> None:
    assert "valid credentials" in seen["without"]["text"]
    assert seen["with"]["tasks"] == 1
    assert seen["with"]["elements"][0] == "task"


@pytest.mark.long
async def test_an_api_key_goes_where_the_card_says(tmp_path: Path) -> None:
    key = "a2a_" + "ab" * 32
    add(tmp_path / "keys.toml", Key("ann", digest_of(key)))
    async with Program.server(SERVER, "--api-keys", str(tmp_path / "keys.toml")) as server:
        seen = await seen_by_client(server.http, {"api_key": key})
    assert seen["schemes"] == ["api_key", "api_key_bearer"]
    assert_known(seen)


@pytest.mark.long
async def test_a_token_is_a_bearer_token() -> None:
    async with Issuer() as issuer:
        options = ("--jwt-issuer", issuer.url, "--jwt-audience", AUDIENCE)
        async with Program.server(SERVER, *options) as server:
            (scheme,) = (await seen_by_client(server.http, {}))["schemes"]
            seen = await seen_by_client(server.http, {scheme: issuer.token()})
    assert_known(seen)


@pytest.mark.long
async def test_a_client_certificate_is_enough(tmp_path: Path) -> None:
    servers, clients = Authority("Servers"), Authority("Clients")
    servers.issue("server", dns=("localhost",)).write(tmp_path)
    clients.issue("ann").write(tmp_path, "ann")
    (tmp_path / "ca.pem").write_bytes(clients.pem)
    (tmp_path / "servers.pem").write_bytes(servers.pem)
    options = (f"--tls-cert={tmp_path}/tls.crt", f"--tls-key={tmp_path}/tls.key", f"--tls-client-ca={tmp_path}/ca.pem")
    async with Program.server(SERVER, *options) as server:
        url = server.http.replace("127.0.0.1", "localhost")
        seen = await seen_by_client(url, {}, tmp_path / "servers.pem", tmp_path / "ann.crt", tmp_path / "ann.key")
    assert seen["schemes"] == ["mutual_tls"]
    assert seen["with"]["elements"][0] == "task"
    assert seen["with"]["tasks"] == 2, "both calls showed the certificate"
