"""A bus by its URL."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from a2a_grpc.bus import LocalBus, open_bus
from a2a_grpc.bus.directory import machine_directories
from a2a_grpc.bus.machine import MachineBus
from a2a_grpc.bus.postgres import PostgresBus
from a2a_grpc.config import ConfigurationError
from a2a_grpc.libpq import connecting
from a2a_grpc.masking import mask_url
from a2a_grpc.store.open import open_store
from tests.harness import run_program

POSTGRES_URLS = [
    "postgresql://alice@db/tasks",
    "postgres://alice@db/tasks",
    "postgresql+asyncpg://alice@db/tasks",
]


@pytest.mark.parametrize("url", ["local:", "local://"])
def test_local_is_a_bus_within_the_process(url: str) -> None:
    assert type(open_bus(url, "sqlite:///tasks.db")) is LocalBus


@pytest.mark.parametrize("url", POSTGRES_URLS)
def test_a_postgresql_url_is_a_bus_on_that_database(url: str) -> None:
    assert type(open_bus(url)) is PostgresBus
    assert connecting(url).dsn == "postgresql://alice@db/tasks"


@pytest.mark.parametrize("store", ["sqlite:///tasks.db", "sqlite:///tasks.db?synchronous=normal"])
def test_machine_is_a_bus_beside_the_stores_file(store: str) -> None:
    bus = open_bus("machine:", store)
    assert type(bus) is MachineBus
    assert bus.directory == machine_directories("tasks.db")[0]


def test_an_absolute_path_has_four_slashes(tmp_path: Path) -> None:
    bus = open_bus("machine:", f"sqlite:///{tmp_path}/tasks.db")
    assert type(bus) is MachineBus
    assert bus.directory == machine_directories(str(tmp_path / "tasks.db"))[0]


@pytest.mark.parametrize("url", ["", "auto"])
@pytest.mark.parametrize(
    ("store", "kind"),
    [
        ("memory:", LocalBus),
        ("sqlite:///tasks.db", MachineBus),
        ("sqlite:////var/lib/tasks.db?synchronous=normal", MachineBus),
        ("sqlite:///:memory:", LocalBus),
        *((url, PostgresBus) for url in POSTGRES_URLS),
        ("mysql://db/tasks", LocalBus),
        ("redis://cache/0", LocalBus),
    ],
)
def test_auto_is_what_fits_the_store(url: str, store: str, kind: type) -> None:
    assert type(open_bus(url, store)) is kind


@pytest.mark.parametrize(
    "url", ["redis://alice:geheim@cache/0", "nats:", "locale:", "machine:tasks.db", "/tmp", "auto:"]
)
def test_any_other_url_is_refused_with_what_is_possible(url: str) -> None:
    with pytest.raises(ConfigurationError, match="it must be auto, local:, machine: or postgresql://") as caught:
        open_bus(url)
    assert "geheim" not in str(caught.value)


def test_a_directory_whose_path_is_too_long_is_refused_before_it_is_made(tmp_path: Path) -> None:
    chosen = tmp_path / ("x" * 100)
    with pytest.raises(ConfigurationError, match="the address of a socket allows 49; choose a shorter one"):
        open_bus(f"machine:{chosen}", f"sqlite:///{tmp_path}/tasks.db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("store", ["memory:", "postgresql://alice:geheim@db/tasks", "sqlite:///:memory:"])
def test_machine_needs_a_store_in_a_file(store: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a store in an SQLite file") as caught:
        open_bus("machine:", store)
    assert "geheim" not in str(caught.value)


def test_without_unix_sockets_auto_is_local_and_machine_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_grpc.bus.open.HAS_UNIX_SOCKETS", False)
    assert type(open_bus("auto", "sqlite:///tasks.db")) is LocalBus
    with pytest.raises(ConfigurationError, match="no unix sockets"):
        open_bus("machine:", "sqlite:///tasks.db")


def test_without_a_directory_for_sockets_auto_is_local_and_machine_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nowhere"])
    monkeypatch.setattr("tempfile.tempdir", None)
    assert type(open_bus("auto", "sqlite:///tasks.db")) is LocalBus
    assert "so they poll it error=the bus finds no directory that it can write to" in caplog.text
    with pytest.raises(ConfigurationError, match="set XDG_RUNTIME_DIR"):
        open_bus("machine:", "sqlite:///tasks.db")


async def test_without_its_driver_postgresql_is_refused_naming_the_extra() -> None:
    program = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "from a2a_grpc.bus import open_bus\n"
        "for urls in (('postgresql://alice:geheim@db/tasks',), ('auto', 'postgresql://alice:geheim@db/tasks')):\n"
        "    try: open_bus(*urls)\n"
        "    except ValueError as error: print(error)\n"
    )
    code, out, err = await run_program("-c", program)
    assert (code, err) == (0, "")
    line = "bus is 'postgresql://alice:***@db/tasks'; it needs asyncpg: pip install \"a2a-grpc[postgres]\""
    assert out.splitlines() == [line, line]


async def test_the_drivers_are_imported_only_for_a_bus_that_needs_them() -> None:
    program = (
        "import sys, a2a_grpc.bus as bus; bus.open_bus('auto'); bus.open_bus('auto', 'sqlite:///t.db')\n"
        "print([name for name in ('asyncpg', 'sqlalchemy') if name in sys.modules])"
    )
    assert await run_program("-c", program) == (0, "[]\n", "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://alice:geheim@db/tasks", "postgresql://alice:***@db/tasks"),
        ("postgresql://alice:ge/h@e:im?@db/tasks", "postgresql://alice:***@db/tasks"),
        ("postgresql://:geheim@db/tasks", "postgresql://:***@db/tasks"),
        ("postgresql://db/tasks?user=alice&password=geheim&ssl=require", "postgresql://db/tasks?user=alice&password=***&ssl=require"),
        ("postgresql://db:5432/tasks", "postgresql://db:5432/tasks"),
        ("local:", "local:"),
    ],
)  # fmt: skip
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "where", ["alice:ge/geheim@e:geheim?@db", "db/t?password=geheim&sslpassword=geheim", "[db/t?token=geheim"]
)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "redis", "postgresql+psycopg2", "sqlite", "nats:"])
def test_a_url_of_a_store_or_a_bus_is_refused_without_its_secrets(scheme: str, where: str) -> None:
    url = f"{scheme}://{where}"
    refusals: list[Callable[[], object]] = [
        partial(open_bus, "machine:", url),
        partial(open_bus, f"x{url}", "memory:"),
        partial(open_store, f"{url}&bad=1?bad=2"),
    ]
    for refuse in refusals:
        with pytest.raises(ConfigurationError) as refused:
            refuse()
        assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "dsn"),
    [
        ("postgres://alice:a%2Fb@db/tasks?ssl=require", "postgresql://alice:a%2Fb@db/tasks?sslmode=require"),
        ("postgresql://alice:a/b#c?d@db:5433/tasks", "postgresql://alice:a%2Fb%23c%3Fd@db:5433/tasks"),
        ("postgresql:///tasks?host=/run/postgresql", "postgresql:///tasks?host=/run/postgresql"),
        ("postgresql://one:1,two:2/tasks", "postgresql://one:1,two:2/tasks"),
    ],
)
def test_a_url_is_put_as_the_driver_reads_it(url: str, dsn: str) -> None:
    assert connecting(url).dsn == dsn


@pytest.mark.parametrize("url", ["postgresql://alice:geheim@db:port/tasks", "postgresql://alice:geheim@[db/tasks"])
async def test_a_url_that_cannot_be_read_is_refused_without_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigurationError, match="cannot be read as a PostgreSQL URL") as caught:
        await open_bus(url).start()
    assert "geheim" not in f"{caught.value} {caught.value.__cause__} {caplog.text}"
