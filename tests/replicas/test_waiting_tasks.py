"""Tasks that wait for their users, at several replicas: counted at all of them, ended by one."""

import asyncio
import logging
from typing import Any

import grpc
import pytest

from a2a_grpc.lifecycle import COMPLETED, FAILED, state_name
from a2a_grpc.parts import text_of
from tests.guarantees.rig import user_texts
from tests.harness import V1, eventually, refusal, request
from tests.replicas.rig import Site, saying

EXPIRES: dict[str, Any] = {"waiting_retention_s": 0.3, "sweep_interval_s": 0.05}
EXPIRED = "The task waited for an answer for more than 0.3 s, and has expired."


async def test_the_number_counts_what_waits_since_before_the_start_and_at_other_replicas(site: Site) -> None:
    a = await site.join()
    for _ in range(2):
        await a.say("park which?")
    b = await site.join(max_waiting_tasks=3, sweep_interval_s=0.05)
    await b.say("park which?")
    parked = (await b.ids())[0]

    async def refused() -> None:
        """From the next sweep on: one that is reading the store may miss the task that has just begun to wait."""
        assert (await refusal(b.say("word"))).code is grpc.StatusCode.RESOURCE_EXHAUSTED

    await eventually(refused)
    assert (await a.say("word", parked)).status.state == COMPLETED

    async def accepted() -> None:
        call = b.stub.SendMessage(request("word"), metadata=V1)
        assert await call.code() is grpc.StatusCode.OK

    await eventually(accepted)


async def test_of_several_replicas_one_ends_a_task_that_has_expired(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "a2a_grpc.engine")
    replicas = [await site.join(ask_hold_s=0.0, **EXPIRES) for _ in range(3)]
    tasks = [await replicas[0].say(how) for how in ("ask which?", "park which?")]
    for task in tasks:
        ended = await replicas[1].reaches(task.id, FAILED)
        assert text_of(ended.status.message) == EXPIRED
        states = [state_name(state) for state in await site.states(task.id)]
        assert states == ["SUBMITTED", "WORKING", "INPUT_REQUIRED", "FAILED"]
    assert [record.message for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_an_answer_at_the_last_moment_is_played_or_refused_and_never_lost(site: Site) -> None:
    a, b = await site.join(**EXPIRES), await site.join(**EXPIRES)
    for wait_s in (0.25, 0.28, 0.31, 0.34):
        task = await a.say("ask which?")
        await asyncio.sleep(wait_s)
        call = b.stub.SendMessage(saying("yes", task.id), metadata=V1)
        if (code := await call.code()) is not grpc.StatusCode.OK:
            assert code is grpc.StatusCode.FAILED_PRECONDITION
            continue
        ended = (await call).task
        assert ended.status.state == COMPLETED
        assert user_texts(ended) == ["ask which?", "yes"]
