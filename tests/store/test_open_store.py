"""A store by its URL: which there are, and what is said about those that cannot be."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from a2a_grpc.bus import open_bus
from a2a_grpc.config import ConfigurationError
from a2a_grpc.store import MemoryStore, open_store
from a2a_grpc.store.contract.given import KEY, create
from a2a_grpc.store.sql import SqlStore
from a2a_grpc.store.sql.migrations import upgrade
from tests.harness import ROOT
from tests.ports import free_port


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
        (f"sqlite:///{'n' * 300}.db", "File name too long"),
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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:pw@db/agents?sslmode=always", "sslmode must be one of disable, allow, prefer, require"),
        ("postgresql://me:pw@db/agents?sslrootcert=/nowhere/root.crt", "sslrootcert names no file"),
        (
            "postgresql://me:pw@db/agents?target_session_attrs=master",
            "target_session_attrs must be one of any",
        ),
        ("postgresql://me:pw@db/agents?gssencmode=require", "gssencmode must be one of disable, prefer"),
        ("postgresql://me:pw@db/agents?channel_binding=require", "use sslmode=verify-full instead"),
        ("postgresql://me:pw@db/agents?sslrootcert=system&sslmode=require", "goes with sslmode=verify-full alone"),
        ("mysql://me:pw@db/agents?ssl_mode=always", "ssl_mode must be one of disabled, preferred, required"),
        ("mysql://me:pw@db/agents?ssl-mode=REQUIRED&ssl_ca=/nowhere/ca.pem", "its TLS files cannot be used: "),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_it_must_be(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as refused:
        open_store(url)
    assert "pw" not in str(refused.value)


def test_options_that_other_tools_of_postgresql_write_are_taken(tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_text("")
    for option in (
        "sslmode=verify-full", f"sslmode=verify-ca&sslrootcert={tmp_path}/root.crt", "sslrootcert=system",
        "ssl=require", "target_session_attrs=read-write", "channel_binding=prefer", "application_name=agents",
        "keepalives=1&keepalives_idle=30", "gssencmode=disable", "tcp_user_timeout=1000", "client_encoding=utf8",
        "fallback_application_name=agents", "connect_timeout=10", "options=-c%20search_path%3Dagents",
        "host=one,two&port=5432,5433",
    ):  # fmt: skip
        assert isinstance(open_store(f"postgresql://me@db/agents?{option}"), SqlStore)
    assert isinstance(open_store("postgresql://me@one:5432,two:5433/agents?target_session_attrs=primary"), SqlStore)


@pytest.mark.parametrize("mode", ["ssl-mode=REQUIRED", "sslmode=verify_ca", "ssl_mode=DISABLED", "ssl_mode=preferred"])
def test_the_modes_of_mysql_are_taken_under_each_of_their_names(mode: str) -> None:
    assert isinstance(open_store(f"mysql://me@db/agents?{mode}"), SqlStore)


async def test_of_several_hosts_the_one_with_the_attributes_that_are_asked_for_is_used(postgres_url: str) -> None:
    """The first host is not there, as after a failover; the store and the bus find the other."""
    url = urlsplit(postgres_url)
    hosts = f"127.0.0.1:{free_port()},{url.hostname}:{url.port}"
    options = "target_session_attrs=read-write&sslmode=prefer"
    several = f"postgresql://{url.username}:{url.password}@{hosts}{url.path}?{options}"
    await upgrade(several)
    store, bus = open_store(several), open_bus("auto", several)
    await store.open()
    await create(store, KEY)
    await bus.start()
    assert bus.is_healthy
    await bus.stop()
    await store.close()
