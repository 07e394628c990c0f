"""Guarantee 4: a snapshot and its seq are taken at one instant: snapshot + records after it = the fold of the log."""

import asyncio

from a2a_grpc.engine import AcceptedTurn
from a2a_grpc.wire import StreamResponse, Task
from tests.covers import covers
from tests.guarantees.rig import YieldingStore, engine_on, folded, records_of, send_call, without_user_messages
from tests.harness import Served, elements, eventually, scripted, scripted_agent, texts

STEPS = (
    {"chunks": {"count": 40, "text": "{i},"}},
    {"status": "half way"},
    {"artifact": {"id": "chunks", "text": "replaced"}},
    {"chunks": {"count": 20, "id": "more"}},
    {"status": "nearly"},
)


@covers("G4")
async def test_a_snapshot_at_any_instant_with_the_records_after_it_is_the_fold_of_the_log() -> None:
    async with engine_on(YieldingStore(), scripted_agent()) as engine:
        accepted = await engine.accept(send_call(scripted(*STEPS)))
        assert isinstance(accepted, AcceptedTurn)
        snapshots = [accepted.snapshot]
        while (await engine.log.head(accepted.key)).seq < 66:
            snapshots.append(await engine.log.snapshot(accepted.key))
        log = await records_of(engine.log, accepted.key.id)
        final = without_user_messages(Task.FromString((await engine.log.snapshot(accepted.key)).task))
        assert len({snapshot.seq for snapshot in snapshots}) > 10
        for snapshot in snapshots:
            rest = [StreamResponse.FromString(record.event) for record in log[snapshot.seq :]]
            assert without_user_messages(folded(rest, Task.FromString(snapshot.task))) == final


@covers("G4", "SUB-6")
async def test_a_subscriber_that_joins_mid_stream_folds_to_the_stored_task(served: Served) -> None:
    chunks = {"chunks": {"count": 60, "text": "{i},", "interval_s": 0.0005}}
    task = await served.start({"input": "go?"}, chunks, {"status": "nearly"}, {"input": "end?"}, {"complete": "bye"})
    call = served.stream(scripted(task_id=task.id))
    joined = []
    async for _ in call:
        joined.append(asyncio.create_task(elements(served.subscribe(task.id))))
    await eventually(lambda: _assert_followed(served, len(joined)))  # calls of two methods have no order
    await served.send(scripted(task_id=task.id))
    stored = without_user_messages(await served.get(task.id))
    for read in await asyncio.gather(*joined):
        assert without_user_messages(folded(list(read))) == stored
    assert len(joined) > 60
    assert texts(stored) == ["".join(f"{number}," for number in range(60))]


def _assert_followed(served: Served, count: int) -> None:
    assert served.server._running.calls.streams == count
