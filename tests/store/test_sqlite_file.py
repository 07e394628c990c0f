"""An SQLite file is for its owner alone; one that is gone from its place is noticed, and acknowledges nothing more."""

import asyncio
import logging
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from a2a_grpc.database.file import DatabaseFile, mark
from a2a_grpc.database.retry import is_transient
from a2a_grpc.store import ListFilter, StoreLost, StoreUnavailable, open_store
from a2a_grpc.store.contract.given import KEY, append, create, head_of, status
from a2a_grpc.store.sql import SqlStore
from tests.guarantees.rig import serving_on
from tests.harness import refusal, request, run_program, scripted_agent

WRITER = """
import asyncio, os, sys
os.umask(int(sys.argv[2], 8))
from a2a_grpc.store import open_store
from a2a_grpc.store.contract.given import create
async def main():
    store = open_store(sys.argv[1])
    await store.open()
    await create(store)
    for name in sorted(os.listdir(os.path.dirname(sys.argv[1].removeprefix("sqlite:///")))):
        print(name, end=" ")
    await store.close()
asyncio.run(main())
"""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Modes:
    """Looks at a directory, as often as it can, and remembers each mode in which it sees a file."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: set[tuple[str, int]] = set()
        self._is_over = False
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Modes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over:
            for entry in os.scandir(self.directory):
                try:
                    self.seen.add((entry.name, stat.S_IMODE(entry.stat().st_mode)))
                except FileNotFoundError:
                    pass


@pytest.mark.long
@pytest.mark.parametrize("umask", ["000", "022", "777"])
async def test_the_database_and_its_side_files_are_made_for_their_owner_alone_whatever_the_umask(
    tmp_path: Path, umask: str
) -> None:
    with Modes(tmp_path) as modes:
        code, out, err = await run_program("-c", WRITER, f"sqlite:///{tmp_path}/tasks.db", umask)
    assert (code, out, err) == (0, "tasks.db tasks.db-shm tasks.db-wal ", "")
    assert mode_of(tmp_path / "tasks.db") == 0o600
    wider = {(name, oct(mode)) for name, mode in modes.seen if mode & 0o077}
    assert wider == set()


async def test_a_database_that_others_could_read_is_narrowed_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tasks.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE other (id)")
    connection.commit()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"tasks.db{suffix}").chmod(0o664)
    store = open_store(f"sqlite:///{path}")
    await store.open()
    modes = [mode_of(tmp_path / f"tasks.db{suffix}") for suffix in ("", "-wal", "-shm")]
    await store.close()
    connection.close()
    assert modes == [0o600] * 3
    told = [record.getMessage() for record in caplog.records if "access of other users" in record.getMessage()]
    assert len(told) == 3
    assert f"file={path} from=0664 to=0600" in told[0]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    (tmp_path / "data").mkdir()
    store = SqlStore(f"sqlite:///{tmp_path}/data/tasks.db")
    await store.open()
    await create(store)
    yield store
    await store.close()


def deleted(path: Path) -> None:
    path.unlink()


def renamed(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replaced_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def replaced_by_another_database(path: Path) -> None:
    sqlite3.connect(path.with_suffix(".other")).execute("CREATE TABLE t (i)").connection.close()
    path.with_suffix(".other").replace(path)


def replaced_by_an_empty_file(path: Path) -> None:
    path.unlink()
    path.touch()


def replaced_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut_short(path: Path) -> None:
    os.truncate(path, 0)


def overwritten_by_a_larger_database(path: Path) -> None:
    """Copy over the file, as `cp other.db tasks.db` does: the inode stays."""
    other = sqlite3.connect(path.with_suffix(".other"))
    other.execute("CREATE TABLE t (i)")
    with other:
        other.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 2000)
    other.close()
    shutil.copyfile(path.with_suffix(".other"), path)


def overwritten_with_anything(path: Path) -> None:
    path.write_bytes(b"x" * (1 << 20))


def its_directory_renamed(path: Path) -> None:
    path.parent.rename(path.parent.with_suffix(".old"))


def its_directory_removed(path: Path) -> None:
    shutil.rmtree(path.parent)


def its_log_deleted(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def its_log_replaced(path: Path) -> None:
    Path(f"{path}-wal").unlink()
    Path(f"{path}-wal").touch()


def its_log_emptied(path: Path) -> None:
    os.truncate(f"{path}-wal", 0)


def its_log_cut_short(path: Path) -> None:
    os.truncate(f"{path}-wal", Path(f"{path}-wal").stat().st_size - 1)


def its_log_overwritten(path: Path) -> None:
    with open(f"{path}-wal", "r+b") as log:
        log.write(b"x" * 100_000)


def its_index_deleted(path: Path) -> None:
    Path(f"{path}-shm").unlink()


HARM = [
    *(deleted, renamed, replaced_by_a_copy, replaced_by_another_database, replaced_by_an_empty_file),
    *(replaced_by_a_directory, cut_short, its_directory_renamed, its_directory_removed),
    *(its_log_deleted, its_log_replaced, its_log_emptied, its_log_cut_short, its_log_overwritten, its_index_deleted),
    *(overwritten_by_a_larger_database, overwritten_with_anything),
]


@pytest.mark.few(4)
@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
async def test_a_database_that_is_not_at_its_place_takes_nothing_more_and_the_log_says_what_to_do(
    store: SqlStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None]
) -> None:
    await append(store, status(2), epoch=1)
    harm(tmp_path / "data" / "tasks.db")
    async with asyncio.timeout(5):  # at once, not when the budget for a fault that passes is spent
        for place in range(3):
            with pytest.raises(StoreLost, match=str(tmp_path / "data" / "tasks.db")):
                await create(store, KEY._replace(id=f"lost-{place}"))
        with pytest.raises(StoreLost):
            await asyncio.gather(*(append(store, status(seq), epoch=1) for seq in (3, 4)))
        with pytest.raises(StoreLost):
            await store.claim(KEY, "me", force=True)
        with pytest.raises(StoreUnavailable):
            await store.ping()
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1, "an outage is told once"
    assert "restart the server" in told[0] or "SIGTERM" in told[0] or "backup" in told[0]


async def test_a_database_that_sqlite_calls_damaged_takes_nothing_more_until_a_restart(
    store: SqlStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data" / "tasks.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with open(path, "r+b") as file:
        page_bytes = 4096
        file.seek(page_bytes)
        file.write(os.urandom(path.stat().st_size - page_bytes))
    with pytest.raises(StoreLost, match=f"{path} is damaged.* restore a backup"):
        await store.list(KEY.scope, ListFilter(), None, 10)
    for _ in range(3):
        with pytest.raises(StoreLost, match="is damaged"):
            await create(store, KEY._replace(id="lost"))
        with pytest.raises(StoreLost, match="is damaged"):
            await store.head(KEY)
        with pytest.raises(StoreUnavailable, match="is damaged"):
            await store.ping()
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "restore a backup" in told[0]


DAMAGE = """
import asyncio, os, sqlite3, sys
from a2a_grpc.store import StoreLost, open_store
from a2a_grpc.store.contract.given import append, create, status
async def main():
    store = open_store(f"sqlite:///{sys.argv[1]}")
    await store.open()
    await create(store)
    other = sqlite3.connect(sys.argv[1])
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()
    await append(store, status(2), epoch=1)
    os.truncate(f"{sys.argv[1]}-wal", 0)
    try:
        await append(store, status(3), epoch=1)
    except StoreLost:
        await store.close()
        print("lost")
