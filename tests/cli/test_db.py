"""`a2a-grpc db upgrade|current`: what they say about a database, and do to it."""

import json
import sqlite3
import sys
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest

from a2a_grpc.store.sql.migrations import HEAD
from tests.cli.terminal import Done, error_of, run, running
from tests.ports import free_port

NOT_THERE, USAGE, UNREACHABLE = 1, 2, 3


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


async def test_upgrade_brings_a_database_to_what_is_needed_and_says_from_where(store: str) -> None:
    assert await run("db", "upgrade", "--store", store) == Done(
        0, f"{store}: the tables were created, the schema is at {HEAD}\n", ""
    )
    assert await run("db", "upgrade", "--store", store) == Done(
        0, f"{store}: the schema is up to date, at {HEAD}\n", ""
    )


async def test_current_says_where_a_database_is_by_its_exit_code_too(store: str, tmp_path: Path) -> None:
    assert await run("db", "current", "--store", store) == Done(
        NOT_THERE,
        f"{store}: the database has no tables yet; run: a2a-grpc db upgrade --store {store}\n",
        "",
    )
    assert list(tmp_path.iterdir()) == [], "to look at a database makes none"
    await run("db", "upgrade", "--store", store)
    assert await run("db", "current", "--store", store) == Done(
        0, f"{store}: the schema is at {HEAD}, as this version needs it\n", ""
    )


async def test_a_schema_of_a_later_version_is_told_as_such(store: str, tmp_path: Path) -> None:
    await run("db", "upgrade", "--store", store)
    with sqlite3.connect(tmp_path / "tasks.db") as database:
        [table] = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if "version" in name
        ]
        database.execute(f"UPDATE {table} SET version_num = '9999'")
    database.close()
    told = await run("db", "current", "--store", store)
    assert told == Done(
        NOT_THERE,
        f"{store}: the schema is at 9999, which is newer than this version of a2a-grpc knows ({HEAD}); "
        "install a newer version\n",
        "",
    )
    assert "newer than this version" in error_of(await run("db", "upgrade", "--store", store), USAGE)


async def test_json_is_one_object(store: str) -> None:
    told = [await run("db", verb, "-o", "json", "--store", store) for verb in ("current", "upgrade", "current")]
    assert [(done.code, json.loads(done.out)) for done in told] == [
        (NOT_THERE, {"at": "none", "needed": HEAD}),
        (0, {"from": "none", "to": HEAD}),
        (0, {"at": HEAD, "needed": HEAD}),
    ]


async def test_the_store_comes_from_the_environment_and_an_option_counts_before_it(store: str, tmp_path: Path) -> None:
    environment = {"A2A_GRPC_STORE": store}
    assert (await run("db", "upgrade", env=environment)).code == 0
    other = f"sqlite:///{tmp_path}/other.db"
    told = await run("db", "current", "--store", other, env=environment)
    assert told.out.startswith(f"{other}: the database has no tables yet; ")


@pytest.mark.parametrize("verb", ["upgrade", "current"])
async def test_without_a_store_the_option_that_is_missing_is_named(verb: str) -> None:
    told = await run("db", verb)
    assert (told.code, told.out) == (USAGE, "")
    assert "--store" in told.err


@pytest.mark.parametrize("verb", ["upgrade", "current"])
async def test_postgresql_is_asked_and_its_password_is_never_told(verb: str, postgres_url: str) -> None:
    told = await run("db", verb, "--store", postgres_url)
    assert told.code == (0 if verb == "upgrade" else NOT_THERE), told
    assert told.err == ""
    shown, _, said = told.out.partition(": the ")
    assert "***" in shown
    assert "***" not in said, "a command with a masked password could not be run"
    if verb == "current":
        assert said.endswith("set A2A_GRPC_STORE to the URL with its password, and run: a2a-grpc db upgrade\n")
    password = postgres_url.partition("://")[2].partition("@")[0].partition(":")[2]
    assert password
    assert f":{password}@" not in told.out


@pytest.mark.parametrize("verb", ["upgrade", "current"])
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_a_database_that_does_not_answer_is_told_in_one_line(verb: str, scheme: str) -> None:
    where = f"127.0.0.1:{free_port()}/tasks"
    said = error_of(await run("db", verb, "--store", f"{scheme}://me:secret@{where}"), UNREACHABLE)
    assert said.startswith(f"'{scheme}://me:***@{where}' does not answer: ")
    assert "secret" not in said


@pytest.mark.parametrize("verb", ["upgrade", "current", "rename Poet"])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory:", "store is 'memory:'; it keeps tasks in the memory of the server and has no database; give sqlite:"),
        ("memory://", "store is 'memory://'; it keeps tasks in the memory of the server and has no database"),
        ("tasks.db", "store is 'tasks.db'; it cannot be read as a URL such as sqlite:///tasks.db"),
        ("nowhere:", "store is 'nowhere:'"),
        ("redis://me:secret@127.0.0.1/1", "store is 'redis://me:***@127.0.0.1/1'; it must be one of sqlite:"),
        ("postgresql+psycopg://me:secret@127.0.0.1/x", "the driver for postgresql is asyncpg, not psycopg"),
        ("sqlite:////nowhere/to/be/found/tasks.db", "there is no directory /nowhere/to/be/found"),
        ("sqlite:///", "it names no file"),
    ],
)
@pytest.mark.few(2)
async def test_a_store_that_cannot_be_is_told_in_one_line(verb: str, url: str, said: str) -> None:
    told = error_of(await run("db", *verb.split(), "--store", url), USAGE)
    assert said in told
    assert "secret" not in told


async def test_a_missing_driver_names_what_installs_it() -> None:
    without = (
        "import importlib.util as util; find = util.find_spec; "
        "util.find_spec = lambda name, *more: None if name == 'asyncpg' else find(name, *more); "
        "from a2a_grpc.cli import main; main()"
    )
    url = "postgresql://me:secret@127.0.0.1/tasks"
    async with running("-c", without, "db", "upgrade", "--store", url, program=(sys.executable,)) as command:
        told = error_of(await command.finished(), USAGE)
    assert 'pip install "a2a-grpc[postgres]"' in told
    assert "secret" not in told


async def test_an_upgrade_that_a_database_refuses_is_told_in_one_line(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("CREATE TABLE a2a_record (x int)")  # somebody else's
    finally:
        await connection.close()
    said = error_of(await run("db", "upgrade", "--store", postgres_url), USAGE)
    assert "already exists" in said
