"""Large snapshots in SQLite are read and written in pieces, and what one load reads is of one instant."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Pool, event

from a2a_grpc.database.transactions import Use
from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.store import WHOLE, ListFilter, Record, Snapshot, TaskView
from a2a_grpc.store.contract.given import KEY, append, create, said, status
from a2a_grpc.store.sql import SqlStore
from a2a_grpc.store.sql.snapshots import Superfluous, keep
from a2a_grpc.store.views import cut, split
from a2a_grpc.wire import Artifact, Part, StreamResponse, Task, TaskArtifactUpdateEvent
from tests.covers import covers

MiB = 1 << 20
LEAN = TaskView(artifacts=False)
PART = 700_000
"""Bytes of each part and of each message: two of them are more than a piece."""
FIRST_PART = 5
"""The seq of the record with the first part. Before there are three messages."""

Load = Callable[[SqlStore], Awaitable[Snapshot | None]]


async def load_whole(store: SqlStore) -> Snapshot | None:
    return await store.load(KEY)


async def load_lean(store: SqlStore) -> Snapshot | None:
    return await store.load(KEY, LEAN)


async def list_whole(store: SqlStore) -> Snapshot | None:
    return await _first(store, WHOLE)


async def list_lean(store: SqlStore) -> Snapshot | None:
    return await _first(store, LEAN)


async def _first(store: SqlStore, view: TaskView) -> Snapshot | None:
    tasks = (await store.list(KEY.scope, ListFilter(), None, 5, view=view)).tasks
    return tasks[0].snapshot if tasks else None


@pytest.fixture
async def writing(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def reading(writing: SqlStore, tmp_path: Path) -> AsyncIterator[SqlStore]:
    """Another store on the same file, which remembers nothing of the task."""
    store = SqlStore(f"sqlite:///{tmp_path}/tasks.db")
    await store.open()
    yield store
    await store.close()


async def large_task(store: SqlStore) -> int:
    """Create a task with messages of 2 MiB. Return the epoch of its claim."""
    epoch = await create(store)
    for seq in range(2, FIRST_PART):
        message = said("x" * PART).SerializeToString()
        await append(store, status(seq, message=message, turn=seq), epoch=epoch)
    return epoch


def part(seq: int) -> Record:
    """A record that adds a part to the artifact."""
    artifact = Artifact(artifact_id="a", parts=[Part(raw=bytes([seq]) * PART)])
    update = TaskArtifactUpdateEvent(task_id=KEY.id, context_id="c-1", artifact=artifact, append=seq > FIRST_PART)
    return Record(seq, StreamResponse(artifact_update=update).SerializeToString(), WORKING, 4)


async def grow(store: SqlStore, epoch: int, seq: int) -> None:
    """Add a part, and store a snapshot with it."""
    await append(store, part(seq), epoch=epoch)
    taken = await store.load(KEY)
    assert taken is not None
    database, pk = store._database, store._pks.get(KEY)
    assert database is not None
    assert pk is not None
    await database.write(keep, pk, taken, split(taken.task))


def check_fit(found: Snapshot | None) -> int:
    """Check that a snapshot has exactly the parts of its seq. Return its seq."""
    assert found is not None
    task = Task.FromString(found.task)
    parts = [bytes(part.raw) for artifact in task.artifacts for part in artifact.parts]
    assert parts == [bytes([seq]) * PART for seq in range(FIRST_PART, found.seq + 1)]
    assert len(task.history) == 3
    return found.seq


@contextmanager
def sizes() -> Iterator[list[int]]:
    """The sizes of all values that pass through statements: of those that are bound, and of those that are read."""
    seen = [0]

    def note(values: Any) -> None:
        seen.extend(len(value) for value in values if isinstance(value, bytes))

    def bound(_: Any, __: Any, ___: Any, parameters: Any, ____: Any, many: bool) -> None:
        for row in parameters if many else [parameters]:
            note(row)

    def rows(driver: sqlite3.Connection, *_: Any) -> None:
        driver.row_factory = lambda _, row: note(row) or row  # type: ignore[func-returns-value]

    event.listen(Engine, "before_cursor_execute", bound)
    event.listen(Pool, "checkout", rows)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", bound)
        event.remove(Pool, "checkout", rows)


async def test_no_value_of_more_than_a_mebibyte_of_a_snapshot_passes_through_a_statement(
    writing: SqlStore, reading: SqlStore
) -> None:
    """A statement that binds or reads such a value keeps the interpreter to itself for as long as copying it takes."""
    epoch = await large_task(writing)
    for seq in range(5, 13):
        await append(writing, part(seq), epoch=epoch)
    with sizes() as seen:
        await grow(writing, epoch, 13)
        whole = await writing.load(KEY)
        for load in (load_whole, list_whole):
            assert await load(reading) == whole
        for load in (load_lean, list_lean):
            found = await load(reading)
            assert whole is not None
            assert found is not None
            assert Task.FromString(found.task) == Task.FromString(cut(whole.task, LEAN))
    assert check_fit(whole) == 13
    assert PART < max(seen) <= MiB


@covers("G4")
@pytest.mark.few(5)  # which has each way to load and both changes
@pytest.mark.parametrize("load", [load_whole, list_whole, load_lean, list_lean])
@pytest.mark.parametrize("change", ["a newer snapshot", "a purge"])
async def test_a_snapshot_that_changes_while_it_is_read_is_read_as_it_was(
    writing: SqlStore, reading: SqlStore, load: Load, change: str
) -> None:
    """The change comes between the statement that finds the snapshot and the opening of its blobs."""
    epoch, loop = await large_task(writing), asyncio.get_running_loop()
    for seq in range(5, 8):
        await grow(writing, epoch, seq)

    async def meddle() -> None:
        if change == "a purge":
            await append(writing, status(8, COMPLETED, turn=4), epoch=epoch)
            assert await writing.purge(ended_age_s=0.0, keep=0, limit=5) == 1
        else:
            await grow(writing, epoch, 8)

    changed: list[str] = []

    def change_it(_: Any, __: Any, statement: str, *___: Any) -> None:
        # The first statement of `load_whole` reads snapshots of small tasks only.
        if "a2a_snapshot.body" in statement and "a2a_task.size <=" not in statement and not changed:
            changed.append(statement)
            asyncio.run_coroutine_threadsafe(meddle(), loop).result(30)

    database: Any = reading._database
    for way in (database.pools[Use.READ], database.pools[Use.READ_SNAPSHOT]):
        event.listen(way.engine, "after_cursor_execute", change_it)
    found = await load(reading)
    assert changed
    if load in (load_whole, list_whole):
        assert check_fit(found) == 7
    else:
        assert found is not None
        assert found.seq == 7
        assert len(Task.FromString(found.task).history) == 3
    after = await load(reading)
    assert (after.seq if after else None) == (None if change == "a purge" else 8)


@covers("G4")
async def test_snapshots_fit_their_seq_while_another_connection_writes(writing: SqlStore, reading: SqlStore) -> None:
    epoch = await large_task(writing)
    await grow(writing, epoch, 5)

    async def write() -> None:
        for seq in range(6, 14):
            await grow(writing, epoch, seq)

    work = asyncio.create_task(write())
    seqs = []
    while not work.done():
        reading._forget(KEY)
        seqs += [check_fit(await load_whole(reading)), check_fit(await list_whole(reading))]
    await work
    assert seqs == sorted(seqs)
    assert len(set(seqs)) > 1


async def test_a_large_snapshot_that_is_not_committed_leaves_nothing(writing: SqlStore, tmp_path: Path) -> None:
    epoch = await large_task(writing)
    for seq in (5, 6):
        await grow(writing, epoch, seq)
    database, stored = writing._database, await writing.load(KEY)
    assert database is not None
    assert stored is not None
    with pytest.raises(Superfluous):  # there is no task of this number, and that is found out last
        await database.write(keep, 1, stored, split(stored.task))
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        assert connection.execute("SELECT task FROM a2a_snapshot").fetchall() == [(writing._pks.get(KEY),)]
    connection.close()
    await grow(writing, epoch, 7)
    assert check_fit(await load_whole(writing)) == 7
