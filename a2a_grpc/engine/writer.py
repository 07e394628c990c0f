"""The pen of one run: makes its events into records of the task's log."""

import asyncio
import time
from collections import deque

from google.protobuf.timestamp_pb2 import Timestamp

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.log import Log
from a2a_grpc.parts import check_content
from a2a_grpc.store import Append, Head, Record, StaleAppend, TaskKey
from a2a_grpc.wire import (
    Artifact,
    Message,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

MAX_BEHIND = 64
"""Records of one run that may be on their way to the store at a time."""


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def timestamp(at_us: int) -> Timestamp:
    return Timestamp(seconds=at_us // 1_000_000, nanos=at_us % 1_000_000 * 1000)


def status_event(key: TaskKey, context_id: str, state: TaskState, at_us: int, message: Message | None = None) -> bytes:
    """The serialised event of a new status."""
    status = TaskStatus(state=state, message=message, timestamp=timestamp(at_us))
    update = TaskStatusUpdateEvent(task_id=key.id, context_id=context_id, status=status)
    return StreamResponse(status_update=update).SerializeToString()


def check_limits(settings: EngineSettings, *, seq: int, size: int, event: int, message: int = 0) -> None:
    """Raises Failed where an event and a message of so many bytes are too much for a task of `seq` records with `size`
    bytes."""
    if event > settings.max_event_bytes:
        raise Failed(f"an event of {event} bytes is over the limit of {settings.max_event_bytes} bytes")
    if size + event + message > settings.max_task_bytes:
        raise Failed(f"the task's events have reached the limit of {settings.max_task_bytes} bytes")
    if seq >= settings.max_task_records:
        raise Failed(f"the task has reached the limit of {settings.max_task_records} events")


def _look_at(writing: "asyncio.Task[int]") -> None:
    """What became of it is of no interest any more where the run was lost meanwhile."""
    if not writing.cancelled():
        writing.exception()


class Writer:
    """Appends the events of one run under one claim.

    Guarantees: events stand in the log in the order of the calls; an event that is over a limit, or not allowed after
    the task's state, is not written; after another claim was taken nothing is written (StaleAppend). After a write of
    which nobody knows whether it happened (StoreUnavailable), the next one looks first.
    """

    __slots__ = (
        "_artifacts",
        "_behind",
        "_is_unsure",
        "_lock",
        "_log",
        "_settings",
        "_size",
        "context_id",
        "epoch",
        "key",
        "last_turn",
        "replica",
        "seq",
        "state",
        "turn",
    )

    def __init__(self, log: Log, settings: EngineSettings, key: TaskKey, head: Head) -> None:
        self._log = log
        self._settings = settings
        self._artifacts: set[str] = set()
        self._behind: deque[asyncio.Task[int]] = deque()
        self._size = head.size
        self._is_unsure = False
        self._lock = asyncio.Lock()  # an agent may emit from several of its own tasks at a time
        self.key = key
        self.context_id = head.context_id
        self.epoch = head.epoch
        self.replica = head.replica
        """Who holds the claim."""
        self.last_turn = head.last_turn
        """The newest message that was accepted for the task, as far as is known here."""
        self.seq = head.seq
        self.state = head.state
        self.turn = head.turn

    async def status(
        self,
        state: TaskState,
        message: Message | None = None,
        *,
        incoming: Message | None = None,
        turn: int | None = None,
        done: int = 0,
        release: bool = False,
    ) -> None:
        """A new status, with the agent's word about it; with `incoming`, the user's message that opens `turn`. For
        `done` and `release` see `Append`.

        Raises IllegalTransition, StaleAppend, StoreUnavailable; ValueError for content that the contract does not
        allow; Failed if a status that does not end the task is over a limit.
        """
        if message is not None:
            check_content(message)
        at_us = now_us()
        event = status_event(self.key, self.context_id, state, at_us, message)
        serialized = incoming.SerializeToString() if incoming is not None else b""
        async with self._lock:
            await self._catch_up()
            lifecycle.check(self.state, state)
            if state not in lifecycle.TERMINAL:
                self._check_limits(len(event), len(serialized))
            turn = self.turn if turn is None else turn
            await self._append(Record(self.seq + 1, event, state, turn, at_us, serialized), done, release)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool, behind: bool = False) -> None:
        """An artifact made, replaced or extended. With `behind` it need not be stored on return: a few may be on their
        way to a durable store, in order, and whatever becomes of them is raised by a later call.

        Raises StaleAppend, StoreUnavailable; ValueError for content that the contract does not allow; Failed if it is
        over a limit.
        """
        check_content(artifact)
        if artifact.artifact_id not in self._artifacts:
            if len(self._artifacts) >= self._settings.max_artifacts:
                raise Failed(f"the task has reached the limit of {self._settings.max_artifacts} artifacts")
            self._artifacts.add(artifact.artifact_id)
        event = StreamResponse(
            artifact_update=TaskArtifactUpdateEvent(
                task_id=self.key.id,
                context_id=self.context_id,
                artifact=artifact,
                append=append,
                last_chunk=last_chunk,
            )
        ).SerializeToString()
        async with self._lock:
            if behind and self._log.store.durable:
                await self._catch_up(leave=MAX_BEHIND - 1)
                self._check_limits(len(event))
                self._append_behind(Record(self.seq + 1, event, self.state, self.turn))
                return
            await self._catch_up()
            self._check_limits(len(event))
            await self._append(Record(self.seq + 1, event, self.state, self.turn))

    async def settle(self) -> None:
        """Waits for what is on its way, and looks at the log where nobody knows whether the last write happened.

        Raises what the first write that failed did, StaleAppend, StoreUnavailable.
        """
        async with self._lock:
            await self._catch_up()

    async def task(self) -> Task:
        """The task as it is now, for the agent to read. To be asked for before the first artifact is written, unless
        the task is new: then its artifacts are known."""
        task = Task.FromString((await self._log.snapshot(self.key)).task)
        self._artifacts = {artifact.artifact_id for artifact in task.artifacts}
        return task

    def _check_limits(self, event: int, message: int = 0) -> None:
        check_limits(self._settings, seq=self.seq, size=self._size, event=event, message=message)

    async def _append(self, record: Record, done: int = 0, release: bool = False) -> None:
        self._is_unsure = True
        try:
            self.last_turn = await self._log.append(Append(self.key, record, self.epoch, done=done, release=release))
        except StaleAppend:
            self._is_unsure = False
            raise
        self._is_unsure = False
        self._advance(record)

    def _append_behind(self, record: Record) -> None:
        appending = self._log.append(Append(self.key, record, self.epoch))
        writing = asyncio.create_task(appending, name=f"a2a-grpc:append:{self.key.id}")
        writing.add_done_callback(_look_at)
        self._behind.append(writing)
        self._advance(record)

    def _advance(self, record: Record) -> None:
        self.seq = record.seq
        self.state = record.state
        self.turn = record.turn
        self._size += record.size

    async def _catch_up(self, *, leave: int = 0) -> None:
        """Waits for what is on its way, but for `leave` of it. Then takes the log as it is, where a write may or may
        not have happened. Raises what the first write that failed did."""
        while len(self._behind) > leave:
            await asyncio.wait([self._behind[0]])
            try:
                self.last_turn = self._behind[0].result()
            except Exception:
                self._is_unsure = True
                failed, self._behind = self._behind, deque()
                await asyncio.gather(*failed, return_exceptions=True)
                raise
            self._behind.popleft()
        if not self._is_unsure:
            return
        head = await self._log.head(self.key)
        if head.epoch != self.epoch:
            raise StaleAppend
        self.seq, self.state, self.turn, self._size = head.seq, head.state, head.turn, head.size
        self.last_turn = head.last_turn
        self._is_unsure = False
