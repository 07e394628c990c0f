"""A replica that is drained hands over: it finishes what it can, and leaves the rest to the others at once."""

import asyncio
from typing import Any

import grpc
import pytest

from a2a_grpc.client import connect
from a2a_grpc.engine.run import SHUTDOWN_FAILURE
from a2a_grpc.lifecycle import CANCELED, COMPLETED, FAILED, INPUT_REQUIRED, WORKING
from a2a_grpc.wire import CancelTaskRequest
from tests.covers import covers
from tests.harness import V1, elements, eventually, refusal, texts
from tests.proxy import Proxy
from tests.replicas.rig import MEMORY, Replica, Site, artifact_of, count_of, reason_of

AFTER = "a2a-grpc-after"
LONG_S = 60.0
"""A lease, and a poll, that nobody may have to wait for."""


async def pair(site: Site, *, resumable: bool = True, **settings: Any) -> tuple[Replica, Replica]:
    return (
        await site.join(resumable=resumable, lease_s=LONG_S, **settings),
        await site.join(resumable=resumable, lease_s=1.5 if site.url == MEMORY else 10.0),
    )


async def working(replica: Replica, text: str) -> str:
    task_id = await replica.begin(text)
    await replica.reaches(task_id, WORKING)
    await eventually(lambda: _equal(replica.hand.at_work, 1))
    return task_id


@covers("S2-53")
async def test_what_can_be_finished_within_the_grace_is(site: Site) -> None:
    a, b = await pair(site, drain_grace_s=30.0)
    task_id = await working(a, "hold; word")
    draining = asyncio.ensure_future(a.server.stop())
    await eventually(lambda: _draining(a))
    assert (await b.get(task_id)).status.state == WORKING
    a.hand.go.set()
    await draining
    ended = await b.get(task_id)
    assert (ended.status.state, texts(ended)) == (COMPLETED, ["word"])
    assert b.hand.begun == []


@covers("S2-53")
async def test_a_run_that_is_not_finished_goes_on_at_another_replica_without_waiting_for_the_lease(site: Site) -> None:
    a, b = await pair(site)
    task_id = await working(a, "count 10")
    a.hand.allow(4)
    await b.has_counted(task_id, 4)
    b.hand.allow(6)
    await a.server.stop()
    ended = await b.reaches(task_id, COMPLETED, FAILED)
    assert count_of(ended) == [str(i) for i in range(10)]
    assert (a.hand.begun, b.hand.begun) == ([("count 10", 1)], [("count 10", 2)])


@covers("S2-53")
async def test_a_run_that_nobody_can_go_on_with_ends_in_failed_with_the_reason(site: Site) -> None:
    a, b = await pair(site, resumable=False)
    task_id = await working(a, "hold")
    await a.server.stop()
    ended = await b.get(task_id)
    assert (ended.status.state, reason_of(ended)) == (FAILED, SHUTDOWN_FAILURE)
    assert a.hand.stopped == ["hold"]


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_run_that_waits_in_ask_stays_input_required_and_is_answered_at_another_replica(
    site: Site, resumable: bool
) -> None:
    a, b = await pair(site, resumable=resumable, drain_grace_s=LONG_S)
    asked = await a.say("ask which?")
    await asyncio.wait_for(a.server.stop(), 30)  # the grace is not for those who wait for their user
    assert await b.get(asked.id) == asked
    assert asked.status.state == INPUT_REQUIRED
    ended = await b.say("that", asked.id)
    assert ended.status.state == COMPLETED
    assert artifact_of(ended, "answer").parts[0].text == "that"
    assert b.hand.begun == [("ask which?", 1)], "the handler runs again from the message that began the turn"


