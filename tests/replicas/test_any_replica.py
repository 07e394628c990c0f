"""Any replica serves any client: what is asked at one of a task at another is what its own replica would answer."""

import asyncio

import grpc

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.wire import GetTaskRequest
from tests.covers import covers
from tests.guarantees.rig import folded, user_texts, without_user_messages
from tests.harness import V1, elements, event_state, eventually, refusal, texts
from tests.replicas.rig import Replica, Site, count_of, raw_stream, saying

AFTER = "a2a-grpc-after"


async def test_get_and_list_tell_the_same_at_every_replica_at_every_step(site: Site) -> None:
    a, b = await site.join(), await site.join()
    first = await a.begin("count 3")
    for count in range(3):
        a.hand.allow(1)
        await a.has_counted(first, count + 1)
        if count < 2:
            assert await b.get(first) == await a.get(first)
    assert await b.reaches(first, COMPLETED) == await a.get(first)
    second = (await b.say("word")).id
    assert await a.ids() == await b.ids() == [second, first]


async def test_a_read_after_an_acknowledged_write_sees_it_at_every_replica(site: Site) -> None:
    a, b = await site.join(), await site.join()
    for n in range(10):
        parked = await a.say(f"park {n}")
        assert await b.get(parked.id) == parked
        assert (await b.ids())[0] == parked.id
        ended = await b.say("word", parked.id)
        assert await a.get(parked.id) == ended


