"""A request to cancel does not wait for the disk: its caller waits for the end of the task, which does."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from a2a_grpc.database.transactions import Use
from a2a_grpc.store import TaskKey
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.store.sql.store import SqlStore

HOW = {"sqlite": ("PRAGMA synchronous", 2, 1), "postgres": ("SHOW synchronous_commit", "on", "off")}
"""What tells whether a commit waits for the disk, and what it says if so, and if not."""


@pytest.mark.parametrize("kind", list(HOW))
async def test_only_a_request_to_cancel_is_committed_without_waiting_for_the_disk(
    postgres_url: str, tmp_path: Path, kind: str
) -> None:
    url = postgres_url if kind == "postgres" else f"sqlite:///{tmp_path}/tasks.db"
    await upgrade(url)
    store = SqlStore(url)
    await store.open()
    ask, synced, unsynced = HOW[kind]
    seen: list[Any] = []

    def committing(connection: Connection) -> None:
        seen.append(connection.exec_driver_sql(ask).scalar())

    database: Any = store._database
    engines = [database.pools[Use.WRITE].engine]
    if kind == "postgres":
        engines = [database.pools[use].sync_engine for use in (Use.WRITE, Use.WRITE_UNSYNCED)]
    for engine in engines:
        event.listen(engine, "commit", committing)
    try:
        await store.join("a", 10.0)
        await store.request_cancel(TaskKey("", "", "t-1"), b"")
        await store.join("b", 10.0)
        with pytest.raises(ZeroDivisionError):
            await database.run(Use.WRITE_UNSYNCED, lambda connection: 1 // 0)
        await store.join("c", 10.0)
        assert seen == [synced, unsynced, synced, synced]
    finally:
        for engine in engines:
            event.remove(engine, "commit", committing)
        await store.close()
