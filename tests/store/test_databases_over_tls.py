"""Databases over TLS: the certificate of the server is checked as the URL of the store says."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import text_of
from a2a_grpc.store.sql import migrations
from tests.agent.agents import agent_of
from tests.databases import (
    DatabaseServer,
    Mariadb,
    Postgres,
    mariadb_connection,
    postgres_connection,
)
from tests.harness import request, run_program, serving
from tests.tools import MissingProgram, skip_without

USAGE = 2
DISTRUST = "the certificate of the database is not trusted"
AGENT = """
from a2a_grpc import Agent, Turn
agent = Agent("Echo", "Says it again.")
@agent.skill("echo")
async def echo(turn: Turn) -> str:
    return turn.text
"""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def roots(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Root certificates: the one that issued the servers' certificates, and another."""
    folder = tmp_path_factory.mktemp("roots")
    found = {"right": folder / "right.pem", "wrong": folder / "wrong.pem"}
    authority.cert_pem.write_to_path(str(found["right"]))
    trustme.CA().cert_pem.write_to_path(str(found["wrong"]))
    return found


async def encrypted(kind: Callable[..., DatabaseServer], authority: trustme.CA, *options: str) -> Any:
    """Return a server whose certificate is for 127.0.0.1; it is not started yet."""
    try:
        server = kind(*options)
    except MissingProgram as missing:
        skip_without(missing)
    certificate = authority.issue_cert("127.0.0.1")
    owner = server.folder.stat()
    for name, blobs in {"server.pem": certificate.cert_chain_pems, "key.pem": [certificate.private_key_pem]}.items():
        path = server.folder / name
        path.touch(mode=0o600)
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        os.chown(path, owner.st_uid, owner.st_gid)
    return server


@pytest.fixture(scope="module")
async def postgres(authority: trustme.CA) -> AsyncIterator[str]:
    files = ("-c", "ssl=on", "-c", "ssl_cert_file=../server.pem", "-c", "ssl_key_file=../key.pem")
    async with await encrypted(Postgres, authority, *files) as server:
        yield server.url()


@pytest.fixture(scope="module")
async def mariadb(authority: trustme.CA) -> AsyncIterator[str]:
    """The URL of a database whose user may log in over TLS alone."""
    server: Mariadb = await encrypted(Mariadb, authority, "--ssl-cert=../server.pem", "--ssl-key=../key.pem")
    async with server:
        with closing(mariadb_connection(server.url())) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE tasks")
            cursor.execute("GRANT ALL ON *.* TO secure@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL")
        yield server.url("tasks").replace("tester:", "secure:")


async def echoes(store: str, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
    """Check that an agent answers whose tasks are in this store."""

    async def echo(turn: Any) -> str:
        return str(turn.text)

    async with serving(agent_of(echo), store=store) as served:
        task = (await served.send(request("hello"))).task
        assert (task.status.state, text_of(task)) == (COMPLETED, "hello")
        if meanwhile is not None:
            await meanwhile()


async def refused(store: str, tmp_path: Path) -> str:
    """Return the one line with which a server ends whose store cannot be used."""
    (tmp_path / "agent.py").write_text(AGENT)
    serve = ("-m", "a2a_grpc", "serve", str(tmp_path / "agent.py"), "--listen=127.0.0.1:0", "--http-listen=off")
    code, out, err = await run_program(*serve, f"--store={store}")
    assert (code, out, len(err.splitlines())) == (USAGE, "", 1), err
    assert "secret" not in err
    return err.rstrip("\n")


async def test_tasks_are_kept_in_postgresql_over_tls(postgres: str, roots: dict[str, Path]) -> None:
    full = f"{postgres}?sslmode=verify-full&sslrootcert={roots['right']}"
    await migrations.upgrade(full)
    for store in (full, f"{postgres}?sslmode=verify-ca&sslrootcert={roots['right']}", f"{postgres}?sslmode=require"):
        await echoes(store, lambda: encrypted_connections(postgres))


async def encrypted_connections(url: str) -> None:
    """Check that the store's connections to PostgreSQL are encrypted."""
    async with postgres_connection(url) as connection:
        ours = "FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'a2a-grpc'"
        assert {row["ssl"] for row in await connection.fetch(f"SELECT ssl {ours}")} == {True}


@pytest.mark.long
async def test_tasks_are_kept_in_mariadb_over_tls(mariadb: str, roots: dict[str, Path]) -> None:
    """The user may log in over TLS alone."""
    full = f"{mariadb}?ssl_mode=verify_identity&ssl_ca={roots['right']}"
    await migrations.upgrade(full)
    for store in (full, f"{mariadb}?sslmode=verify_ca&ssl_ca={roots['right']}", f"{mariadb}?ssl-mode=REQUIRED"):
        await echoes(store)
    with pytest.raises(ConfigurationError, match="Access denied"):
        await migrations.current(f"{mariadb}?ssl_mode=DISABLED")


async def test_what_is_wrong_with_tls_to_postgresql_is_said_in_one_line_at_the_start(
    postgres: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    wrong = f"{postgres}?sslmode=verify-full&sslrootcert={roots['wrong']}"
    said = await refused(wrong, tmp_path)
    assert said.startswith(f"Error: store is '{wrong.replace(':secret@', ':***@')}'; {DISTRUST}: ")
    assert said.endswith("; check sslrootcert and the host in the URL")
    elsewhere = postgres.replace("127.0.0.1", "localhost")
    with pytest.raises(ConfigurationError, match="not valid for 'localhost'; check sslrootcert and the host"):
        await migrations.current(f"{elsewhere}?sslmode=verify-full&sslrootcert={roots['right']}")


@pytest.mark.long
async def test_what_is_wrong_with_tls_to_mariadb_is_said_in_one_line_at_the_start(
    mariadb: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    wrong = f"{mariadb}?ssl_mode=verify_identity&ssl_ca={roots['wrong']}"
    said = await refused(wrong, tmp_path)
    assert said.startswith(f"Error: store is '{wrong.replace(':secret@', ':***@')}'; {DISTRUST}: ")
    assert said.endswith("; check ssl_ca and the host in the URL")


async def test_a_database_without_tls_is_not_waited_for(postgres_url: str, mariadb_url: str) -> None:
    for url in (f"{postgres_url}?sslmode=require", f"{mariadb_url}?ssl_mode=REQUIRED"):
        with pytest.raises(ConfigurationError, match="; the database does not offer TLS; check "):
            await migrations.current(url)
