"""Guarantee 2: every follower sees the same records in the same order: no gap, no repeat, byte-identical."""

from tests.covers import covers
from tests.guarantees.rig import YieldingStore, engine_of, following, raw_subscription, records_of, seq_of, serving_on
from tests.harness import Served, elements, scripted, scripted_agent


@covers("G2")
async def test_every_follower_gets_the_bytes_of_the_log_from_its_cursor_on() -> None:
    async with serving_on(YieldingStore(), scripted_agent()) as served:
        task = await served.start({"input": "go?"}, {"chunks": {"count": 60}}, {"status": "soon"})
        subscriptions = [raw_subscription(served, task.id) for _ in range(3)]
        firsts = [await following(call) for call in subscriptions]
        cursors = [await seq_of(call) for call in subscriptions]
        resumed = [raw_subscription(served, task.id, ("a2a-grpc-after", str(after))) for after in (0, 1, 2)]
        await served.send(scripted(task_id=task.id))
        log = [record.event for record in await records_of(engine_of(served).log, task.id)]
        assert len(log) > 60
        for cursor, call in zip(cursors, subscriptions, strict=True):
            assert [element async for element in call] == log[cursor:]
        for after, call in enumerate(resumed):
            assert [element async for element in call] == log[after:]
        assert len({bytes(first) for first in firsts}) == len(set(cursors))


@covers("G2")
async def test_followers_that_join_while_events_flow_see_the_same_rest(served: Served) -> None:
    call = served.stream(scripted({"chunks": {"count": 200}}))
    first = await following(call)
    late = []
    for _ in range(40):
        await following(call)
        late.append(raw_subscription(served, first.task.id, ("a2a-grpc-after", "1")))
    seen = [[element async for element in each] for each in late]
    await elements(call)
    log = [record.event for record in await records_of(engine_of(served).log, first.task.id)]
    assert len(log) == 203
    assert all(each == log[1:] for each in seen)
