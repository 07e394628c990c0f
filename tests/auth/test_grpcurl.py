"""grpcurl with a client certificate, and with a token, against servers that ask for one."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from a2a_grpc import Agent, Server, ServerSettings, Turn
from a2a_grpc.auth import ClientCertificates
from a2a_grpc.auth.jwt import Jwt
from a2a_grpc.wire import SERVICE_NAME
from tests.auth.issuer import AUDIENCE, Issuer
from tests.auth.pki import Authority, Pair, write
from tests.harness import ROOT
from tests.tools import MissingProgram, skip_without

SERVERS, CLIENTS, FOREIGN = Authority("Servers"), Authority("Clients"), Authority("Foreign")
SENT = {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}


@pytest.fixture
def grpcurl() -> str:
    path = ROOT / "bin" / "grpcurl"
    if not path.exists():
        skip_without(MissingProgram("grpcurl", "make grpcurl"))
    return str(path)


async def call(grpcurl: str, server: Server, folder: Path, pair: Pair | None, *words: str) -> tuple[int, str]:
    """Run grpcurl with a certificate, or without. Return its exit code and its output."""
    command = [grpcurl, "-cacert", str(write(folder / "roots.pem", SERVERS.pem)), "-H", "a2a-version: 1.0"]
    if pair is not None:
        certificate, key = pair.write(folder, "caller")
        command += ["-cert", str(certificate), "-key", str(key)]
    options = words[:-1]
    address = server.grpc_address.replace("127.0.0.1", "localhost")
    process = await asyncio.create_subprocess_exec(
        *command, "-max-time", "10", *options, address, words[-1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_grpcurl_calls_with_a_client_certificate_and_is_refused_without(grpcurl: str, tmp_path: Path) -> None:
    certificate, key = SERVERS.issue("server", dns=("localhost",)).write(tmp_path, "server")
    agent = Agent("Names", "Names its caller.")

    @agent.skill()
    async def name(turn: Turn) -> str:
        """Name the caller."""
        return turn.principal.subject

    settings = ServerSettings(
        listen="127.0.0.1:0",
        http_listen="off",
        tls_cert=str(certificate),
        tls_key=str(key),
        tls_client_ca=str(write(tmp_path / "clients.pem", CLIENTS.pem)),
    )
    spiffe = "spiffe://prod.example/grpcurl"
    async with Server(agent, settings, auth=[ClientCertificates()]) as server:
        ours = CLIENTS.issue(uris=(spiffe,))
        code, out = await call(grpcurl, server, tmp_path, ours, "-d", json.dumps(SENT), f"{SERVICE_NAME}/SendMessage")
        assert code == 0, out
        assert json.loads(out)["task"]["artifacts"][0]["parts"] == [{"text": spiffe}]
        code, out = await call(grpcurl, server, tmp_path, CLIENTS.issue("one", "two"), f"{SERVICE_NAME}/ListTasks")
        assert code != 0
        assert "Unauthenticated" in out
        for pair in (None, FOREIGN.issue("a")):
            code, out = await call(grpcurl, server, tmp_path, pair, "list")
            assert code != 0, out
            assert SERVICE_NAME not in out


async def test_grpcurl_calls_with_a_token_and_is_refused_without(grpcurl: str, tmp_path: Path) -> None:
    certificate, key = SERVERS.issue("server", dns=("localhost",)).write(tmp_path, "server")
    agent = Agent("Names", "Names its caller.")

    @agent.skill()
    async def name(turn: Turn) -> str:
        """Name the caller."""
        return turn.principal.subject

    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", tls_cert=str(certificate), tls_key=str(key))
    async with Issuer() as issuer, Server(agent, settings, auth=[Jwt(issuer.url, [AUDIENCE])]) as server:
        token = ("-H", f"Authorization: Bearer {issuer.token(sub='ann')}")
        code, out = await call(grpcurl, server, tmp_path, None, *token, "list")
        assert (code, SERVICE_NAME in out) == (0, True), out
        send = ("-d", json.dumps(SENT), f"{SERVICE_NAME}/SendMessage")
        code, out = await call(grpcurl, server, tmp_path, None, *token, *send)
        assert code == 0, out
        assert json.loads(out)["task"]["artifacts"][0]["parts"] == [{"text": "ann"}]
        for refused in ((), ("-H", "Authorization: Bearer nonsense")):
            code, out = await call(grpcurl, server, tmp_path, None, *refused, "list")
            assert code != 0
            assert "The call carries no valid credentials." in out
