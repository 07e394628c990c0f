"""Guarantee 3: a follower that lags, stalls or leaves affects no other follower, not the agent, not durability."""

import grpc

from a2a_grpc.lifecycle import COMPLETED
from tests.covers import covers
from tests.guarantees.rig import engine_of, following, records_of
from tests.harness import Served, elements, event_state, eventually, scripted

BIG = {"chunks": {"count": 160, "text": "{i} " + "x" * 100_000}}
"""16 MB: more than flow control lets through to a client that does not read."""


@covers("G3", "EVT-7")
async def test_a_client_that_does_not_read_stops_neither_agent_nor_followers(served: Served) -> None:
    task = await served.start({"input": "go?"}, BIG)
    stalled, reading = served.subscribe(task.id), served.subscribe(task.id)
    await following(stalled)
    await served.send(scripted(task_id=task.id, immediately=True))
    read = await elements(reading)
    assert len(read) == 163
    assert event_state(read[-1]) == COMPLETED
    assert len(engine_of(served).log.bus) == 1  # the stalled one is behind, and still there
    behind = await elements(stalled)
    assert [element.SerializeToString() for element in behind] == [
        record.event for record in (await records_of(engine_of(served).log, task.id))[3:]
    ]
    assert behind == read[1:]
    assert await stalled.code() is grpc.StatusCode.OK


@covers("G3")
async def test_a_follower_that_leaves_disturbs_no_other(served: Served) -> None:
    task = await served.start({"input": "go?"}, {"chunks": {"count": 50}})
    leaving, staying = served.subscribe(task.id), served.subscribe(task.id)
    await following(leaving)
    await following(staying)
    await eventually(lambda: _assert_streams(served, 2))
    leaving.cancel()
    await eventually(lambda: _assert_streams(served, 1))
    await served.send(scripted(task_id=task.id))
    log = await records_of(engine_of(served).log, task.id)
    assert [element.SerializeToString() for element in await elements(staying)] == [r.event for r in log[3:]]


def _assert_streams(served: Served, count: int) -> None:
    assert served.server._running.calls.streams == count
