"""`a2a-grpc-after: N` on SubscribeToTask: the records after N without a snapshot, also of a task that has ended."""

import asyncio
from typing import Any

import grpc
import pytest

from a2a_grpc.lifecycle import COMPLETED
from tests.covers import covers
from tests.guarantees.rig import engine_of, following, raw_subscription, records_of
from tests.harness import Served, elements, event_state, eventually, refusal, request, scripted

pytestmark = covers("OPEN-30")

AFTER = "a2a-grpc-after"


async def log_of(served: Served, task_id: str) -> list[bytes]:
    return [record.event for record in await records_of(engine_of(served).log, task_id)]


async def test_resuming_an_ended_task_gives_exactly_the_records_after_each_seq(served: Served) -> None:
    task = (await served.send(scripted({"status": "a"}, {"chunks": {"count": 4}}))).task
    log = await log_of(served, task.id)
    assert len(log) == 8
    for after in range(len(log) + 1):
        call = raw_subscription(served, task.id, (AFTER, str(after)))
        assert list(await elements(call)) == log[after:]
        assert await call.code() is grpc.StatusCode.OK


async def test_a_resumed_stream_says_that_it_has_no_snapshot(served: Served) -> None:
    task = (await served.send(scripted({"status": "a"}))).task
    call = served.subscribe(task.id, (AFTER, "2"))
    await elements(call)
    initial = dict(await call.initial_metadata())
    assert initial[AFTER] == "2"
    assert "a2a-grpc-seq" not in initial


async def test_resuming_a_working_task_gives_what_was_missed_and_goes_on(served: Served) -> None:
    task = await served.start({"chunks": {"count": 10}}, {"input": "?"}, {"chunks": {"count": 10, "id": "more"}})
    call = served.stream(request())  # another task, for company
    cut = served.subscribe(task.id, (AFTER, "1"))
    read = list(await elements(cut, 5))
    cut.cancel()
    await elements(call)
    resumed = served.subscribe(task.id, (AFTER, "6"))
    read.append(await following(resumed))
    await eventually(lambda: _assert_length(served, task.id, 13))
    await served.send(scripted(task_id=task.id))
    read += await elements(resumed)
    assert [element.SerializeToString() for element in read] == (await log_of(served, task.id))[1:]
    assert event_state(read[-1]) == COMPLETED


async def _assert_length(served: Served, task_id: str, length: int) -> None:
    assert len(await log_of(served, task_id)) == length


async def test_resuming_at_the_end_of_a_parked_task_waits_for_what_comes(served: Served) -> None:
    task = (await served.send(scripted({"input": "?"}))).task
    call = served.subscribe(task.id, (AFTER, "3"))
    waiting = asyncio.ensure_future(following(call))
    assert dict(await call.initial_metadata())[AFTER] == "3"
    assert not waiting.done()
    await served.send(scripted(task_id=task.id))
    assert [await waiting, *await elements(call)] == await elements(served.subscribe(task.id, (AFTER, "3")))


async def test_resuming_after_every_cut_loses_and_repeats_nothing(served: Served) -> None:
    task = await served.start({"input": "go?"}, {"chunks": {"count": 60}}, {"status": "nearly"})
    await served.send(scripted(task_id=task.id, immediately=True))
    read: list[Any] = []
    for length in (1, 2, 3, 5, 8, 13, 0):
        call = raw_subscription(served, task.id, (AFTER, str(len(read))))
        read += await elements(call, length or None)
        call.cancel()
    assert read == await log_of(served, task.id)
    assert len(read) == 66


async def test_resuming_beyond_the_end_is_refused_and_says_how_far_the_task_is(served: Served) -> None:
    for script in ([{"complete": "x"}], [{"input": "?"}]):
        task = (await served.send(scripted(*script))).task
        refused = await refusal(served.subscribe(task.id, (AFTER, "4")))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
        assert refused.fields == [AFTER]
        assert "only 3 events" in refused.text


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "1e3", "0x1", "one", "1 2", "1,2", "9" * 16, "1_0"])
async def test_a_cursor_that_is_no_seq_is_refused(served: Served, value: str) -> None:
    task = (await served.send(scripted({"input": "?"}))).task
    refused = await refusal(served.subscribe(task.id, (AFTER, value)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == [AFTER]


async def test_resuming_an_unknown_task_is_not_found_whatever_the_cursor(served: Served) -> None:
    for after in ("0", "5"):
        refused = await refusal(served.subscribe("no-such-task", (AFTER, after)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


async def test_resuming_another_tenants_task_is_not_found(served: Served) -> None:
    task = (await served.send(scripted({"complete": "x"}, tenant="a"))).task
    assert len(await elements(served.subscribe(task.id, (AFTER, "0"), tenant="a"))) == 3
    refused = await refusal(served.subscribe(task.id, (AFTER, "0"), tenant="b"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


async def test_without_a_cursor_an_ended_task_is_refused_as_the_specification_says(served: Served) -> None:
    task = (await served.send(scripted({"complete": "x"}))).task
    refused = await refusal(served.subscribe(task.id))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")


async def test_resuming_is_declared_in_the_card_as_an_optional_extension(served: Served) -> None:
    declared = [extension for extension in served.server.card.capabilities.extensions if not extension.required]
    assert [extension.uri for extension in declared if "resum" in extension.uri + extension.description.lower()]
