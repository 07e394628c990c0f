"""The database servers of the tests: harmed and healed, gone with their process, missed aloud."""

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import redis.asyncio

from tests.databases import (
    DatabaseServer,
    Mariadb,
    PackagedPostgres,
    Postgres,
    Redis,
    children_of,
    is_alive,
    make_folder,
    mariadb_connection,
    postgres_connection,
    running,
)
from tests.harness import ROOT, eventually
from tests.tools import need

KINDS = [Postgres, PackagedPostgres, Mariadb, Redis]


async def leave(server: DatabaseServer, words: str) -> None:
    match server:
        case Postgres():
            async with postgres_connection(server.url()) as connection:
                await connection.execute(f"CREATE TABLE kept AS SELECT '{words}' AS words")
        case Mariadb():
            with closing(mariadb_connection(server.url())) as connection:
                connection.cursor().execute(f"CREATE TABLE mysql.kept SELECT '{words}' AS words")
        case _:
            async with redis.asyncio.Redis.from_url(server.url()) as connection:
                await connection.set("kept", words)


async def left(server: DatabaseServer) -> str:
    match server:
        case Postgres():
            async with postgres_connection(server.url()) as connection:
                return str(await connection.fetchval("SELECT words FROM kept"))
        case Mariadb():
            with closing(mariadb_connection(server.url())) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT words FROM mysql.kept")
                return str(cursor.fetchone()[0])
        case _:
            async with redis.asyncio.Redis.from_url(server.url(), decode_responses=True) as connection:
                return str(await connection.get("kept"))


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.long
async def test_a_server_comes_back_with_its_data_after_every_kind_of_end(kind: type[DatabaseServer]) -> None:
    async with running(kind) as server:
        url = server.url()
        await leave(server, "still here")
        for end in ("fast", "immediate", "kill"):
            await (server.kill() if end == "kill" else server.stop(end))
            assert not server.is_running
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", server.port)
            await server.start()
            assert (server.url(), await left(server)) == (url, "still here")
        await server.restart()
        assert await left(server) == "still here"
    assert not server.folder.exists()


async def test_a_killed_server_leaves_no_process(postgres_server: Postgres) -> None:
    async with postgres_connection(postgres_server.url()):
        processes = [postgres_server.pid, *children_of(postgres_server.pid)]
        assert len(processes) > 5
        await postgres_server.kill()
    assert not any(map(is_alive, processes))


async def test_connections_of_postgres_are_terminated_by_what_they_did_last(postgres_server: Postgres) -> None:
    async with (
        postgres_connection(postgres_server.url()) as listening,
        postgres_connection(postgres_server.url()) as other,
    ):
        await listening.execute("LISTEN wakes")
        assert await other.fetchval("SELECT 1") == 1
        assert await postgres_server.terminate_connections(like="listen%") == 1
        assert await other.fetchval("SELECT 2") == 2
        await eventually(lambda: check(listening.is_closed()))
        assert await postgres_server.terminate_connections() == 1
        await eventually(lambda: check(other.is_closed()))


def check(holds: bool) -> None:
    assert holds


async def test_connections_of_mariadb_are_terminated() -> None:
    async with running(Mariadb) as server:
        with closing(mariadb_connection(server.url())) as connection:
            connection.select_db("mysql")
            assert await server.terminate_connections(like="mysql") == 1


async def test_connections_of_redis_are_terminated() -> None:
    async with running(Redis) as redis_server:
        reader, writer = await asyncio.open_connection("127.0.0.1", redis_server.port)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        assert await redis_server.terminate_connections() == 1
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.few
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends a child with its parent on Linux only")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.long
async def test_servers_end_with_the_process_that_started_them_however_it_ends(kind: type[DatabaseServer]) -> None:
    async with running(kind):
        pass  # or the test is skipped
    need("setpriv", remedy="apt-get install util-linux")
    script = f"""
import asyncio
from tests.databases import {kind.__name__}

async def main():
    async with {kind.__name__}() as server:
        print(server.folder, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        folders = (await asyncio.to_thread(process.stdout.readline)).decode().split()
        servers = children_of(process.pid)
        everybody = servers + [child for server in servers for child in children_of(server)]
        process.kill()
    assert len(servers) == 1
    await eventually(lambda: check(not any(map(is_alive, everybody))))
    make_folder().rmdir()
    assert not any(Path(folder).exists() for folder in folders)


def run_pytest(folder: Path, test: str, *options: str, **environment: str) -> tuple[int, str]:
    """A test file run as in this repository: pytest's exit code and its output."""
    (folder / "test_it.py").write_text(test)
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | environment
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", f"{ROOT}/pyproject.toml", "-p", "tests.tools"),
            *("-p", "tests.databases", "-rs", *options, "-p", "no:cacheprovider", f"{folder}/test_it.py"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


TAKES_REDIS = "async def test_it(redis_url): pass\nasync def test_again(redis_url): pass\n"


@pytest.mark.long
def test_a_server_that_is_not_installed_is_a_skip_that_names_the_package(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, TAKES_REDIS, PATH="/nowhere", A2A_GRPC_TEST_REDIS="")
    assert code == 0, said
    assert "2 skipped" in said
    assert "redis-server is not installed: apt-get install redis-server" in said


@pytest.mark.long
def test_a_server_that_is_not_installed_is_a_failure_in_ci(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, TAKES_REDIS, PATH="/nowhere", A2A_GRPC_TEST_REDIS="", CI="true")
    assert code == 1, said
    assert "2 errors" in said
    assert "redis-server is not installed: apt-get install redis-server" in said


@pytest.mark.long
@pytest.mark.parametrize("options", [("-n0",), ("-n2",)], ids=["here", "workers"])
def test_the_last_line_says_what_was_not_tried_for_want_of_what(tmp_path: Path, options: tuple[str, ...]) -> None:
    test = (
        TAKES_REDIS + "import asyncio\nfrom tests.tools import need\ndef test_more(): need('no-such-program')\n"
        "async def more(): need('no-such-program')\n"
        "async def test_group():\n"
        "    async with asyncio.TaskGroup() as group: group.create_task(more())\n"
        "def test_passes(): pass\n"
    )
    code, said = run_pytest(tmp_path, test, *options, PATH="/nowhere", A2A_GRPC_TEST_REDIS="")
    assert code == 0, said
    told = [line for line in said.splitlines() if line]
    assert told[-1:] == [
        "not tried for want of programs, with the number of tests: no-such-program (2), redis-server (2)"
    ]


@pytest.mark.long
async def test_each_test_has_an_empty_database_of_its_own_on_the_server_of_the_environment(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    test = """
import pytest
from tests.databases import postgres_connection

@pytest.mark.parametrize("place", [1, 2])
async def test_it(postgres_url, place):
    async with postgres_connection(postgres_url) as connection:
        await connection.execute("CREATE TABLE mine (i integer)")
        assert await connection.fetchval("SELECT current_database()") in postgres_url
    async with postgres_connection("SERVER") as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'test_%'") == 1
"""
    url = postgres_server.url()
    code, said = await asyncio.to_thread(
        run_pytest, tmp_path, test.replace("SERVER", url), PATH="/nowhere", A2A_GRPC_TEST_POSTGRES=url
    )
    assert code == 0, said
    async with postgres_connection(url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE 'test_%'") == 0
