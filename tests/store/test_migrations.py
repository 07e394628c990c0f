"""How a database comes to the schema that this version needs."""

import asyncio
import contextlib
import io
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text

import a2a_grpc.store.sql.migrations as migrations
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.connect import connect
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.lifecycle import INPUT_REQUIRED
from a2a_grpc.store import open_store
from a2a_grpc.store.contract.given import KEY, append, create, status
from a2a_grpc.store.sql.migrations import HEAD, NONE, REVISIONS, current, upgrade
from a2a_grpc.store.sql.migrations.offline import statements
from a2a_grpc.store.sql.schema import VERSION_TABLE, is_index_of, metadata
from tests.databases import mariadb_connection, postgres_connection
from tests.harness import eventually, run_program
from tests.proxy import Proxy


async def _differences(url: str) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        def is_here(_: object, name: str | None, kind: str, *__: object) -> bool:
            return kind != "index" or is_index_of(connection.dialect.name, name or "")

        opts = {"version_table": VERSION_TABLE, "compare_type": True, "target_metadata": metadata}
        context = MigrationContext.configure(connection, opts={**opts, "include_object": is_here})
        return list(compare_metadata(context, metadata))

    database = connect(DatabaseUrl.parse(url))
    try:
        return await database.read(compare)
    finally:
        await database.close()


async def _run(url: str, statement: str) -> None:
    def run(connection: Connection) -> None:
        connection.execute(text(statement))

    database = connect(DatabaseUrl.parse(url))
    try:
        await database.write(run)
    finally:
        await database.close()


def test_the_revisions_that_are_named_are_those_that_are_there() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert tuple(reversed([revision.revision for revision in script.walk_revisions()])) == REVISIONS
    assert script.get_heads() == [HEAD]


async def test_sqlite_is_brought_to_the_newest_schema_when_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    assert await current(url) == (NONE, HEAD)
    assert list(tmp_path.iterdir()) == [], "to look makes no file"
    for _ in range(2):
        store = open_store(url)
        await store.open()
        await store.close()
    assert await current(url) == (HEAD, HEAD)
    assert await upgrade(url) == (HEAD, HEAD)
    assert await _differences(url) == []


@pytest.mark.long
async def test_many_who_open_one_new_file_at_the_same_time_all_succeed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    code = (
        "import asyncio, sys\n"
        "from a2a_grpc.store import open_store\n"
        "async def main():\n"
        "    store = open_store(sys.argv[1])\n"
        "    await store.open()\n"
        "    await store.ping()\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    outcomes = await asyncio.gather(*(run_program("-c", code, url) for _ in range(6)))
    assert [(code, err) for code, _, err in outcomes] == [(0, "")] * 6
    assert await current(url) == (HEAD, HEAD)


async def _is_upgraded_by_command_alone(url: str) -> None:
    assert await current(url) == (NONE, HEAD)
    with pytest.raises(
        ConfigurationError,
        match=r"the database has no tables yet; (run|set A2A_GRPC_STORE .* run): a2a-grpc db upgrade",
    ):
        await open_store(url).open()
    results = await asyncio.gather(*(upgrade(url) for _ in range(4)))
    assert sorted(results) == sorted([(NONE, HEAD), *[(HEAD, HEAD)] * 3])
    assert await current(url) == (HEAD, HEAD)
    assert await _differences(url) == []
    store = open_store(url)
    await store.open()
    await create(store, KEY)
    await store.close()


async def test_postgresql_is_upgraded_by_command_alone(postgres_url: str) -> None:
    await _is_upgraded_by_command_alone(postgres_url)


async def test_mariadb_is_upgraded_by_command_alone(mariadb_url: str) -> None:
    await _is_upgraded_by_command_alone(mariadb_url)


async def test_the_statements_of_an_upgrade_make_the_same_schema_on_sqlite(tmp_path: Path) -> None:
    await _is_made_by_statements(f"sqlite:///{tmp_path}/tasks.db")
    await _is_made_by_statements(f"sqlite:///{tmp_path}/other.db", since="0003")


@pytest.mark.long
async def test_the_statements_of_an_upgrade_make_the_same_schema_on_postgresql_and_mariadb(
    postgres_url: str, mariadb_url: str
) -> None:
    await _is_made_by_statements(postgres_url, since="0003")
    await _is_made_by_statements(f"{postgres_url}?schema=Poet")
    await _is_made_by_statements(mariadb_url)


async def _is_made_by_statements(url: str, since: str = "") -> None:
    steps = [await statements(url, since)]
    if since:  # the tables of the earlier version
        buffer = io.StringIO()
        command.upgrade(migrations.config_of(buffer, dialect=DatabaseUrl.parse(url).dialect), since, sql=True)
        steps.insert(0, buffer.getvalue())
    for step in steps:
        match DatabaseUrl.parse(url).dialect:
            case "sqlite":
                with contextlib.closing(sqlite3.connect(DatabaseUrl.parse(url).path)) as file:
                    file.executescript(step)
            case "postgresql":
                async with postgres_connection(url.partition("?")[0]) as connection:
                    await connection.execute(step)
            case "mysql":
                with contextlib.closing(mariadb_connection(url)) as connection:
                    connection.select_db(make_url(url).database)
                    plain = "\n".join(line for line in step.splitlines() if not line.startswith("--"))
                    for statement in filter(str.strip, plain.split(";\n")):
                        connection.cursor().execute(statement)
    assert await current(url) == (HEAD, HEAD)
    assert await _differences(url) == []


async def test_an_upgrade_of_mariadb_over_a_slow_network_keeps_others_out_until_it_is_committed(
    mariadb_url: str,
) -> None:
    url = make_url(mariadb_url)
    with contextlib.closing(mariadb_connection(mariadb_url)) as looking:

        def check_is_upgrading() -> None:
            with looking.cursor() as cursor:
                cursor.execute("SELECT IS_USED_LOCK(CONCAT('a2a_grpc.', MD5(%s)))", (url.database,))
                assert cursor.fetchone() != (None,)

        async with Proxy(f"{url.host}:{url.port}", delay_s=0.02, server_begins=True) as slow:
            host, _, port = slow.address.partition(":")
            far = url.set(host=host, port=int(port)).render_as_string(hide_password=False)
            upgrading = asyncio.create_task(upgrade(far))
            await eventually(check_is_upgrading)
            assert await upgrade(mariadb_url) == (HEAD, HEAD)
            assert await upgrading == (NONE, HEAD)


@pytest.mark.long
async def test_an_upgrade_of_postgresql_outlasts_another_one_and_its_own_process_that_stands_still(
    postgres_url: str,
) -> None:
    """As on a busy machine. The database ended the wait for the other one after a second, and the transaction of a
    process that stood still after two.
    """
    async with postgres_connection(postgres_url) as connection:
        await connection.execute("SELECT pg_advisory_lock(4202025001)")
        upgrading = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "a2a_grpc", "db", "upgrade", "--store", postgres_url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

        async def waits_for_the_lock() -> None:
            assert await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )

        await eventually(waits_for_the_lock, within_s=30)
        await asyncio.sleep(1.5)
        await waits_for_the_lock()
        upgrading.send_signal(signal.SIGSTOP)
        await connection.execute("SELECT pg_advisory_unlock(4202025001)")
        await asyncio.sleep(3)
        upgrading.send_signal(signal.SIGCONT)
        out, _ = await upgrading.communicate()
        assert upgrading.returncode == 0, out.decode()


