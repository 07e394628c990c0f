"""An example of your own store, to copy: tasks in one plain file, which has one line of JSON for each record.

    server = Server(agent, store=OneServer(FileStore(Path("tasks.jsonl"))))

`FileStore` keeps the tasks, and `OneServer` adds what else a server needs. Only one server can use the file. The store
reads the file when it opens, and holds all tasks in memory from then on. A record is on the disk before any reader
sees it.
"""

import asyncio
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from io import FileIO
from math import inf
from pathlib import Path
from typing import Any

from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import TERMINAL, fold
from a2a_grpc.store import (
    WHOLE,
    Append,
    Create,
    Head,
    InOrder,
    Listed,
    ListFilter,
    Page,
    Position,
    Record,
    Scope,
    Snapshot,
    StaleAppend,
    StoreUnavailable,
    TaskKey,
    TaskView,
    Written,
)
from a2a_grpc.store.views import cut
from a2a_grpc.wire import Task


@dataclass(slots=True)
class Kept:
    """One task of the file."""

    context_id: str
    records: list[Record] = field(default_factory=list)
    epoch: int = 1
    at_us: int = 0
    """The time of the newest status."""
    ended_at: float = 0.0
    """By the clock of this machine; 0 while the task has not ended."""

    def load(self, view: TaskView) -> Snapshot:
        last = self.records[-1]
        task = fold(Task(), (record.unpack() for record in self.records)).SerializeToString()
        return Snapshot(last.seq, cut(task, view), last.state, last.turn)


class FileStore:
    """Tasks in one file. After an error of the disk the store writes nothing more until it is opened again."""

    durable = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO
        self._failure = "the store is not open"
        self._tasks: dict[TaskKey, Kept] = {}
        self._in_order = InOrder(self._perform)

    async def open(self) -> Collection[TaskKey]:
        found = self._path.read_bytes() if self._path.exists() else b""
        whole = found[: found.rfind(b"\n") + 1]  # the process was killed while it wrote what follows
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            for line in lines:
                self._take(line)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{self._path} is not a file of tasks: {error!r}") from error
        new = self._path.with_name(self._path.name + ".new")
        with new.open("wb") as file:  # without the tasks that were purged
            file.writelines(_text(line) for line in lines if TaskKey(*line["task"]) in self._tasks)
            file.flush()
            os.fsync(file.fileno())
        self._file, self._failure = FileIO(new.replace(self._path), "a"), ""
        return [key for key, kept in self._tasks.items() if not kept.ended_at]

    async def close(self) -> None:
        await self._in_order.finish()
        if not self._failure:
            self._file.close()
        self._failure = "the store is closed"

    async def ping(self) -> None:
        if self._failure:
            raise StoreUnavailable(f"{self._path} cannot be written: {self._failure}")

    def write(self, write: Create | Append) -> Written:
        return self._in_order.write(write)

    async def _perform(self, write: Create | Append) -> int:
        record, kept = write.record, self._tasks.get(write.key)
        if isinstance(write, Append) and (kept is None or kept.ended_at or record.seq != len(kept.records) + 1):
            raise StaleAppend
        seq, event, state, turn, at_us, message = record
        coded = (seq, b64encode(event).decode(), state, turn, at_us, b64encode(message).decode())
        line: dict[str, Any] = {"task": write.key, "record": coded, "now": time.time()}
        line |= {"epoch": write.epoch} if isinstance(write, Append) else {"epoch": 1, "context": write.context_id}
        await self._append(line)
        try:
            await asyncio.to_thread(os.fsync, self._file.fileno())
        except OSError as error:
            self._failure = str(error)
            await self.ping()
        self._take(line)
        return record.turn

    async def _append(self, line: dict[str, Any]) -> None:
        """Append one line to the file. Raise StoreUnavailable if the file has no room for it."""
        await self.ping()
        text, size = _text(line), os.fstat(self._file.fileno()).st_size
        try:
            if self._file.write(text) != len(text):
                raise OSError("the disk is full")
        except OSError as error:
            self._file.truncate(size)
            raise StoreUnavailable(f"{self._path} cannot be written: {error}") from error

    def _take(self, line: dict[str, Any]) -> None:
        """Take note of a line of the file."""
        key = TaskKey(*line["task"])
        if "record" not in line:
            del self._tasks[key]
            return
        record = Record(*line["record"])
        record = record._replace(event=b64decode(record.event), message=b64decode(record.message))
        if record.seq == 1:
            self._tasks[key] = Kept(line["context"])
        kept = self._tasks[key]
        kept.records.append(record)
        kept.epoch, kept.at_us = line["epoch"], record.at_us or kept.at_us
        kept.ended_at = line["now"] if record.state in TERMINAL else 0.0

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        kept = self._tasks.get(key)
        return kept.records[after : after + limit] if kept else None

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        kept = self._tasks.get(key)
        return kept.load(view) if kept else None

    async def head(self, key: TaskKey) -> Head | None:
        if (kept := self._tasks.get(key)) is None:
            return None
        last, size = kept.records[-1], sum(record.size for record in kept.records)
        return Head(last.seq, last.state, last.turn, kept.epoch, kept.context_id, size)

    async def list(
        self, scope: Scope, where: ListFilter, after: Position | None, limit: int,
        *, view: TaskView = WHOLE, max_bytes: int | None = None,
    ) -> Page:  # fmt: skip
        found = [
            (Position(kept.at_us, key.id), kept)
            for key, kept in self._tasks.items()
            if key.scope == scope and where.context_id in ("", kept.context_id)
            if where.state in (0, kept.records[-1].state) and where.since_us <= kept.at_us
        ]
        rest = sorted((one for one in found if after is None or one[0] < after), reverse=True, key=lambda one: one[0])
        tasks, left = list[Listed](), inf if max_bytes is None else max_bytes
        for position, kept in rest[:limit]:
            snapshot = kept.load(view)
            left -= len(snapshot.task)
            if left < 0 and tasks:
                break
            tasks.append(Listed(position, snapshot))
        return Page(tasks, len(found), more=len(tasks) < len(rest))

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        ended = sorted((kept.ended_at, key) for key, kept in self._tasks.items() if kept.ended_at)
        surplus, now = len(ended) - keep, time.time()
        old = [key for place, (at, key) in enumerate(ended) if place < surplus or at <= now - ended_age_s][:limit]
        for key in old:
            await self._append({"task": key})
            del self._tasks[key]
        return len(old)


def _text(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"