asyncio.run(main())
"""


async def test_a_damaged_log_is_not_copied_over_what_the_last_checkpoint_has_written(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    code, out, err = await run_program("-c", DAMAGE, str(path))
    assert (code, out) == (0, "lost\n")
    assert "restore a backup" in err
    store = SqlStore(f"sqlite:///{path}")
    await store.open()
    assert (await head_of(store)).seq == 1
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_the_file_of_another_store_is_told_from_the_file_that_was_opened(store: SqlStore, tmp_path: Path) -> None:
    other = SqlStore(f"sqlite:///{tmp_path}/other.db")
    await other.open()
    for number in range(50):
        await create(other, KEY._replace(id=f"other-{number}"))
    await other.close()
    shutil.copyfile(tmp_path / "other.db", tmp_path / "data" / "tasks.db")
    with pytest.raises(StoreLost, match="was overwritten"):
        await create(store, KEY._replace(id="lost"))


async def test_checkpoints_of_this_and_of_other_processes_are_no_loss(store: SqlStore, tmp_path: Path) -> None:
    """They change the file, too."""
    for number in range(3):
        await create(store, KEY._replace(id=f"kept-{number}"))
        with closing(sqlite3.connect(tmp_path / "data" / "tasks.db")) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert (await head_of(store)).seq == 1


async def test_a_write_that_meets_the_loss_after_it_was_committed_is_not_acknowledged(
    store: SqlStore, tmp_path: Path
) -> None:
    """The file goes while the transaction is under way: the last moment to notice is after the commit."""
    path = tmp_path / "data" / "tasks.db"

    def lose(connection: object) -> None:
        path.unlink()

    with pytest.raises(StoreLost):
        await store._write(lose)


async def test_a_database_that_is_put_back_goes_on_with_all_that_was_acknowledged(
    store: SqlStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "data" / "tasks.db"
    path.rename(tmp_path / "away.db")
    with pytest.raises(StoreLost):
        await append(store, status(2), epoch=1)
    (tmp_path / "away.db").rename(path)
    await append(store, status(2), epoch=1)
    await store.ping()
    assert (await head_of(store)).seq == 2
    assert any("database available again" in record.getMessage() for record in caplog.records)


async def test_a_log_that_was_deleted_loses_nothing_if_the_store_is_closed_as_the_message_says(
    store: SqlStore, tmp_path: Path
) -> None:
    for seq in range(2, 20):
        await append(store, status(seq), epoch=1)
    (tmp_path / "data" / "tasks.db-wal").unlink()
    with pytest.raises(StoreLost):
        await append(store, status(20), epoch=1)
    await store.close()
    again = SqlStore(f"sqlite:///{tmp_path}/data/tasks.db")
    await again.open()
    assert (await head_of(again)).seq == 19
    await again.close()


async def test_a_file_that_is_gone_is_not_made_again_by_another_connection(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "data" / "tasks.db"
    path.unlink()
    results = await asyncio.gather(*(store.head(KEY) for _ in range(8)), return_exceptions=True)
    assert {type(result) for result in results} == {StoreLost}
    assert not path.exists()


def test_a_disk_that_can_only_be_read_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    sqlite3.connect(path).execute("CREATE TABLE t (i)").connection.close()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly") as refused:
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    assert is_transient(refused.value)


async def test_a_server_whose_database_is_gone_refuses_sends_and_says_why(tmp_path: Path) -> None:
    async with serving_on(open_store(f"sqlite:///{tmp_path}/tasks.db"), scripted_agent()) as served:
        (tmp_path / "tasks.db").unlink()
        refused = await refusal(served.send(request("hello")))
        assert refused.code == grpc.StatusCode.UNAVAILABLE
        assert "deleted, moved or replaced" in refused.text
        assert str(tmp_path) not in refused.text


CHECKPOINTS = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint=0")
for _ in range(10):
    for _ in range(20):
        connection.execute("INSERT INTO filler VALUES (?)", (os.urandom(200_000),))
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
"""


@pytest.mark.long
async def test_a_file_that_another_process_copies_its_log_into_is_not_called_overwritten(tmp_path: Path) -> None:
    """The first page counts the new pages before they are there, so that SQLite calls the file corrupt."""
    path = tmp_path / "tasks.db"
    file = DatabaseFile(str(path))
    with closing(file.connect(5.0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE filler (body BLOB)")
        mark(connection)
        writing = asyncio.create_task(run_program("-c", CHECKPOINTS, str(path), timeout_s=60))
        while not writing.done():
            await asyncio.to_thread(lambda: [file.check() for _ in range(1000)])
        assert await writing == (0, "", "")
