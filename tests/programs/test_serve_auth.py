"""`a2a-grpc serve` with authentication: what callers get, what the card says, and when the server does not start."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from a2a_grpc.auth import keyedits
from a2a_grpc.auth.keyfile import Key, digest_of
from a2a_grpc.client import api_key, bearer, connect
from a2a_grpc.config import ConfigurationError
from a2a_grpc.server.program import Served
from a2a_grpc.server.program import run_program as serve_program
from a2a_grpc.wire import A2AServiceStub, ListTasksRequest
from tests.auth.pki import Authority
from tests.harness import V1, Program, eventually, request, run_program, scripted_agent

ALICE, BOB = "a2a_" + "a1" * 32, "a2a_" + "b2" * 32
AGENT = """\
from a2a_grpc import Agent, Turn, serve

agent = Agent("Who", "Says who calls.")

@agent.skill()
async def who(turn: Turn) -> str:
    \"\"\"Say who calls.\"\"\"
    return f"{turn.principal.method} {turn.principal.subject}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keyedits.add(tmp_path / "keys.toml", Key("alice", digest_of(ALICE)))
    (tmp_path / "who.py").write_text(AGENT)
    return tmp_path


def serving(folder: Path, *options: str, file: str = "who.py") -> Program:
    command = ("-m", "a2a_grpc", "serve", str(folder / file), "-o", "json", "--http-listen=127.0.0.1:0")
    listen = () if any(option.startswith("--listen") for option in options) else ("--listen=127.0.0.1:0",)
    store = f"--store=sqlite:///{folder}/tasks.db"
    return Program(*command, *listen, store, *options)


async def refused(folder: Path, *options: str) -> str:
    """Return the error of a server that does not start."""
    command = ("-m", "a2a_grpc", "serve", str(folder / "who.py"), "--http-listen=off", "--store=memory:", *options)
    code, out, err = await run_program(*command)
    assert (code, out) == (2, ""), err
    assert err.startswith("Error: ")
    assert len(err.splitlines()) == 1, err
    return err.removeprefix("Error: ").rstrip()


async def answer(channel: grpc.aio.Channel, key: str) -> str:
    metadata = (*V1, ("x-api-key", key)) if key else V1
    sent = await A2AServiceStub(channel).SendMessage(request(), metadata=metadata)
    return str(sent.task.artifacts[0].parts[0].text)


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code()


async def test_keys_of_a_file_are_accepted_the_card_says_so_and_a_revoked_key_is_refused(folder: Path) -> None:
    async with serving(folder, f"--api-keys={folder}/keys.toml") as program:
        async with grpc.aio.insecure_channel(program.address) as channel, aiohttp.ClientSession() as http:
            assert await answer(channel, ALICE) == "key alice"
            assert await code_of(answer(channel, "")) is grpc.StatusCode.UNAUTHENTICATED
            assert await code_of(answer(channel, BOB)) is grpc.StatusCode.UNAUTHENTICATED
            card = await (await http.get(f"{program.http}/.well-known/agent-card.json")).json()
            assert card["securityRequirements"] == [{"schemes": {"api_key": {}}}, {"schemes": {"api_key_bearer": {}}}]
            assert card["securitySchemes"]["api_key"]["apiKeySecurityScheme"]["name"] == "x-api-key"

            keyedits.add(folder / "keys.toml", Key("bob", digest_of(BOB)))
            keyedits.remove(folder / "keys.toml", "alice")
            await until_refused(channel)
            assert await answer(channel, BOB) == "key bob"
        for credentials in (bearer(BOB), api_key("x-api-key", BOB)):
            async with connect(program.http, credentials=credentials) as client:
                assert len([task async for task in client.list()]) == 1
    assert {"event": "note", "text": "callers need credentials: api_key, api_key_bearer"} in program.events


async def until_refused(channel: grpc.aio.Channel) -> None:
    async def check() -> None:
        try:
            await answer(channel, ALICE)
        except grpc.aio.AioRpcError:
            return
        raise AssertionError("the revoked key is still accepted")

    await eventually(check)


@pytest.mark.long
async def test_worker_processes_authenticate_too(folder: Path) -> None:
    (folder / "auth.toml").write_text("[keys]\nfile = 'keys.toml'\n")
    async with serving(folder, f"--auth={folder}/auth.toml", "--workers=2") as program:
        for _ in range(8):  # connections are distributed among the workers
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(program.address, options=options) as channel:
                assert await answer(channel, ALICE) == "key alice"
                assert await code_of(answer(channel, BOB)) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.long
