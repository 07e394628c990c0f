"""ListTasks: filters, order, pages (spec §3.1.4)."""

import asyncio
import base64
import time
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from a2a_grpc.wire import ListTasksRequest, ListTasksResponse, TaskState
from tests.covers import covers
from tests.harness import V1, Served, message, refusal, request, scripted, scripted_agent, serving
from tests.spec.required import faults

pytestmark = pytest.mark.usefixtures("any_way")


async def listed(served: Served, **fields: Any) -> ListTasksResponse:
    response: ListTasksResponse = await served.stub.ListTasks(ListTasksRequest(**fields), metadata=V1)
    return response


async def refused_page(served: Served, **fields: Any) -> None:
    """Asserts that a list is refused for its page token."""
    refused = await refusal(served.stub.ListTasks(ListTasksRequest(**fields), metadata=V1))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


async def done(served: Served, text: str = "hello", *, context_id: str = "", tenant: str = "") -> str:
    """The id of a task that has completed."""
    response = await served.send(request(message(text, context_id=context_id), tenant=tenant))
    task_id: str = response.task.id
    return task_id


async def several(served: Served, count: int) -> list[str]:
    """The ids of so many completed tasks, the newest first."""
    ids = [await done(served) for _ in range(count)]
    return ids[::-1]


async def pages(served: Served, page_size: int, **fields: Any) -> list[list[str]]:
    """The ids on each page of a list, read to its end."""
    read: list[list[str]] = []
    token = ""
    while not read or token:
        page = await listed(served, page_size=page_size, page_token=token, **fields)
        read.append([task.id for task in page.tasks])
        token = page.next_page_token
    return read


def ids(response: ListTasksResponse) -> list[str]:
    return [task.id for task in response.tasks]


@covers("LIST-1")
async def test_a_list_without_tasks_is_an_empty_page(served: Served) -> None:
    page = await listed(served)
    assert (ids(page), page.next_page_token, page.page_size, page.total_size) == ([], "", 50, 0)


@covers("LIST-2")
async def test_the_context_filter_is_exact(served: Served) -> None:
    first = await done(served, context_id="ctx")
    await done(served, context_id="ctx-2")
    second = await done(served, context_id="ctx")
    await done(served, context_id="CTX")
    page = await listed(served, context_id="ctx")
    assert ids(page) == [second, first]
    assert page.total_size == 2


@covers("LIST-2")
@pytest.mark.parametrize(
    ("state", "place"),
    [
        (TaskState.TASK_STATE_COMPLETED, 0),
        (TaskState.TASK_STATE_FAILED, 1),
        (TaskState.TASK_STATE_REJECTED, 2),
        (TaskState.TASK_STATE_INPUT_REQUIRED, 3),
        (TaskState.TASK_STATE_AUTH_REQUIRED, 4),
    ],
)
async def test_the_status_filter_finds_the_tasks_in_that_state(served: Served, state: TaskState, place: int) -> None:
    steps: list[dict[str, str]] = [{"complete": "x"}, {"fail": "x"}, {"reject": "x"}, {"input": "x"}, {"auth": "x"}]
    made = [(await served.send(scripted(step))).task.id for step in steps]
    assert ids(await listed(served, status=state)) == [made[place]]


@covers("LIST-2")
async def test_an_unspecified_status_filters_nothing(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "x"}))).task.id
    completed = await done(served)
    assert ids(await listed(served, status=TaskState.TASK_STATE_UNSPECIFIED)) == [completed, waiting]


@covers("LIST-2")
async def test_the_timestamp_filter_is_inclusive_to_the_microsecond(served: Served) -> None:
    task_id = await done(served)
    at_ns = (await served.get(task_id)).status.timestamp.ToNanoseconds()

    async def found(after_ns: int) -> list[str]:
        after = Timestamp()
        after.FromNanoseconds(after_ns)
        return ids(await listed(served, status_timestamp_after=after))

    assert await found(at_ns - 1000) == [task_id]
    assert await found(at_ns) == [task_id]
    assert await found(at_ns + 1) == []
    assert await found(at_ns + 1000) == []


@covers("LIST-2")
async def test_the_timestamp_filter_looks_at_the_last_status(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "x"}))).task
    await served.send(request(message("go on", task_id=waiting.id)))
    after = Timestamp()
    after.FromNanoseconds(waiting.status.timestamp.ToNanoseconds() + 1000)
    assert ids(await listed(served, status_timestamp_after=after)) == [waiting.id]


@covers("LIST-2")
@pytest.mark.parametrize(("seconds", "found"), [(-62_135_596_800, 1), (0, 1), (253_402_300_799, 0)])
async def test_the_timestamp_filter_takes_every_date_that_a_timestamp_has(
    served: Served, seconds: int, found: int
) -> None:
    await done(served)
    assert len((await listed(served, status_timestamp_after=Timestamp(seconds=seconds))).tasks) == found


