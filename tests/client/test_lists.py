"""Listing tasks: all pages, as they are needed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from a2a_grpc import Client, Task
from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.lifecycle import COMPLETED, FAILED, WORKING
from a2a_grpc.wire import TaskState
from tests.client.local_agents import Counted, client_of, script
from tests.harness import Served


@pytest.fixture
async def counted() -> Counted:
    return Counted()


@pytest.fixture
async def client(served: Served, counted: Counted) -> AsyncIterator[Client]:
    """A client of the scripted agent whose calls are counted."""
    async with client_of(served, interceptors=[counted]) as connected:
        yield connected


async def sent(client: Client, text: str, *, context_id: str = "", fails: bool = False) -> Task:
    content = script({"fail": text}) if fails else text
    task = await client.send(content, context_id=context_id)
    assert isinstance(task, Task)
    return task


async def seven(client: Client) -> list[str]:
    """The ids of seven tasks, the most recent first."""
    return [(await sent(client, f"task {number}")).id for number in range(7)][::-1]


@pytest.mark.parametrize(("page_size", "pages"), [(1, 7), (2, 4), (3, 3), (7, 1), (None, 1)])
async def test_a_list_goes_over_all_pages_with_no_task_missing_or_twice(
    client: Client, counted: Counted, page_size: int | None, pages: int
) -> None:
    ids = await seven(client)
    assert [task.id async for task in client.list(page_size=page_size)] == ids
    assert counted.calls["ListTasks"] == pages


async def test_a_page_is_asked_for_when_it_is_needed_and_not_before(client: Client, counted: Counted) -> None:
    ids = await seven(client)
    tasks = client.list(page_size=3)
    assert counted.calls["ListTasks"] == 0
    asked = []
    for expected in ids:
        assert (await anext(tasks)).id == expected
        asked.append(counted.calls["ListTasks"])
    assert asked == [1, 1, 1, 2, 2, 2, 3]
    with pytest.raises(StopAsyncIteration):
        await anext(tasks)
    assert counted.calls["ListTasks"] == 3


async def test_a_list_that_is_left_asks_for_no_more(client: Client, counted: Counted) -> None:
    await seven(client)
    async for _ in client.list(page_size=2):
        break
    assert counted.calls["ListTasks"] == 1


async def test_a_list_of_nothing_is_empty(client: Client, counted: Counted) -> None:
    assert [task async for task in client.list()] == []
    assert counted.calls["ListTasks"] == 1


async def test_tasks_that_begin_while_a_list_is_read_neither_repeat_nor_hide_others(client: Client) -> None:
    ids = await seven(client)
    listed = []
    async for task in client.list(page_size=2):
        listed.append(task.id)
        if len(listed) in (2, 4):
            await sent(client, "a new one")
    assert listed == ids


async def test_filters_leave_out_the_other_tasks_on_every_page(client: Client) -> None:
    here = [(await sent(client, f"{number}", context_id="c-1", fails=number % 2 == 1)).id for number in range(6)][::-1]
    elsewhere = await sent(client, "x", context_id="c-2", fails=True)
    assert [task.id async for task in client.list(context_id="c-1", page_size=2)] == here
    assert [task.id async for task in client.list(status=FAILED, page_size=1)] == [elsewhere.id, *here[::2]]
    both = client.list(context_id="c-1", status=COMPLETED, page_size=1)
    assert [task.id async for task in both] == here[1::2]
    assert [task async for task in client.list(context_id="c-3")] == []
    assert [task async for task in client.list(status=WORKING)] == []


async def test_since_leaves_out_tasks_whose_status_is_older(client: Client) -> None:
    tasks = [await sent(client, f"{number}") for number in range(4)]
    times = [task.status.timestamp.ToDatetime(UTC) for task in tasks]
    newest = [task.id for task in tasks][::-1]
    assert [task.id async for task in client.list(since=times[2], page_size=1)] == newest[:2]
    later = datetime.now(UTC) + timedelta(days=2)
    assert [task async for task in client.list(since=later)] == []
    assert [task.id async for task in client.list(since=datetime(2020, 1, 1, tzinfo=UTC))] == newest


async def test_a_time_means_the_same_in_any_zone(client: Client) -> None:
    tasks = [await sent(client, f"{number}") for number in range(3)]
    since = tasks[1].status.timestamp.ToDatetime(UTC).astimezone(ZoneInfo("Asia/Tokyo"))
    assert [task.id async for task in client.list(since=since)] == [tasks[2].id, tasks[1].id]


async def test_artifacts_and_history_come_as_asked_for(client: Client) -> None:
    full = await sent(client, "hello")
    [bare] = [task async for task in client.list()]
    assert (bare.id, len(bare.artifacts), len(bare.history)) == (full.id, 0, len(full.history))
    [rich] = [task async for task in client.list(include_artifacts=True)]
    assert rich == full
    [short] = [task async for task in client.list(history_length=0)]
    assert len(short.history) == 0


@pytest.mark.parametrize(("page_size", "named"), [(0, "page_size"), (101, "page_size"), (-1, "page_size")])
async def test_a_page_size_that_cannot_be_is_an_error_and_no_empty_list(
    client: Client, page_size: int, named: str
) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        [task async for task in client.list(page_size=page_size)]


async def test_a_state_that_no_task_can_be_asked_for_by_is_an_error(client: Client) -> None:
    with pytest.raises(InvalidRequestError, match="status"):
        [task async for task in client.list(status=cast(TaskState, 99))]


async def test_several_lists_at_a_time_do_not_disturb_each_other(client: Client) -> None:
    ids = await seven(client)

    async def listed(page_size: int) -> list[str]:
        return [task.id async for task in client.list(page_size=page_size)]

    assert await asyncio.gather(*(listed(size) for size in (1, 2, 3, 4, 5))) == [ids] * 5
