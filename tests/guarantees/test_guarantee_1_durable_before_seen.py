"""Guarantee 1: a record is durable in the store before any stream, blocking send or push sees it."""

import asyncio

from a2a_grpc.lifecycle import COMPLETED, FAILED, WORKING
from a2a_grpc.parts import text_of
from a2a_grpc.store import Append, Create
from a2a_grpc.wire import StreamResponse
from tests.covers import covers
from tests.guarantees.rig import HeldStore, YieldingStore, following, seq_of, serving_on
from tests.harness import elements, event_state, scripted, scripted_agent

pytestmark = covers("G1")


class NotingStore(YieldingStore):
    """Notes which records are durable."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: set[int] = set()

    async def perform(self, write: Create | Append) -> int:
        result = await super().perform(write)
        self.committed.add(write.record.seq)
        return result


class FullStore(YieldingStore):
    """Refuses every artifact, as a full disk would."""

    async def perform(self, write: Create | Append) -> int:
        if StreamResponse.FromString(write.record.event).HasField("artifact_update"):
            raise OSError("no space left on /secret/disk")
        return await super().perform(write)


async def test_a_record_is_durable_when_a_stream_sees_it() -> None:
    store = NotingStore()
    async with serving_on(store, scripted_agent()) as served:
        call = served.stream(scripted({"chunks": {"count": 20}}, {"status": "nearly"}))
        seq = await seq_of(call)
        await following(call)
        async for _ in call:
            seq += 1
            assert seq in store.committed
        assert seq == 24


async def test_a_stream_sees_no_end_that_is_not_durable_yet() -> None:
    store = HeldStore(lambda record: record.state == COMPLETED)
    async with serving_on(store, scripted_agent()) as served:
        call = served.stream(scripted({"status": "at it"}))
        first = await following(call)
        seen = [event_state(await following(call)), event_state(await following(call))]
        end = asyncio.create_task(following(call))
        await store.reached.wait()
        assert (await served.get(first.task.id)).status.state == WORKING
        late = served.subscribe(first.task.id)
        assert event_state(await following(late)) == WORKING
        assert not end.done()
        store.free.set()
        assert seen == [WORKING, WORKING]
        assert event_state(await end) == COMPLETED
        assert [event_state(element) for element in await elements(late)] == [COMPLETED]
        assert await elements(call) == []


async def test_a_blocking_send_waits_until_the_end_is_durable() -> None:
    store = HeldStore(lambda record: record.state == COMPLETED)
    async with serving_on(store, scripted_agent()) as served:
        sending = asyncio.create_task(served.send(scripted({"artifact": {"text": "done"}})))
        await store.reached.wait()
        other = await served.send(scripted({"input": "which?"}))  # a round trip, through the same channel
        assert text_of(other.task.status.message) == "which?"
        assert not sending.done()
        store.free.set()
        assert (await sending).task.status.state == COMPLETED


async def test_what_the_store_refused_is_seen_by_nobody() -> None:
    async with serving_on(FullStore(), scripted_agent()) as served:
        read = await elements(served.stream(scripted({"artifact": {"text": "lost"}}, {"status": "not reached"})))
        assert [element.WhichOneof("payload") for element in read] == ["task", "status_update", "status_update"]
        assert event_state(read[-1]) == FAILED
        assert "secret" not in text_of(read[-1].status_update.status.message)
        assert not (await served.get(read[0].task.id)).artifacts
