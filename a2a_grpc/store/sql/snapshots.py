"""Stored snapshots, written in the background: shortcuts whose loss loses nothing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from a2a_grpc.database.retry import reason
from a2a_grpc.database.transactions import Database
from a2a_grpc.offload import offload
from a2a_grpc.store.sql.schema import SNAPSHOT_PARTS
from a2a_grpc.store.sql.sqlite import fill, room_for
from a2a_grpc.store.sql.statements.records import DELETE_OLDER_SNAPSHOT, INSERT_SNAPSHOT, UPDATE_SNAPSHOT_SEQ
from a2a_grpc.store.values import Snapshot, TaskKey
from a2a_grpc.store.views import split

logger = logging.getLogger("a2a_grpc.store")


class Superfluous(Exception):
    """A newer snapshot is stored, or the task was purged meanwhile."""


def keep(connection: Connection, pk: int, taken: Snapshot, parts: Sequence[bytes]) -> None:
    """Store the snapshot of a task, which is in `parts`. The task's row is locked last, because an append may wait for
    it."""
    connection.execute(DELETE_OLDER_SNAPSHOT, {"of_pk": pk, "new_seq": taken.seq})
    values = {column.name: room_for(connection, part) for column, part in zip(SNAPSHOT_PARTS, parts, strict=True)}
    connection.execute(INSERT_SNAPSHOT.values(task=pk, seq=taken.seq, state=taken.state, turn=taken.turn, **values))
    for column, part in zip(SNAPSHOT_PARTS, parts, strict=True):
        fill(connection, pk, column, part)
    if not connection.execute(UPDATE_SNAPSHOT_SEQ, {"of_pk": pk, "new_seq": taken.seq}).rowcount:
        raise Superfluous


class SnapshotWriter:
    """Writes the snapshots of tasks that are due, in transactions of their own, never in the way of an append."""

    def __init__(self, database: Database, load: Callable[[TaskKey], Awaitable[Snapshot | None]]) -> None:
        self._database = database
        self._load = load
        self._due: dict[TaskKey, int] = {}
        self._arrived = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep_forever(), name="a2a-grpc store snapshots")

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    @property
    def is_healthy(self) -> bool:
        return self._keeping is not None and not self._keeping.done()

    def add(self, key: TaskKey, pk: int) -> None:
        """Store a snapshot of a task soon."""
        self._due[key] = pk
        self._arrived.set()

    async def _keep_forever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._due:
                key, pk = self._due.popitem()
                try:
                    if (taken := await self._load(key)) is not None:
                        parts = await offload(len(taken.task), split, taken.task)
                        await self._database.write(keep, pk, taken, parts)
                except (Superfluous, IntegrityError):
                    pass
                except Exception as error:
                    self._due.clear()  # the log has it all
                    logger.info("snapshots were not stored error=%s", reason(error))