async def test_tasks_that_have_not_begun_and_messages_that_wait_are_handed_over_too(site: Site) -> None:
    a, b = await pair(site, max_runs=1)
    first = await working(a, "hold; park first")
    second = await a.begin("second")
    await a.follow_up("last", first)
    b.hand.go.set()
    await a.server.stop()
    await b.reaches(first, COMPLETED)
    await b.reaches(second, COMPLETED)
    assert sorted(b.hand.begun) == [("hold; park first", 2), ("last", 1), ("second", 2)]


async def test_a_draining_replica_takes_no_new_message_and_says_that_others_do(site: Site) -> None:
    a, b = await pair(site, drain_grace_s=30.0)
    task_id = await working(a, "hold; park first")
    draining = asyncio.ensure_future(a.server.stop())
    await eventually(lambda: _draining(a))
    for call in (a.say("word"), a.say("word", task_id)):
        assert (await refusal(call)).code is grpc.StatusCode.UNAVAILABLE
    sending = asyncio.ensure_future(b.say("word", task_id))
    a.hand.go.set()
    assert (await sending).status.state == COMPLETED
    await draining


@covers("G9")
async def test_its_streams_end_unavailable_and_are_resumed_at_another_replica_by_their_seq(site: Site) -> None:
    a, b = await pair(site)
    task_id = await working(a, "count 10")
    stream = a.subscribe(task_id, (AFTER, "0"))
    a.hand.allow(5)
    read = list(await elements(stream, 7))
    stopping = asyncio.ensure_future(a.server.stop())
    assert (await refusal(stream)).code is grpc.StatusCode.UNAVAILABLE
    await stopping
    b.hand.allow(5)
    read += await elements(b.subscribe(task_id, (AFTER, "7")))
    assert [event.SerializeToString() for event in read] == [record.event for record in await site.log(task_id)]


async def test_a_client_that_streams_through_one_address_sees_each_event_once_while_replicas_come_and_go(
    site: Site,
) -> None:
    replica = await site.join(lease_s=2.0)
    async with Proxy(replica.server.grpc_address) as proxy:
        async with connect(proxy.address, retry_initial_s=0.01, retry_maximum_s=0.1) as client:
            stream = client.stream("count 40")
            async with stream as events:
                read = [await anext(events), await anext(events)]
                for count in (10, 20, 30):
                    replica.hand.allow(10)
                    await replica.has_counted(stream.task_id, count)
                    following = await site.join(lease_s=2.0)
                    proxy.target = following.server.grpc_address
                    await replica.server.stop()
                    replica = following
                replica.hand.allow(10)
                read += [event async for event in events]
            assert stream.task == await replica.get(stream.task_id)
    log = await site.log(stream.task_id)
    assert len(read) == len(log) == 43
    assert count_of(stream.task) == [str(i) for i in range(40)]


async def test_all_replicas_can_be_drained_at_once_and_the_next_one_goes_on(site: Site) -> None:
    a, b = await pair(site)
    first, second = await working(a, "hold; word"), await working(b, "hold; word")
    await asyncio.gather(a.server.stop(), b.server.stop())
    c = await site.join()
    c.hand.go.set()
    for task_id in (first, second):
        assert texts(await c.reaches(task_id, COMPLETED, FAILED)) == ["word"]


@covers("G6", "S2-53")
async def test_a_task_that_is_being_canceled_ends_canceled_although_another_replica_could_go_on_with_it() -> None:
    async with Site(MEMORY) as site:
        a, b = await site.join(cancel_grace_s=LONG_S), await site.join()
        task_id = await working(a, "stay")
        canceling = a.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
        await eventually(lambda: _equal(a.hand.cancels, [{}]))
        canceling.cancel()
        draining = asyncio.ensure_future(a.server.stop())
        await eventually(lambda: _draining(a))
        assert (await b.get(task_id)).status.state == WORKING, "its handler cleans up"
        a.hand.go.set()
        await draining
        assert (await b.get(task_id)).status.state == CANCELED
        assert b.hand.begun == []


def _draining(replica: Replica) -> None:
    assert replica.engine.is_draining


def _equal(found: object, wanted: object) -> None:
    assert found == wanted
