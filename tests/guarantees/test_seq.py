"""A task stream's initial metadata tells the seq of its first element, so a client knows every event's seq."""

import asyncio

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.wire import StreamResponse
from tests.covers import covers
from tests.guarantees.rig import engine_of, following, records_of, seq_of
from tests.harness import Served, elements, event_state, request, scripted

pytestmark = covers("OPEN-30")

SEQ = "a2a-grpc-seq"


async def test_a_new_tasks_stream_begins_with_seq_1_and_counts_on_without_gaps(served: Served) -> None:
    call = served.stream(scripted({"status": "a"}, {"chunks": {"count": 5}}, {"artifact": {"text": "b"}}))
    read = await elements(call)
    assert await seq_of(call) == 1
    records = await records_of(engine_of(served).log, read[0].task.id)
    assert [record.seq for record in records] == list(range(1, len(read) + 1))
    assert StreamResponse.FromString(records[0].event) == read[0]  # a map's entries have no order
    assert [record.event for record in records[1:]] == [element.SerializeToString() for element in read[1:]]


async def test_a_subscriptions_seq_is_that_of_its_snapshot(served: Served) -> None:
    task = await served.start({"status": "a"}, {"input": "?"}, {"status": "b"}, {"complete": "c"})
    call = served.subscribe(task.id)
    first = await following(call)
    assert await seq_of(call) == 4
    assert event_state(first) == INPUT_REQUIRED
    await served.send(scripted(task_id=task.id))
    records = await records_of(engine_of(served).log, task.id)
    assert [element.SerializeToString() for element in await elements(call)] == [r.event for r in records[4:]]
    assert [record.seq for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert records[-1].state == COMPLETED


async def test_a_follow_ups_seq_is_that_of_the_task_with_its_message(served: Served) -> None:
    task = (await served.send(scripted({"input": "?"}))).task
    call = served.stream(scripted({"status": "on"}, task_id=task.id))
    read = await elements(call)
    assert await seq_of(call) == 4
    assert len(read[0].task.history) == 3
    records = await records_of(engine_of(served).log, task.id)
    assert [element.SerializeToString() for element in read[1:]] == [record.event for record in records[4:]]


async def test_the_seq_of_a_stream_is_told_before_its_first_event_of_the_agent(served: Served) -> None:
    call = served.stream(scripted({"sleep": 60}))
    assert await seq_of(call) == 1
    call.cancel()
    (key,) = served.server.stats().tasks
    await engine_of(served).cancel(key)


async def test_a_plain_client_notices_nothing_but_the_one_entry(served: Served) -> None:
    call = served.stream(scripted({"status": "a"}))
    await elements(call)
    ours = {key: value for key, value in await call.initial_metadata() if key.startswith("a2a-")}
    assert ours == {SEQ: "1"}
    assert [key for key, _ in await call.trailing_metadata() if key.startswith("a2a-")] == []


async def test_a_bare_message_has_no_seq(served: Served) -> None:
    call = served.stream(scripted({"message": "hi"}))
    (only,) = await elements(call)
    assert only.WhichOneof("payload") == "message"
    assert SEQ not in dict(await call.initial_metadata())


async def test_seqs_of_several_tasks_are_independent(served: Served) -> None:
    calls = [served.stream(request(str(n))) for n in range(5)]
    read = await asyncio.gather(*(elements(call) for call in calls))
    assert [await seq_of(call) for call in calls] == [1] * 5
    assert [len(each) for each in read] == [4] * 5
