"""The example of a store in one plain file: it keeps tasks, and one server uses it."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import COMPLETED, FAILED, INPUT_REQUIRED
from a2a_grpc.parts import text_of
from a2a_grpc.server import Server
from a2a_grpc.store import Coordination, Mailbox, OneServer, Records, StoreUnavailable, TaskStore
from a2a_grpc.store.contract import OutboxContract, RecordsContract, StoreContract
from a2a_grpc.store.contract.given import KEY, append, born, chunk, create, head_of, status
from tests.guarantees.rig import serving_on
from tests.harness import eventually, load_program, run_program, scripted, scripted_agent

FileStore: Any = load_program("servers/file_store.py").FileStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.jsonl"


class TestFileStore(RecordsContract):
    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[Records]:
        store = FileStore(path)
        assert await store.open() == []
        yield store
        await store.close()


class TestFileStoreOfOneServer(StoreContract, OutboxContract):
    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[TaskStore]:
        store = OneServer(FileStore(path))
        await store.open()
        yield store
        await store.close()


@pytest.mark.parametrize("left", [0, 1, 40])
async def test_a_line_that_was_not_written_to_its_end_is_dropped(path: Path, left: int) -> None:
    store = FileStore(path)
    await store.open()
    epoch = await create(store)
    await append(store, status(2), epoch=epoch)
    whole = path.read_bytes()
    await append(store, chunk(3, "lost"), epoch=epoch)
    await store.close()
    path.write_bytes(path.read_bytes()[: len(whole) + left])
    store = FileStore(path)
    assert await store.open() == [KEY]
    assert await store.read(KEY, 0, 10) == [born(), status(2)]
    await append(store, chunk(3, "again"), epoch=epoch)
    await store.close()
    store = FileStore(path)
    await store.open()
    assert await store.read(KEY, 2, 10) == [chunk(3, "again")]
    await store.close()


@pytest.mark.parametrize("text", ["{}", "[1]", "nonsense", '{"task": ["", "", "t"], "record": []}'])
async def test_a_file_of_another_kind_is_refused_and_left_as_it_is(path: Path, text: str) -> None:
    path.write_text(text + "\n")
    with pytest.raises(ConfigurationError, match="is not a file of tasks"):
        await FileStore(path).open()
    assert path.read_text() == text + "\n"


async def test_purged_tasks_leave_the_file_when_the_store_opens_again(path: Path) -> None:
    store = FileStore(path)
    await store.open()
    for place in range(3):
        key = KEY._replace(id=f"t-{place}")
        await append(store, status(2, COMPLETED), epoch=await create(store, key), key=key)
    assert await store.purge(ended_age_s=1e6, keep=1, limit=10) == 2
    await store.close()
    store = FileStore(path)
    assert await store.open() == []
    assert path.read_text().count("t-2") == len(path.read_text().splitlines()) == 2
    assert (await head_of(store, KEY._replace(id="t-2"))).state == COMPLETED
    await store.close()


FULL = """
import asyncio, resource, sys
from pathlib import Path
from a2a_grpc.store import StoreUnavailable
from a2a_grpc.store.contract.given import append, create, status
from servers.file_store import FileStore

async def main(path):
    store = FileStore(path)
    await store.open()
    epoch = await create(store)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, most))  # as a disk with so much room
    for seq in (2, 2):
        try:
            await append(store, status(seq), epoch=epoch)
        except StoreUnavailable as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await append(store, status(2), epoch=epoch)
    await store.close()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_full_disk_fails_the_write_and_leaves_no_part_of_a_line(path: Path) -> None:
    code, out, err = await run_program("-c", FULL, str(path))
    assert (code, out, err) == (0, f"{path} cannot be written: the disk is full\n" * 2, "")
    store = FileStore(path)
    assert await store.open() == [KEY]
    assert await store.read(KEY, 0, 10) == [born(), status(2)]
    await store.close()
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        await append(store, chunk(3, "late"), epoch=1)


def test_a_server_refuses_a_store_that_only_keeps_tasks(path: Path) -> None:
    with pytest.raises(TypeError, match=r"FileStore, which only keeps tasks; give OneServer\(store\)"):
        Server(scripted_agent(), store=FileStore(path))
    names = [name for part in (Records, Coordination, Mailbox) for name in vars(part) if not name.startswith("_")]
    without_notes: Any = SimpleNamespace(**dict.fromkeys(names))
    with pytest.raises(TypeError, match="which lacks the methods put_note, get_note and note_sizes of"):
        Server(scripted_agent(), store=without_notes)


async def test_a_server_that_starts_again_goes_on_with_the_tasks_of_the_file(path: Path) -> None:
    """A server that is killed leaves the file as it is at this moment."""
    agent = scripted_agent()
    async with serving_on(OneServer(FileStore(path)), agent) as served:
        ended = (await served.send(scripted({"complete": "yes"}))).task
        asking = (await served.send(scripted({"input": "go?"}))).task
        working = (await served.send(scripted({"status": "at it"}, {"sleep": 60}, immediately=True))).task
        await eventually(lambda: _assert_in(path, working.id, times=3))
        killed = path.read_bytes()
    path.write_bytes(killed)
    async with serving_on(OneServer(FileStore(path)), agent) as served:
        assert (await served.get(ended.id)).status.state == COMPLETED
        assert (await served.get(asking.id)).status.state == INPUT_REQUIRED
        await eventually(lambda: _assert_failed(served, working.id))
        answered = (await served.send(scripted({"complete": "thanks"}, task_id=asking.id))).task
        assert answered.status.state == COMPLETED


def _assert_in(path: Path, id: str, *, times: int) -> None:
    assert path.read_text().count(id) >= times


async def _assert_failed(served: Any, id: str) -> None:
    task = await served.get(id)
    assert task.status.state == FAILED
    assert text_of(task.status.message) == "The server that ran this task was lost."
