"""Certificates of a client that are replaced while the client is open."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from a2a_grpc import (
    Agent,
    Client,
    Server,
    ServerSettings,
    Task,
    TaskArtifactUpdateEvent,
    Turn,
    connect,
    text_of,
)
from a2a_grpc.auth import ClientCertificates, certificates
from a2a_grpc.client import ClientSettings, pool, renewal
from tests.auth.pki import Authority, write
from tests.harness import eventually, texts

SERVERS, CLIENTS = Authority("Servers"), Authority("Clients")


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "LOOK_EVERY_S", 0.05)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server that names its callers; a message "wait" waits for the end of the test."""
    certificate, key = SERVERS.issue("server", dns=("localhost",)).write(tmp_path, "server")
    agent = Agent("Names", "Names its caller.")

    @agent.skill()
    async def name(turn: Turn) -> str:
        """Name the caller."""
        if turn.text == "wait":
            await asyncio.sleep(600)
        if turn.text == "count":
            for number in range(30):
                await turn.artifact(str(number))
                await asyncio.sleep(0.1)
        return turn.principal.subject

    settings = ServerSettings(
        listen="127.0.0.1:0",
        http_listen="off",
        drain_grace_s=0.0,
        tls_cert=str(certificate),
        tls_key=str(key),
        tls_client_ca=str(write(tmp_path / "clients.pem", CLIENTS.pem)),
    )
    async with Server(agent, settings, auth=[ClientCertificates()]) as running:
        yield running


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[Client]:
    certificate, key = CLIENTS.issue("a").write(tmp_path, "client")
    roots = write(tmp_path / "servers.pem", SERVERS.pem)
    target = server.grpc_address.replace("127.0.0.1", "localhost")
    async with connect(target, ca_cert=str(roots), client_cert=str(certificate), client_key=str(key)) as opened:
        yield opened


async def caller(client: Client) -> str:
    answer = await client.send("who am I?")
    assert isinstance(answer, Task)
    return texts(answer)[0]


async def test_new_calls_use_a_new_certificate_and_open_streams_go_on(
    client: Client, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "EXTRA_IDLE_S", 0.2)
    assert await caller(client) == "a"
    async with client.stream("wait") as events:
        for _ in range(2):  # SUBMITTED, WORKING
            await anext(events)
        reading = asyncio.create_task(anext(events))
        CLIENTS.issue("b").write(tmp_path, "client")

        async def is_new() -> None:
            assert await caller(client) == "b"

        await eventually(is_new)
        assert not reading.done()
        assert len((await client.link()).pool.open_calls) == 2
        reading.cancel()
        await asyncio.wait([reading])

    async def is_one() -> None:
        assert len((await client.link()).pool.open_calls) == 1

    await eventually(is_one)  # the connection with the former certificate is closed
    assert await caller(client) == "b"


async def test_a_stream_whose_certificate_ends_goes_on_with_a_renewed_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "LEEWAY_S", 0.0)
    certificate, key = CLIENTS.issue("a", ends=timedelta(seconds=2)).write(tmp_path, "client")
    roots = write(tmp_path / "servers.pem", SERVERS.pem)
    target = server.grpc_address.replace("127.0.0.1", "localhost")
    async with connect(target, ca_cert=str(roots), client_cert=str(certificate), client_key=str(key)) as client:
        async with client.stream("count") as events:
            CLIENTS.issue("a").write(tmp_path, "client")
            chunks = [text_of(event.artifact) async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        assert chunks == [*map(str, range(30)), "a"]


async def test_half_of_a_pair_is_not_used_and_the_log_says_so_once(
    client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if "TLS files" in record.getMessage()]

    caplog.set_level("INFO", "a2a_grpc.client")
    pair = CLIENTS.issue("b")
    write(tmp_path / "client.crt", pair.certificate)
    for _ in range(4):
        await asyncio.sleep(0.06)
        assert await caller(client) == "a"
    certificate, key = tmp_path / "client.crt", tmp_path / "client.key"
    assert lines() == [
        "TLS files not read again, the former ones remain in use: error="
        f"client_cert '{certificate}' and client_key '{key}' do not belong together, or are no PEM files"
    ]
    write(key, pair.key)
    await asyncio.sleep(0.06)
    assert await caller(client) == "b"
    assert lines()[1:] == [f"TLS files read again files={tmp_path / 'servers.pem'},{certificate},{key}"]


async def test_a_client_without_certificates_looks_at_no_files() -> None:
    assert not renewal.Renewal(ClientSettings()).is_due()