@covers("LIST-2")
async def test_filters_are_met_all_together(served: Served) -> None:
    early = await served.send(scripted({"input": "x"}, context_id="c"))
    await served.send(scripted({"input": "x"}, context_id="other"))
    await done(served, context_id="c")
    late = await served.send(scripted({"input": "x"}, context_id="c"))
    both = await listed(served, context_id="c", status=TaskState.TASK_STATE_INPUT_REQUIRED)
    assert ids(both) == [late.task.id, early.task.id]
    narrowed = await listed(
        served,
        context_id="c",
        status=TaskState.TASK_STATE_INPUT_REQUIRED,
        status_timestamp_after=late.task.status.timestamp,
    )
    assert ids(narrowed) == [late.task.id]
    assert narrowed.total_size == 1


@covers("LIST-3", "WIRE-7")
async def test_an_unset_page_size_is_50(served: Served) -> None:
    await asyncio.gather(*(done(served) for _ in range(51)))
    page = await listed(served)
    assert (len(page.tasks), page.page_size, page.total_size) == (50, 50, 51)
    rest = await listed(served, page_token=page.next_page_token)
    assert (len(rest.tasks), rest.next_page_token) == (1, "")
    assert len({*ids(page), *ids(rest)}) == 51


@covers("LIST-3")
@pytest.mark.parametrize("size", [1, 100])
async def test_a_page_size_at_its_bounds_is_used_and_told(served: Served, size: int) -> None:
    await several(served, 2)
    page = await listed(served, page_size=size)
    assert (len(page.tasks), page.page_size, page.total_size) == (min(size, 2), size, 2)


@covers("LIST-3", "OPEN-17", "WIRE-7")
@pytest.mark.parametrize("size", [-1, 0, 101, 2**31 - 1])
async def test_a_page_size_out_of_range_is_refused_and_not_clamped(served: Served, size: int) -> None:
    refused = await refusal(served.stub.ListTasks(ListTasksRequest(page_size=size), metadata=V1))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == ["page_size"]


@covers("LIST-4")
async def test_pages_give_every_task_once_in_the_order_of_the_list(served: Served) -> None:
    newest_first = await several(served, 7)
    assert await pages(served, 3) == [newest_first[:3], newest_first[3:6], newest_first[6:]]


@covers("LIST-4")
async def test_pages_of_a_filtered_list_hold_only_what_meets_the_filter(served: Served) -> None:
    wanted = []
    for _ in range(3):
        wanted.append(await done(served, context_id="c"))
        await done(served, context_id="d")
    assert await pages(served, 2, context_id="c") == [wanted[:0:-1], wanted[:1]]


@covers("LIST-5")
async def test_the_most_recently_updated_task_comes_first(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "x"}))).task.id
    completed = await done(served)
    assert ids(await listed(served)) == [completed, waiting]
    await served.send(request(message("go on", task_id=waiting)))
    page = await listed(served)
    assert ids(page) == [waiting, completed]
    moments = [task.status.timestamp.ToNanoseconds() for task in page.tasks]
    assert moments == sorted(moments, reverse=True)


@covers("LIST-6")
async def test_the_last_page_has_no_token_even_where_it_is_full(served: Served) -> None:
    newest_first = await several(served, 4)
    first = await listed(served, page_size=2)
    second = await listed(served, page_size=2, page_token=first.next_page_token)
    assert first.next_page_token != ""
    assert (ids(second), second.next_page_token) == (newest_first[2:], "")


@covers("LIST-7", "WIRE-7")
@pytest.mark.parametrize("include", [None, False])
async def test_artifacts_are_left_out_unless_asked_for(served: Served, include: bool | None) -> None:
    await done(served, "content")
    page = await listed(served, include_artifacts=include)
    assert [len(task.artifacts) for task in page.tasks] == [0]


@covers("LIST-7")
async def test_artifacts_come_in_full_where_asked_for(served: Served) -> None:
    task_id = await done(served, "content")
    page = await listed(served, include_artifacts=True)
    assert list(page.tasks) == [await served.get(task_id)]
    assert page.tasks[0].artifacts[0].parts[0].text == "content"


@covers("LIST-8", "OPEN-16")
async def test_the_total_counts_what_meets_the_filters_on_all_pages(served: Served) -> None:
    for _ in range(3):
        await done(served, context_id="c")
    await done(served, context_id="d")
    first = await listed(served, context_id="c", page_size=2)
    second = await listed(served, context_id="c", page_size=2, page_token=first.next_page_token)
    assert [first.total_size, second.total_size] == [3, 3]
    assert [first.page_size, second.page_size] == [2, 2]
    assert [len(first.tasks), len(second.tasks)] == [2, 1]


