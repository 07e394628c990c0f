"""P3: a call that times out leaves nothing behind."""

import asyncio
from collections import Counter
from typing import Any

import grpc

from a2a_grpc.wire import CancelTaskRequest, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Served, eventually, refusal, scripted
from tests.regressions.counting import asyncio_tasks


@covers("P3")
async def test_20_unary_calls_that_time_out_leave_no_asyncio_task_but_the_runs_that_go_on(served: Served) -> None:
    await served.stub.ListTasks(ListTasksRequest(), metadata=V1)
    before = asyncio_tasks()

    async def time_out() -> None:
        call: Any = served.stub.SendMessage(scripted({"sleep": 600}), metadata=V1, timeout=0.5)
        assert (await refusal(call)).code is grpc.StatusCode.DEADLINE_EXCEEDED

    await asyncio.gather(*[time_out() for _ in range(20)])
    tasks = (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).tasks
    assert tasks

    def only_the_runs() -> None:
        assert asyncio_tasks() - before == Counter({"Runs._work": len(tasks)})

    await eventually(only_the_runs)
    for task in tasks:
        await served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1)

    def nothing() -> None:
        assert asyncio_tasks() - before == Counter()

    await eventually(nothing)