@covers("G2")
async def test_every_follower_gets_the_same_bytes_through_either_replica(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("ask which?; count 20; ask more?; hold")
    await b.reaches(task_id, INPUT_REQUIRED)
    followers = [asyncio.ensure_future(_read(raw_stream(replica, task_id, (AFTER, "0")))) for replica in (a, b, b)]
    a.hand.allow(20)
    await b.say("this one", task_id)
    late = [asyncio.ensure_future(_read(raw_stream(replica, task_id, (AFTER, "7")))) for replica in (a, b)]
    await a.follow_up("no more", task_id)
    a.hand.go.set()
    log = [record.event for record in await _ended_log(site, b, task_id)]
    for follower in followers:
        assert await follower == log
    for follower in late:
        assert await follower == log[7:]


@covers("G4")
async def test_a_subscription_anywhere_is_a_snapshot_and_all_that_follows_it(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("count 10")
    streams = []
    for count in range(0, 10, 2):
        await a.has_counted(task_id, count)
        stream = b.subscribe(task_id)
        streams.append((stream, (await elements(stream, 1))[0]))
        a.hand.allow(2)
    await b.reaches(task_id, COMPLETED)
    log = [record.event for record in await site.log(task_id)]
    for stream, first in streams:
        seq = int(dict(await stream.initial_metadata())["a2a-grpc-seq"])
        rest = list(await elements(stream))
        assert [event.SerializeToString() for event in rest] == log[seq:]
        assert without_user_messages(folded(rest, first.task)) == without_user_messages(await a.get(task_id))


async def test_a_stream_is_resumed_at_one_replica_after_the_other_by_its_seq(site: Site) -> None:
    replicas = [await site.join() for _ in range(3)]
    task_id = await replicas[0].begin("count 30")
    replicas[0].hand.allow(30)
    read: list[bytes] = []
    for place, length in enumerate((1, 2, 3, 5, 8, 0)):
        stream = raw_stream(replicas[place % 3], task_id, (AFTER, str(len(read))))
        read += await _read(stream, length)
        stream.cancel()
    assert read == [record.event for record in await site.log(task_id)]


async def test_a_blocking_send_at_b_to_a_task_that_works_at_a_waits_for_its_turn(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("hold; park first")
    await b.reaches(task_id, WORKING)
    sending = asyncio.ensure_future(b.say("word", task_id))
    await eventually(lambda: _waits(site, task_id))
    assert not sending.done()
    a.hand.go.set()
    ended = await sending
    assert ended.status.state == COMPLETED
    assert user_texts(ended) == ["hold; park first", "word"]
    assert b.hand.begun == []


async def test_a_streaming_send_whose_turn_is_played_elsewhere_shows_all_of_it(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task_id = await a.begin("hold; park first")
    await b.reaches(task_id, WORKING)
    stream = b.stream(saying("count 3", task_id))
    [first] = await elements(stream, 1)
    a.hand.allow(3)
    a.hand.go.set()
    rest = await elements(stream)
    assert await stream.code() is grpc.StatusCode.OK
    assert event_state(rest[-1]) == COMPLETED
    seq = int(dict(await stream.initial_metadata())["a2a-grpc-seq"])
    assert [event.SerializeToString() for event in rest] == [record.event for record in (await site.log(task_id))[seq:]]
    assert first.task.id == task_id


async def test_what_is_unknown_is_unknown_everywhere(site: Site) -> None:
    a, b = await site.join(), await site.join()
    await a.say("word")
    for call in (b.get("no-such-task"), b.cancel("no-such-task"), b.say("word", "no-such-task")):
        assert (await refusal(call)).code is grpc.StatusCode.NOT_FOUND


@covers("SEC-4")
async def test_one_callers_tasks_are_nobody_elses_at_any_replica(site: Site) -> None:
    a, b = await site.join(), await site.join()
    task = await a.say("word")
    foreign = b.stub.GetTask(GetTaskRequest(id=task.id, tenant="other"), metadata=V1)
    assert (await refusal(foreign)).code is grpc.StatusCode.NOT_FOUND


@covers("S3-24")
async def test_a_send_is_answered_at_once_then_worked_on_and_read_later(site: Site) -> None:
    a, b = await site.join(), await site.join()
    sent = (await a.send(saying("count 2; hold", immediately=True))).task  # before the agent has done anything
    assert sent.status.state == SUBMITTED
    assert (await b.get(sent.id)).id == sent.id
    await b.reaches(sent.id, WORKING)
    a.hand.allow(2)
    a.hand.go.set()
    ended = await b.reaches(sent.id, COMPLETED)
    assert count_of(ended) == ["0", "1"]
    states = [record.state for record in await site.log(sent.id)]
    assert states == [SUBMITTED, WORKING, WORKING, WORKING, COMPLETED], "what was made stands before the end"


@covers("S0-45")
async def test_a_restarted_agent_reads_the_checkpoint_that_it_stored(site: Site) -> None:
    a = await site.join()
    task_id = await a.begin("count 6")
    a.hand.allow(4)
    await a.has_counted(task_id, 4)
    await a.die()
    again = await site.join()
    again.hand.allow(2)  # just enough for what is missing
    ended = await again.reaches(task_id, COMPLETED)
    assert count_of(ended) == [str(i) for i in range(6)]
    assert [artifact.artifact_id for artifact in ended.artifacts] == ["checkpoint"]


@covers("P6", "S4-16")
async def test_after_a_restart_no_task_is_working_that_nobody_works_on(site: Site) -> None:
    a = await site.join(resumable=False)
    lost = [await a.begin("hold") for _ in range(3)]
    parked, ended = await a.say("park which?"), await a.say("word")
    await a.die()
    b = await site.join(resumable=False)
    for task_id in lost:
        stream = b.subscribe(task_id, (AFTER, "0"))
        events = await elements(stream)
        assert await stream.code() is grpc.StatusCode.OK
        assert events[-1].status_update.status.message.parts[0].text == "The server that ran this task was lost."
    assert await b.get(parked.id) == parked
    assert await b.get(ended.id) == ended


@covers("Q12")
async def test_subscribing_after_a_restart_tells_of_no_end_that_was_not(site: Site) -> None:
    a = await site.join()
    asked = await a.say("ask which?")
    await a.die()
    b = await site.join()
    stream = b.subscribe(asked.id)
    [first] = await elements(stream, 1)
    assert first.task == asked
    following = asyncio.ensure_future(elements(stream))
    await b.say("word", asked.id)
    events = await following
    assert [state for event in events if (state := event_state(event))] == [WORKING, COMPLETED]
    assert texts(await b.get(asked.id)) == ["word"]


async def _read(stream: object, limit: int = 0) -> list[bytes]:
    read: list[bytes] = []
    async for element in stream:  # type: ignore[attr-defined]
        read.append(element)
        if len(read) == limit:
            break
    return read


async def _ended_log(site: Site, replica: Replica, task_id: str) -> list:  # type: ignore[type-arg]
    await replica.reaches(task_id, COMPLETED)
    return await site.log(task_id)


async def _waits(site: Site, task_id: str) -> None:
    head = await site.head(task_id)
    assert head.last_turn > head.turn
