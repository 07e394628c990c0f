"""A store by its URL: which there are, and what is said about those that cannot be."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.store import MemoryStore, open_store
from a2a_grpc.store.contract import KEY, create
from a2a_grpc.store.sql import SqlStore
from tests.harness import ROOT


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("sqlite:///tasks.db", "sqlite"),
        ("sqlite:////var/lib/agent/tasks.db?synchronous=normal", "sqlite"),
        ("postgresql://me:pw@db.example/agents", "postgresql"),
        ("postgres://me@db.example:5432/agents?sslmode=require", "postgresql"),
        ("postgresql+asyncpg://me@db.example/agents", "postgresql"),
        ("mysql://me:pw@db.example/agents", "mysql"),
        ("mysql+pymysql://me@db.example/agents", "mysql"),
        ("mariadb://me@db.example:3307/agents", "mysql"),
    ],
)
def test_a_sql_store_is_opened_by_url(url: str, dialect: str) -> None:
    store = open_store(url)
    assert isinstance(store, SqlStore)
    assert store.dialect == dialect
    assert store.durable
    assert not store.is_healthy


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost", "it must be memory:, sqlite:///tasks.db, postgresql://"),
        ("redis://me:pw@localhost", "store is 'redis://me:***@localhost'; it must be"),
        ("", "it must be memory:"),
        ("tasks.db", "it must be memory:"),
        ("sqlite:tasks.db", "it must be memory:"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://tasks.db", "names no file"),
        ("sqlite://host/tasks.db", "three slashes"),
        ("sqlite:///tasks.db?synchronous=sometimes", "synchronous must be one of full, normal, extra, off"),
        ("sqlite:///tasks.db?sync=off&cache=1", "it has no option cache, sync, only synchronous"),
        ("sqlite+aiosqlite:///tasks.db", "the driver for sqlite is pysqlite, not aiosqlite"),
        ("postgresql+psycopg2://me:pw@db/agents", "the driver for postgresql is asyncpg, not psycopg2"),
        ("mysql+aiomysql://me:pw@db/agents", "the driver for mysql is pymysql, not aiomysql"),
        ("postgresql://me:pw@db/agents?pool=3", "it has no option pool"),
        ("postgresql://me:pw@db:port/agents", "cannot be read"),
        ("postgresql://me:pw@db", "names no database"),
    ],
)
def test_a_url_that_names_no_store_is_refused_by_name_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        open_store(url)
    assert str(refused.value).startswith("store is '")
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("postgresql://me@db/agents", "asyncpg", "postgres"), ("mysql://me@db/agents", "pymysql", "mysql")],
)
def test_a_driver_that_is_not_installed_is_named_with_its_extra(url: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from a2a_grpc.config import ConfigurationError\n"
        "from a2a_grpc.store import open_store\n"
        f"try: open_store({url!r})\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert f'it needs {module}: pip install "a2a-grpc[{extra}]"' in done.stdout


def test_importing_the_stores_imports_no_database() -> None:
    code = (
        "import a2a_grpc, a2a_grpc.store, sys\n"
        "a2a_grpc.store.open_store('memory:')\n"
        "print(sorted({'sqlalchemy', 'alembic', 'asyncpg', 'pymysql', 'greenlet'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_the_memory_store_needs_no_database() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)


async def test_a_relative_path_begins_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///tasks.db")
    await store.open()
    await store.close()
    assert (tmp_path / "tasks.db").exists()


@pytest.mark.parametrize(("option", "level"), [("", 2), ("?synchronous=normal", 1), ("?synchronous=FULL", 2)])
async def test_sqlite_keeps_a_log_ahead_and_syncs_as_it_is_told(tmp_path: Path, option: str, level: int) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db{option}")
    await store.open()
    await create(store, KEY)
    assert store._database is not None
    told = await store._database.write(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    )
    await store.close()
    assert told == ["wal", level]


async def test_what_is_not_a_database_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes, and they are long enough to be read as a page" * 100)
    for url, said in [
        (f"sqlite:///{tmp_path}/missing/tasks.db", f"there is no directory {tmp_path}/missing"),
        (f"sqlite:///{tmp_path}", f"{tmp_path} is a directory"),
        (f"sqlite:///{tmp_path}/notes.txt", "file is not a database"),
    ]:
        with pytest.raises(ConfigurationError, match=re.escape(said)):
            await open_store(url).open()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another account may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_that_cannot_be_written_is_named(open_folder: Path) -> None:
    path = open_folder / "tasks.db"
    path.touch(0o444)
    code = (
        "import asyncio, os, sys\n"
        "from a2a_grpc.config import ConfigurationError\n"
        "from a2a_grpc.store import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: asyncio.run(store.open())\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{path}"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert f"{path} cannot be written" in done.stdout


@pytest.mark.parametrize("wrong", ["database", "host"])
async def test_a_database_that_is_not_there_is_said_to_be_missing(postgres_url: str, wrong: str) -> None:
    url = f"{postgres_url}_gone"
    if wrong == "host":
        url = "postgresql://me:pw@host.invalid/agents"
        with pytest.raises(Exception, match=r"did not answer|cannot be used") as refused:
            await SqlStore(url, budget_s=0.2).open()
    else:
        with pytest.raises(ConfigurationError, match="does not exist") as refused:
            await open_store(url).open()
    assert "pw" not in str(refused.value)