@covers("LIST-10")
async def test_pages_neither_skip_nor_repeat_tasks_of_one_moment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    made = await several(served, 5)
    read = await listed(served)
    assert len({task.status.timestamp.ToNanoseconds() for task in read.tasks}) == 1
    assert sorted(ids(read)) == sorted(made)
    assert await pages(served, 2) == [ids(read)[:2], ids(read)[2:4], ids(read)[4:]]
    assert await pages(served, 1) == [[task_id] for task_id in ids(read)]


@covers("LIST-10", "OPEN-18")
async def test_a_task_that_is_updated_between_two_pages_repeats_nothing(served: Served) -> None:
    waiting = (await served.send(scripted({"input": "x"}))).task.id
    newest_first = await several(served, 3)
    first = await listed(served, page_size=2)
    assert ids(first) == newest_first[:2]
    await served.send(request(message("go on", task_id=waiting)))
    second = await listed(served, page_size=2, page_token=first.next_page_token)
    assert ids(second) == newest_first[2:]


@covers("LIST-10")
async def test_a_new_task_between_two_pages_shifts_nothing(served: Served) -> None:
    newest_first = await several(served, 3)
    first = await listed(served, page_size=2)
    await done(served)
    second = await listed(served, page_size=2, page_token=first.next_page_token)
    assert ids(second) == newest_first[2:]


@covers("LIST-10", "OPEN-17")
@pytest.mark.parametrize(
    "changed",
    [
        {"context_id": "d"},
        {"context_id": ""},
        {"status": TaskState.TASK_STATE_FAILED},
        {"status_timestamp_after": Timestamp(seconds=1)},
    ],
)
async def test_a_token_is_refused_with_other_filters(served: Served, changed: dict[str, Any]) -> None:
    for _ in range(2):
        await done(served, context_id="c")
    page = await listed(served, context_id="c", page_size=1)
    await refused_page(served, **{"context_id": "c", "page_token": page.next_page_token, **changed})


@covers("LIST-10", "OPEN-17")
@pytest.mark.direct
async def test_a_token_of_another_tenant_is_refused(served: Served) -> None:
    for tenant in ("a", "a", "b", "b"):
        await done(served, tenant=tenant)
    page = await listed(served, tenant="a", page_size=1)
    await refused_page(served, tenant="b", page_token=page.next_page_token)
    await refused_page(served, page_token=page.next_page_token)


@covers("LIST-10", "OPEN-17")
@pytest.mark.parametrize(
    "token",
    ["garbage", "a", "!!!", "=", "é", " ", "A" * 5000, base64.urlsafe_b64encode(b"\xff" * 32).decode()],
)
async def test_a_token_that_the_server_never_gave_is_refused(served: Served, token: str) -> None:
    await refused_page(served, page_token=token)


@covers("LIST-10", "OPEN-17")
async def test_a_token_that_was_changed_is_refused(served: Served) -> None:
    await several(served, 2)
    token = (await listed(served, page_size=1)).next_page_token
    await refused_page(served, page_token=("B" if token[0] == "A" else "A") + token[1:])
    await refused_page(served, page_token=token[: len(token) // 4])


@covers("LIST-10")
async def test_the_page_size_and_what_is_shown_may_change_from_page_to_page(served: Served) -> None:
    newest_first = await several(served, 4)
    first = await listed(served, page_size=1)
    rest = await listed(
        served, page_size=100, history_length=0, include_artifacts=True, page_token=first.next_page_token
    )
    assert ids(rest) == newest_first[1:]


@covers("LIST-11")
async def test_every_listed_task_is_complete_and_has_the_time_of_its_status(served: Served) -> None:
    await done(served)
    await served.send(scripted({"input": "x"}))
    await served.start({"sleep": 60})
    page = await listed(served, include_artifacts=True)
    assert len(page.tasks) == 3
    assert faults(page) == []
    assert [task.id for task in page.tasks if not task.status.HasField("timestamp")] == []


@covers("OP-4")
async def test_listing_changes_nothing(served: Served) -> None:
    await several(served, 2)
    once = await listed(served, include_artifacts=True)
    again = await listed(served, include_artifacts=True)
    assert once == again


@covers("LIST-3")
async def test_a_page_holds_fewer_tasks_where_more_would_not_fit_into_a_response() -> None:
    async with serving(scripted_agent(), max_send_bytes=100_000, max_task_bytes=90_000) as served:
        for _ in range(7):
            await served.send(scripted({"artifact": {"text": "x" * 30_000}}))
        seen, token, pages = [], "", 0
        while True:
            asked = ListTasksRequest(include_artifacts=True, history_length=0, page_token=token)
            page: ListTasksResponse = await served.stub.ListTasks(asked, metadata=V1)
            assert page.ByteSize() <= 100_000
            assert (page.total_size, page.page_size) == (7, 50)
            seen += [task.id for task in page.tasks]
            token, pages = page.next_page_token, pages + 1
            if not token:
                break
        everything = await served.stub.ListTasks(ListTasksRequest(history_length=0), metadata=V1)
    assert seen == [task.id for task in everything.tasks]
    assert pages == 3
