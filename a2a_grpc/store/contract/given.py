"""The tasks, records and messages of the tests of stores."""

from typing import Any

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.store import (
    CORE,
    WHOLE,
    Append,
    Create,
    Head,
    Pending,
    Record,
    Records,
    TaskKey,
    TaskStore,
    TaskView,
    Written,
)
from a2a_grpc.wire import (
    ROLE_AGENT,
    ROLE_USER,
    Artifact,
    Message,
    Part,
    Role,
    StreamResponse,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

VIEWS = [
    WHOLE,
    CORE,
    *(TaskView(artifacts, length) for artifacts in (True, False) for length in (None, 0, 1, 2, 3, 99)),
]
ODD = ["é" * 256, "a'b\"c;--", "日本語", "\U0001f600", " ", "%_\\"]
"""Texts that ids and keys may be."""
KEY = TaskKey("tenant", "owner", "t-1")
NEVER_S = 1e6
"""An age in seconds that nothing in a test reaches."""
ME, OTHER = "replica-1", "replica-2"
LEASE_S = 60.0
WAITING = Pending(0, "skill", b"request", '{"subject": "Zo\u00eb"}')


def born(key: TaskKey = KEY, *, at_us: int = 1_000_000, context_id: str = "c-1") -> Record:
    task = Task(id=key.id, context_id=context_id, status=TaskStatus(state=SUBMITTED))
    return Record(1, StreamResponse(task=task).SerializeToString(), SUBMITTED, 1, at_us)


def status(
    seq: int, state: TaskState = WORKING, *, at_us: int = 2_000_000, message: bytes = b"", turn: int = 1
) -> Record:
    event = TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=TaskStatus(state=state))
    return Record(seq, StreamResponse(status_update=event).SerializeToString(), state, turn, at_us, message)


def chunk(seq: int, text: str, *, append: bool = True, state: TaskState = WORKING) -> Record:
    artifact = Artifact(artifact_id="a", parts=[Part(text=text)])
    event = TaskArtifactUpdateEvent(task_id=KEY.id, context_id="c-1", artifact=artifact, append=append)
    return Record(seq, StreamResponse(artifact_update=event).SerializeToString(), state, 1)


async def create(
    store: Records, key: TaskKey = KEY, *, at_us: int = 1_000_000, context_id: str = "c-1", **more: Any
) -> int:
    """Create a task that ME holds. Return the epoch of its claim."""
    return await store.write(Create(key, born(key, at_us=at_us, context_id=context_id), context_id, ME, **more))


async def append(store: Records, record: Record, *, epoch: int, key: TaskKey = KEY, **more: Any) -> int:
    return await store.write(Append(key, record, epoch, **more))


async def outcome(written: Written) -> int:
    return await written


async def head_of(store: Records, key: TaskKey = KEY) -> Head:
    head = await store.head(key)
    assert head is not None
    return head


async def enqueue(store: TaskStore, *, replica: str = ME, limit: int = 16, **more: Any) -> Head:
    head = await store.enqueue(KEY, WAITING, replica=replica, limit=limit, **more)
    assert head is not None
    return head


async def claim(store: TaskStore, replica: str, *, force: bool = False) -> Head:
    head = await store.claim(KEY, replica, force=force)
    assert head is not None
    return head


def said(text: str, *, by: Role = ROLE_USER) -> Message:
    return Message(message_id=text[:16], role=by, parts=[Part(text=text)])


def talk() -> list[Record]:
    """Return the log of a task of three turns.

    It has messages of both sides, two artifacts, and metadata that a later event brings.
    """
    first = Task(id=KEY.id, context_id="c-1", status=TaskStatus(state=SUBMITTED), history=[said("one")])
    first.metadata.update({"a": 1})
    told = TaskStatus(state=WORKING, message=said("half way", by=ROLE_AGENT))
    asked = TaskStatus(state=INPUT_REQUIRED, message=said("and?", by=ROLE_AGENT))
    late = TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=asked)
    late.metadata.update({"b": 2})
    return [
        Record(1, StreamResponse(task=first).SerializeToString(), SUBMITTED, 1, 1_000_000),
        status(2),
        _updated(3, TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=told)),
        chunk(4, "x" * 2000, append=False),
        status(5),
        _updated(6, late),
        status(7, message=said("two").SerializeToString(), turn=2),
        chunk(8, "y" * 2000)._replace(turn=2),
        _updated(9, TaskStatusUpdateEvent(task_id=KEY.id, context_id="c-1", status=told))._replace(turn=2),
        status(10, message=said("three").SerializeToString(), turn=3),
        status(11, COMPLETED, turn=3),
    ]


def _updated(seq: int, update: TaskStatusUpdateEvent) -> Record:
    return Record(seq, StreamResponse(status_update=update).SerializeToString(), update.status.state, 1, 2_000_000)


def seen(whole: Task, view: TaskView) -> Task:
    """Return the parts of a task that a view names."""
    task = Task()
    task.CopyFrom(whole)
    if not view.artifacts:
        task.ClearField("artifacts")
    if view.history_length is not None:
        del task.history[: max(0, len(task.history) - view.history_length)]
    return task


async def filled(store: Records, count: int, *, artifact: int = 0, history: int = 0) -> None:
    """Create the tasks `t-00`, `t-01`, …, each with an artifact and with two messages of so many bytes."""
    for place in range(count):
        key = KEY._replace(id=f"t-{place:02}")
        task = Task(id=key.id, context_id="c-1", status=TaskStatus(state=SUBMITTED), history=[said("x" * history)])
        record = Record(1, StreamResponse(task=task).SerializeToString(), SUBMITTED, 1, place + 1)
        epoch = await store.write(Create(key, record, "c-1", ME))
        added = said("x" * history).SerializeToString()
        await append(store, status(2, at_us=place + 1, message=added, turn=2), epoch=epoch, key=key)
        await append(store, chunk(3, "x" * artifact)._replace(turn=2), epoch=epoch, key=key)
