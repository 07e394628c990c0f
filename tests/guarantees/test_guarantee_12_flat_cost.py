"""Guarantee 12: cost per event does not grow with the size of the task. Counted in calls and in bytes, not in time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from a2a_grpc.bus import LocalBus
from a2a_grpc.engine import AcceptedTurn, EngineSettings
from a2a_grpc.engine.writer import Writer
from a2a_grpc.lifecycle import WORKING
from a2a_grpc.log import Log
from a2a_grpc.parts import agent_message
from a2a_grpc.store import WHOLE, Append, Create, MemoryStore, Record, Snapshot, TaskKey, TaskView, Written
from a2a_grpc.wire import Artifact, Part
from tests.covers import covers
from tests.guarantees.rig import engine_on, send_call, stored_task
from tests.harness import scripted, scripted_agent

pytestmark = covers("G12")

EVENTS = 128
"""As many as ids are drawn at a time: so many events draw once, whenever they begin."""
LARGE = 20_000
TIMESTAMP_BYTES = 5
"""By so much the sizes of two events differ because of their moments alone."""


class Calls:
    """Calls of Python functions, and from Python of built-in ones."""

    made = 0


@contextmanager
def counting_calls() -> Iterator[Calls]:
    calls = Calls()

    def count(frame: FrameType, event: str, arg: Any) -> None:
        calls.made += event in ("call", "c_call")

    gc.disable()  # a collection calls what test tools have registered for it
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        gc.enable()


class CountingStore(MemoryStore):
    """Counts the bytes that go in and out, and the snapshots that are made."""

    key: TaskKey

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[int] = []
        self.read_bytes = 0
        self.loads = 0

    def write(self, write: Create | Append) -> Written:
        if isinstance(write, Append):
            self.appended.append(write.record.size)
            self.key = write.key
        return super().write(write)

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        records = await super().read(key, after, limit)
        self.read_bytes += sum(len(record.event) for record in records or ())
        return records

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        self.loads += 1
        return await super().load(key, view)


async def writer_on(store: MemoryStore) -> Writer:
    log = Log(store, LocalBus())
    key = await stored_task(store, "t-1", WORKING)
    return Writer(log, EngineSettings(), key, await log.head(key))


def chunk(text: str) -> Artifact:
    return Artifact(artifact_id="a-1", parts=[Part(text=text)])


def word(text: str) -> Any:
    return agent_message(text, context_id="c-1", task_id="t-1")


async def write(writer: Writer, kind: str, count: int) -> None:
    for _ in range(count):
        if kind == "status":
            await writer.status(WORKING, word("word"))
        else:
            await writer.artifact(chunk("chunk"), append=kind == "append", last_chunk=False)


@pytest.mark.parametrize("kind", ["status", "append", "replace"])
async def test_an_event_of_a_large_task_costs_as_many_calls_as_one_of_a_small_task(kind: str) -> None:
    writer = await writer_on(MemoryStore())
    await write(writer, kind, EVENTS)
    with counting_calls() as small:
        await write(writer, kind, EVENTS)
    await write(writer, kind, LARGE)
    with counting_calls() as large:
        await write(writer, kind, EVENTS)
    assert small.made > EVENTS
    assert large.made <= small.made * 1.02


@pytest.mark.parametrize("kind", ["status", "append", "replace"])
async def test_an_event_of_a_large_task_stores_as_many_bytes_as_one_of_a_small_task(kind: str) -> None:
    store = CountingStore()
    writer = await writer_on(store)
    await write(writer, kind, 5000)
    assert max(store.appended[-EVENTS:]) <= max(store.appended[:EVENTS]) + TIMESTAMP_BYTES
    assert store.loads == 0


async def played(count: int) -> tuple[int, CountingStore]:
    """A task of `count` chunks, run and followed to its end: the calls that took, and the store."""
    store = CountingStore()
    async with engine_on(store, scripted_agent()) as engine:
        accepted = await engine.accept(send_call(scripted({"chunks": {"count": count, "text": "chunk"}})))
        assert isinstance(accepted, AcceptedTurn)
        with counting_calls() as calls:
            with engine.log.follow(accepted.key, 1) as records:
                seqs = [record.seq async for record in records]
        assert seqs == list(range(2, count + 4))
    return calls.made, store


async def test_running_and_following_cost_the_same_per_event_whatever_the_number_of_events() -> None:
    await played(100)
    few, _ = await played(500)
    many, _ = await played(5000)
    assert many / 5000 <= few / 500 * 1.05


async def test_a_follower_reads_each_event_once_and_no_event_makes_a_snapshot() -> None:
    _, few = await played(500)
    _, many = await played(5000)
    for store in (few, many):
        assert store.read_bytes <= sum(store.appended), "what was appended while it was followed is not read"
        store.read_bytes = 0
        with Log(store, LocalBus()).follow(store.key, 1) as records:
            assert len([record async for record in records]) == len(store.appended)
        assert store.read_bytes == sum(store.appended)
    assert many.loads == few.loads


async def test_a_follower_of_a_large_task_reads_from_its_cursor_and_not_from_the_start() -> None:
    store = CountingStore()
    writer = await writer_on(store)
    await write(writer, "append", LARGE)
    log = Log(store, LocalBus())
    with log.follow(writer.key, LARGE) as records:
        with counting_calls() as late:
            assert (await anext(records)).seq == LARGE + 1
    assert store.read_bytes == store.appended[-1]
    with log.follow(writer.key, LARGE) as records:
        with counting_calls() as again:
            await anext(records)
    assert late.made == again.made < 50
