"""P13, P14, P15: what an event, a metadata key and a parked task cost. Counted, never timed."""

import asyncio
import gc
import tracemalloc
from collections import Counter

import pytest

from a2a_grpc import Agent, TaskState, Turn
from a2a_grpc.parts import struct
from a2a_grpc.wire import GetTaskRequest, ListTasksRequest, SendMessageRequest
from tests.covers import covers
from tests.harness import V1, Served, elements, eventually, message, request, scripted, serving
from tests.regressions.counting import Calls, asyncio_tasks, counted

WINDOW = 64


@covers("P13", "G12")
@pytest.mark.long
async def test_an_event_costs_at_10000_chunks_what_it_costs_at_100_for_writer_and_follower() -> None:
    go = asyncio.Semaphore(0)
    agent = Agent("Counter", "Counts.")

    @agent.skill()
    async def count(turn: Turn) -> None:
        for _ in range(10_000 + WINDOW):
            await go.acquire()
            await turn.artifact("x" * 100, id="numbers", append=True)

    async with serving(agent) as served:
        stream = served.stream(request())
        await elements(stream, 2)
        cost = dict[int, Calls]()
        done = 0
        for chunks in (100, 10_000):
            for _ in range(chunks - done):
                go.release()
            await elements(stream, chunks - done)
            with counted() as cost[chunks]:
                for _ in range(WINDOW):
                    go.release()
                    await elements(stream, 1)
            done = chunks + WINDOW
        await elements(stream)

    assert cost[100].ours >= WINDOW
    assert cost[10_000].ours <= 1.5 * cost[100].ours
    assert cost[10_000].all <= 1.5 * cost[100].all


@covers("P13", "G12")
async def test_the_row_of_a_task_costs_the_same_to_read_at_10000_chunks(served: Served) -> None:
    """A subscription that resumes at the end of a long task pays for what it gets, not for what was."""
    cost = dict[int, int]()
    for chunks in (100, 10_000):
        task = (await served.send(scripted({"chunks": {"count": chunks, "text": "x"}}))).task
        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        last = chunks + 3
        await _ended()
        for _ in range(5):  # the cheapest: background work of the server may count as well
            with counted() as calls:
                [end] = await elements(served.subscribe(task.id, ("a2a-grpc-after", str(last - 1))))
                await _ended()
            assert end.status_update.status.state == TaskState.TASK_STATE_COMPLETED
            cost[chunks] = min(calls.ours, cost.get(chunks, calls.ours))
    assert 0 < cost[10_000] <= 1.5 * cost[100], "by the number of chunks it would be 100 times as much"


async def _cost(served: Served, *metadata: tuple[str, str]) -> Calls:
    """The calls of the cheapest of several reads of a task, client included, until the server has forgotten the read.

    The server works on a call after the client has the answer. This work must not count for the next read.
    """
    found = list[Calls]()
    task = (await served.send(request())).task
    await _ended()
    for _ in range(25):  # background work of the server may count as well, in most of them on a busy machine
        with counted() as calls:
            await served.stub.GetTask(GetTaskRequest(id=task.id), metadata=V1 + metadata)
            await _ended()
        found.append(calls)
    return Calls(all=min(calls.all for calls in found), ours=min(calls.ours for calls in found))


async def _ended() -> None:
    """Returns once the server's part of every call has ended."""
    if calls := [task for task in asyncio.all_tasks() if task.get_name() == "rpc_task"]:
        await asyncio.wait(calls)
    await asyncio.sleep(0)  # for what is called once a task has ended


@covers("P14")
async def test_50_keys_of_call_metadata_cost_no_python_call_of_the_server_more(served: Served) -> None:
    bare = await _cost(served)
    loaded = await _cost(served, *((f"x-key-{i}", "value") for i in range(50)))
    assert loaded.ours == bare.ours > 0
    assert loaded.all - bare.all <= 50 * 10


@covers("P14")
async def test_50_keys_of_a_messages_metadata_cost_a_few_python_calls_each(served: Served) -> None:
    def sent(keys: int) -> SendMessageRequest:
        made = message()
        made.metadata.CopyFrom(struct({f"key-{i}": "value" for i in range(keys)}))
        return request(made)

    cost = dict[int, int]()
    for keys in (1, 50):
        bodies, found = [sent(keys) for _ in range(5)], list[int]()
        for body in bodies:
            with counted() as calls:
                await served.send(body)
            found.append(calls.ours)
        cost[keys] = min(found)
    assert cost[50] - cost[1] <= 49 * 10


@covers("P15")
@pytest.mark.long
@pytest.mark.parametrize("step", [{"input": "Which?"}, {"auth": "Log in at https://login.example/"}])
async def test_1000_tasks_that_wait_for_their_user_cost_no_asyncio_task_and_little_memory(
    served: Served, step: dict[str, str]
) -> None:
    await served.send(scripted(step))
    await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
    before = asyncio_tasks()
    gc.collect()
    tracemalloc.start()
    try:
        memory, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            await asyncio.gather(*[served.send(scripted(step)) for _ in range(50)])

        def none_left() -> None:
            assert asyncio_tasks() - before == Counter()

        await eventually(none_left)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - memory
    finally:
        tracemalloc.stop()
    state = TaskState.TASK_STATE_INPUT_REQUIRED if "input" in step else TaskState.TASK_STATE_AUTH_REQUIRED
    parked = await served.stub.ListTasks(ListTasksRequest(status=state), metadata=V1)
    assert parked.total_size == 1001
    assert grown / 1000 < 8 * 1024
