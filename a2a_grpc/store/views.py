"""Parts of a task: cut out of its bytes, or put together from its records. For whole tasks see `growing`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from a2a_grpc.piecewise import fields, joined
from a2a_grpc.store.growing import ARTIFACTS, HISTORY, id_of
from a2a_grpc.store.values import Record, TaskView
from a2a_grpc.wire import Message, StreamResponse, Task

CONTEXT_ID = Task.DESCRIPTOR.fields_by_name["context_id"].number
RECORD_COST = 256
"""The cost of folding a record in addition to its bytes, in bytes. So many small records count as large work."""


# -- bytes of a task


def cut(task: bytes, view: TaskView) -> bytes:
    """Return a serialised task without the parts that the view leaves out. Nothing of them is parsed or copied."""
    if view.artifacts and view.history_length is None:
        return task
    spans = list(fields(task))
    surplus = 0
    if view.history_length is not None:
        surplus = max(0, sum(field.number == HISTORY for field in spans) - view.history_length)
    if view.artifacts and not surplus:
        return task
    kept: list[tuple[int, int]] = []
    for number, start, _, end in spans:
        if number == HISTORY and surplus:
            surplus -= 1
        elif view.artifacts or number != ARTIFACTS:
            if kept and kept[-1][1] == start:
                start = kept.pop()[0]
            kept.append((start, end))
    whole = memoryview(task)
    return joined(whole[start:end] for start, end in kept)


def split(task: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the core of a serialised task, its history and its artifacts. Joined, in any order, they are the task."""
    whole = memoryview(task)
    parts: dict[int, list[memoryview]] = {ARTIFACTS: [], HISTORY: [], 0: []}
    for number, start, _, end in fields(task):
        parts[number if number in parts else 0].append(whole[start:end])
    return joined(parts[0]), joined(parts[HISTORY]), joined(parts[ARTIFACTS])


def context_id_of(task: bytes) -> str:
    """Return the id of the context of a serialised task; empty if it has none."""
    return next((task[field.content : field.end].decode() for field in fields(task) if field.number == CONTEXT_ID), "")


def artifact_ids(task: bytes) -> set[str]:
    """Return the ids of the artifacts of a serialised task."""
    whole = memoryview(task)
    return {id_of(whole[field.content : field.end]) for field in fields(task) if field.number == ARTIFACTS}


# -- records of a task


def tells_status(record: Record) -> bool:
    """Return True for a record that brings a status. Other records only add to artifacts."""
    return record.at_us != 0


def cost_of(records: Sequence[Record]) -> int:
    """Return what folding the records costs, as bytes."""
    sizes = [len(event) + len(message) for _, event, _, _, _, message in records]
    return sum(sizes) + RECORD_COST * len(sizes)


def core_of(first: bytes) -> bytes | None:
    """Return the serialised task that a log begins with, without its history and artifacts. Return None if the record
    is no task."""
    try:
        element = StreamResponse.FromString(first)
    except DecodeError:
        return None
    if not element.HasField("task"):
        return None
    core = element.task
    for name in ("artifacts", "history"):
        core.ClearField(name)
    return core.SerializeToString()


class Told(NamedTuple):
    """What a record that brings a status adds to a task in addition to the status."""

    messages: int | None
    """Messages of the history, sooner or later: the user's, and the record's own once another status supersedes it.
    None if the record is not understood."""
    has_metadata: bool
    """True if the core of the task changes."""


def told_by(record: Record) -> Told:
    """Return what a record that brings a status adds to a task."""
    try:
        element = StreamResponse.FromString(record.event)
    except DecodeError:
        return Told(None, False)
    if element.HasField("status_update"):
        update = element.status_update
        return Told(bool(record.message) + update.status.HasField("message"), update.HasField("metadata"))
    if element.HasField("task") and record.seq == 1:
        return Told(len(element.task.history) + element.task.status.HasField("message"), False)
    return Told(None, False)


def merged_core(core: bytes, record: Record) -> bytes:
    """Return the core once the metadata of a status update is merged into it."""
    task = Task.FromString(core)
    task.metadata.MergeFrom(StreamResponse.FromString(record.event).status_update.metadata)
    return task.SerializeToString()


def chosen(counts: Sequence[int], length: int) -> list[int]:
    """Return the places of the records that a task with its `length` most recent messages is made of.

    `counts` are the messages of each record that brings a status, in order. The newest record is chosen, as it brings
    the status; except the first of a log, whose status is in the core.
    """
    newest = len(counts) - 1
    if not (newest or length):
        return []
    places, found = [newest], counts[newest]
    if length:
        for place in range(newest - 1, -1, -1):
            if found > length:
                break
            if counts[place]:
                places.append(place)
                found += counts[place]
    return places[::-1]


def size_of(core: int, sizes: Iterable[tuple[int, int]], length: int) -> int:
    """Return how many bytes a task has at most that is made of a core and of chosen records, given the sizes of their
    events and messages."""
    return core + sum(event + (message if length else 0) for event, message in sizes)


def recent(core: bytes, records: Sequence[Record], length: int) -> bytes:
    """Return the serialised task with its `length` most recent messages, made of its core and of `chosen` records."""
    task, history = Task.FromString(core), list[Message]()
    said: Message | None = None
    for record in records:
        element, incoming = record.unpack()
        if said is not None:
            history.append(said)
        if incoming is not None:
            history.append(incoming)
        if element.HasField("task"):
            history.extend(element.task.history)
        status = element.task.status if element.HasField("task") else element.status_update.status
        said = status.message if status.HasField("message") else None
        task.status.CopyFrom(status)
    task.history.extend(history[max(0, len(history) - length) :])
    return task.SerializeToString()