async def test_a_file_may_name_the_ca_of_client_certificates(folder: Path) -> None:
    ca = Authority()
    server = ca.issue("localhost", dns=("localhost",)).write(folder, "server")
    client = ca.issue(uris=("spiffe://example.org/batch",))
    (folder / "ca.pem").write_bytes(ca.pem)
    (folder / "auth.toml").write_text("[certificates]\nclient_ca = 'ca.pem'\n")
    options = (f"--auth={folder}/auth.toml", f"--tls-cert={server[0]}", f"--tls-key={server[1]}")
    async with serving(folder, *options, "--listen=127.0.0.1:0/mtls") as program:
        credentials = grpc.ssl_channel_credentials(ca.pem, client.key, client.certificate)
        name = [("grpc.ssl_target_name_override", "localhost")]
        async with grpc.aio.secure_channel(program.address, credentials, options=name) as channel:
            assert await answer(channel, "") == "certificate spiffe://example.org/batch"


OWN = """
class Staff:
    async def __call__(self, credentials):
        from a2a_grpc.principal import Principal
        return Principal("staff", "own") if credentials.metadata.get("x-staff") == ("yes",) else None

async def only_alice(principal, operation, task):
    return principal.subject == "alice"

serve(agent, authenticators=[Staff()], authorize=only_alice)
"""


@pytest.mark.long
async def test_a_program_may_add_authenticators_and_policies_of_its_own(folder: Path) -> None:
    (folder / "own.py").write_text(AGENT + OWN)
    async with serving(folder, f"--api-keys={folder}/keys.toml", file="own.py") as program:
        async with grpc.aio.insecure_channel(program.address) as channel:
            assert await answer(channel, ALICE) == "key alice"
            listing = A2AServiceStub(channel).ListTasks(ListTasksRequest(), metadata=(*V1, ("x-staff", "yes")))
            assert await code_of(listing) is grpc.StatusCode.PERMISSION_DENIED
            assert await code_of(answer(channel, "")) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.long
async def test_credentials_in_plaintext_beyond_this_machine_are_refused(folder: Path) -> None:
    keys = f"--api-keys={folder}/keys.toml"
    said = "callers would send their credentials in plaintext beyond this machine; give --tls-cert with --tls-key, or "
    assert await refused(folder, keys, "--listen=0.0.0.0:0", "--insecure") == (
        f"listen is '0.0.0.0:0': {said}--tls-terminated if a proxy in front of the server ends TLS"
    )
    async with serving(folder, keys, "--listen=0.0.0.0:0", "--tls-terminated") as program:
        async with grpc.aio.insecure_channel(program.address.replace("0.0.0.0", "127.0.0.1")) as channel:
            assert await answer(channel, ALICE) == "key alice"


@pytest.mark.long
@pytest.mark.parametrize("workers", ["--workers=1", "--workers=2"])
async def test_a_wrong_file_ends_the_start_with_one_line(folder: Path, workers: str) -> None:
    store = f"--store=sqlite:///{folder}/tasks.db"
    (folder / "auth.toml").write_text("[kees]\n")
    assert await refused(folder, workers, store, f"--auth={folder}/auth.toml") == (
        f"{folder}/auth.toml: the table 'kees' is unknown; known tables: anonymous, certificates, jwt, keys; "
        "did you mean 'keys'?"
    )
    (folder / "keys.toml").write_text("[[key]]\nname = 'alice'\n")
    assert await refused(folder, workers, store, f"--api-keys={folder}/keys.toml") == (
        f"{folder}/keys.toml: [[key]] 1 ('alice'): the key 'sha256' is missing"
    )


@pytest.mark.parametrize("name", ["auth", "api_keys", "jwt_issuer", "tls_client_ca"])
def test_credentials_that_a_loaded_file_names_are_never_ignored(name: str) -> None:
    """Otherwise `a2a-grpc serve FILE` would serve to every caller what `python FILE` serves to known ones."""
    served = Served(scripted_agent(), unused=["max_runs", name])
    with pytest.raises(ConfigurationError, match=f"give --{name.replace('_', '-')} as well$"):
        serve_program(lambda: served, {"store": "memory:"}, report=lambda event, values: None)
