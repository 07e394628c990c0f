"""The pen of one run: makes its events into records of the task's log."""

import asyncio
import time

from google.protobuf.timestamp_pb2 import Timestamp

from a2a_grpc import lifecycle
from a2a_grpc.agent import Failed
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.log import Log
from a2a_grpc.parts import check_content
from a2a_grpc.store import Binding, Head, Record, TaskKey
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


def now_us() -> int:
    """Microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def timestamp(at_us: int) -> Timestamp:
    return Timestamp(seconds=at_us // 1_000_000, nanos=at_us % 1_000_000 * 1000)


class Writer:
    """Appends the events of one run under one claim.

    Guarantees: events stand in the log in the order of the calls; an event that is over a limit, or not allowed after
    the task's state, is not written; after another claim was taken nothing is written (StaleAppend).
    """

    __slots__ = (
        "_artifacts",
        "_bytes",
        "_lock",
        "_log",
        "_settings",
        "context_id",
        "epoch",
        "key",
        "seq",
        "state",
        "turn",
    )

    def __init__(self, log: Log, settings: EngineSettings, key: TaskKey, head: Head, *, artifacts: set[str]) -> None:
        self._log = log
        self._settings = settings
        self._artifacts = artifacts
        self._bytes = head.bytes
        self._lock = asyncio.Lock()  # an agent may emit from several of its own tasks at a time
        self.key = key
        self.context_id = head.context_id
        self.epoch = head.epoch
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
        bind: tuple[str, Binding] | None = None,
    ) -> None:
        """A new status, with the agent's word about it; with `incoming`, the user's message that opens `turn`.

        Raises IllegalTransition, StaleAppend, AlreadyBound; ValueError for content that the contract does not allow;
        Failed if a status that does not end the task is over a limit.
        """
        if message is not None:
            check_content(message)
        at_us = now_us()
        event = StreamResponse(
            status_update=TaskStatusUpdateEvent(
                task_id=self.key.id,
                context_id=self.context_id,
                status=TaskStatus(state=state, message=message, timestamp=timestamp(at_us)),
            )
        ).SerializeToString()
        serialized = incoming.SerializeToString() if incoming is not None else b""
        async with self._lock:
            lifecycle.check(self.state, state)
            if state not in lifecycle.TERMINAL:
                self._check_limits(len(event), len(serialized))
            turn = self.turn if turn is None else turn
            await self._append(Record(self.seq + 1, event, state, turn, at_us, serialized), bind)

    async def artifact(self, artifact: Artifact, *, append: bool, last_chunk: bool) -> None:
        """An artifact made, replaced or extended.

        Raises StaleAppend; ValueError for content that the contract does not allow; Failed if it is over a limit.
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
            self._check_limits(len(event))
            await self._append(Record(self.seq + 1, event, self.state, self.turn), None)

    async def task(self) -> Task:
        """The task as it is now, for the agent to read."""
        return Task.FromString((await self._log.snapshot(self.key)).task)

    def _check_limits(self, event: int, message: int = 0) -> None:
        limits = self._settings
        if event > limits.max_event_bytes:
            raise Failed(f"an event of {event} bytes is over the limit of {limits.max_event_bytes} bytes")
        if self._bytes + event + message > limits.max_task_bytes:
            raise Failed(f"the task's events have reached the limit of {limits.max_task_bytes} bytes")
        if self.seq >= limits.max_task_records:
            raise Failed(f"the task has reached the limit of {limits.max_task_records} events")

    async def _append(self, record: Record, bind: tuple[str, Binding] | None) -> None:
        await self._log.append(self.key, record, epoch=self.epoch, bind=bind)
        self.seq = record.seq
        self.state = record.state
        self.turn = record.turn
        self._bytes += record.size