async def test_a_task_that_waits_already_when_waiting_is_first_noted_waits_since_its_status(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    store = open_store(url)
    await store.open()
    epoch = await create(store, KEY)
    await append(store, status(2, INPUT_REQUIRED, at_us=1_000_000), epoch=epoch)
    await create(store, KEY._replace(id="t-2"))
    await store.close()
    for statement in (
        "DROP TABLE a2a_note",
        "DROP TABLE a2a_push",
        "ALTER TABLE a2a_pending DROP COLUMN caller",
        "DROP TABLE a2a_agent",
        "DROP TABLE a2a_clock",
        "DROP INDEX a2a_task_waiting",
        "ALTER TABLE a2a_task DROP COLUMN waiting_us",
        f"UPDATE {VERSION_TABLE} SET version_num = '0002'",
    ):
        await _run(url, statement)
    store = open_store(url)
    await store.open()
    assert await store.waiting_longer(365 * 86_400.0, 10) == [KEY]
    assert await store.count_waiting() == 1
    await store.close()


async def test_a_schema_from_the_future_is_refused_by_name(tmp_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{tmp_path}/tasks.db", postgres_url):
        await upgrade(url)
        await _run(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        calls: list[Callable[[], Awaitable[object]]] = [open_store(url).open, lambda url=url: upgrade(url)]  # type: ignore[misc]
        for call in calls:
            with pytest.raises(ConfigurationError, match="is at 9999, which is newer than this version"):
                await call()
        assert await current(url) == ("9999", HEAD)


async def test_a_message_about_the_schema_does_not_tell_the_password(postgres_url: str) -> None:
    url = postgres_url.replace("tester:secret", "tester:hidden")  # the server trusts everybody on this machine
    with pytest.raises(ConfigurationError) as refused:
        await open_store(url).open()
    assert "hidden" not in str(refused.value)
    assert "tester:***@" in str(refused.value)


async def test_the_migrations_are_in_the_package() -> None:
    folder = Path(migrations.__file__).parent
    assert (folder / "env.py").exists()
    assert (folder / "versions" / "v0001_tables.py").exists()


async def test_tables_of_others_in_the_same_database_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE task (id TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('theirs')")
    connection.close()
    store = open_store(f"sqlite:///{path}")
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("theirs",)]
    connection.close()
