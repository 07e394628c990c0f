"""Guarantee 8: CancelTask returns within its grace whatever the agent does; every stream gets the CANCELED event, then
ends OK."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, InputRequired, Turn
from a2a_grpc.engine import AcceptedTurn
from a2a_grpc.engine.endings import Canceled
from a2a_grpc.lifecycle import CANCELED, COMPLETED, INPUT_REQUIRED, SUBMITTED, WORKING
from a2a_grpc.store import MemoryStore
from a2a_grpc.wire import CancelTaskRequest, Task
from tests.covers import covers
from tests.guarantees.rig import Workers, engine_of, engine_on, following, records_of, send_call
from tests.harness import (
    V1,
    Served,
    elements,
    event_state,
    eventually,
    message,
    refusal,
    request,
    scripted,
    scripted_agent,
    serving,
)

pytestmark = covers("G8")


async def cancel(served: Served, task_id: str) -> Task:
    task: Task = await served.stub.CancelTask(CancelTaskRequest(id=task_id), metadata=V1)
    return task


async def assert_all_canceled(served: Served, task_id: str, *streams: Any) -> None:
    """Cancels the task: it comes back CANCELED, its streams end with that event and OK, nothing follows it."""
    async with asyncio.timeout(60):
        canceled = await cancel(served, task_id)
        assert canceled.status.state == CANCELED
        for stream in streams:
            assert event_state((await elements(stream))[-1]) == CANCELED
            assert await stream.code() is grpc.StatusCode.OK
        assert await served.get(task_id) == canceled
        states = [record.state for record in await records_of(engine_of(served).log, task_id)]
        assert states[-1] == CANCELED
        assert states.count(CANCELED) == 1


class Unruly:
    """An agent with one skill per way of not stopping at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.released = asyncio.Event()
        self.busy = asyncio.Event()
        self.left: list[str] = []
        self.agent = Agent("Unruly", "Stops as it likes.")
        self.agent.router(lambda sent: sent.parts[0].text)
        for skill in (
            self.sleeps, self.swallows_forever, self.sits_in_a_thread, self.raises_another_error, self.returns_anyway,
            self.cleans_up, self.streams, self.asks_instead, self.writes_on,
        ):  # fmt: skip
            self.agent.skill()(skill)

    def let_go(self) -> None:
        self.release.set()
        self.released.set()

    async def sleeps(self, turn: Turn) -> None:
        """Sleeps."""
        self.busy.set()
        await asyncio.Event().wait()

    async def swallows_forever(self, turn: Turn) -> str:
        """Swallows every cancellation."""
        self.busy.set()
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        return "done after all"

    async def sits_in_a_thread(self, turn: Turn) -> None:
        """Blocks a thread that looks at nothing."""
        self.busy.set()
        await turn.in_thread(self.release.wait)

    async def raises_another_error(self, turn: Turn) -> None:
        """Answers its cancellation with an error."""
        self.busy.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("no") from None

    async def returns_anyway(self, turn: Turn) -> str:
        """Answers its cancellation with a result."""
        self.busy.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return "never"

    async def cleans_up(self, turn: Turn) -> None:
        """Takes its time to clean up."""
        self.busy.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert turn.canceled
            await asyncio.sleep(0)
            await turn.artifact("what there is")
            self.left.append("cleaned up")

    async def streams(self, turn: Turn) -> AsyncIterator[str]:
        """Streams."""
        try:
            yield "first"
            self.busy.set()
            await asyncio.Event().wait()
            yield "second"
        finally:
            self.left.append("closed")

    async def asks_instead(self, turn: Turn) -> None:
        """Answers its cancellation with a question."""
        self.busy.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise InputRequired("really?") from None

    async def writes_on(self, turn: Turn) -> None:
        """Never stops writing, never waits for anything else."""
        self.busy.set()
        while not self.released.is_set():
            try:
                await turn.status("still here")
            except asyncio.CancelledError:
                await asyncio.sleep(0)


UNRULY = pytest.mark.parametrize(
    "skill",
    ["sleeps", "swallows_forever", "sits_in_a_thread", "raises_another_error", "returns_anyway", "cleans_up",
     "streams", "asks_instead", "writes_on"],
)  # fmt: skip


@covers("CANC-8")
@UNRULY
async def test_whatever_the_agent_does_the_task_is_canceled(skill: str) -> None:
    unruly = Unruly()
    async with serving(unruly.agent, cancel_grace_s=0.03) as served:
        try:
            sent = served.stream(request(skill))
            task_id = (await following(sent)).task.id
            await unruly.busy.wait()
            subscribed = served.subscribe(task_id)
            await following(subscribed)
            await assert_all_canceled(served, task_id, sent, subscribed)
        finally:
            unruly.let_go()
    assert unruly.left == {"cleans_up": ["cleaned up"], "streams": ["closed"]}.get(skill, [])


@pytest.mark.parametrize("skill", ["sleeps", "swallows_forever", "sits_in_a_thread"])
async def test_a_message_that_waits_for_its_turn_is_told_that_the_task_was_canceled(skill: str) -> None:
    unruly = Unruly()
    async with serving(unruly.agent, cancel_grace_s=0.03) as served:
        try:
            sent = served.stream(request(skill))
            first, _ = await elements(sent, 2)
            queued = asyncio.create_task(served.send(request(message(skill, task_id=first.task.id))))
            await eventually(lambda: _assert_waiting_turns(served, 1))
            await assert_all_canceled(served, first.task.id, sent)
            refused = await refusal(queued)
            assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_OPERATION")
            assert "CANCELED" in refused.text
        finally:
            unruly.let_go()


def _assert_waiting_turns(served: Served, count: int) -> None:
    stats = served.server.stats()
    assert (len(stats.tasks), stats.queued) == (1, count)


@UNRULY
async def test_a_blocking_send_sees_its_own_task_canceled(skill: str) -> None:
    unruly = Unruly()
    async with serving(unruly.agent, cancel_grace_s=0.03) as served, asyncio.timeout(60):
        try:
            sending = asyncio.create_task(served.send(request(skill)))
            await unruly.busy.wait()
            canceled = await cancel(served, _only_working(served))
            assert (await sending).task == canceled
            assert canceled.status.state == CANCELED
        finally:
            unruly.let_go()


async def test_a_task_that_waits_for_a_place_is_canceled() -> None:
    async with serving(scripted_agent(), max_runs=1) as served:
        blocker = await served.start({"sleep": 60})
        sent = served.stream(scripted({"sleep": 60}))
        waiting = (await following(sent)).task
        assert waiting.status.state == SUBMITTED
        subscribed = served.subscribe(waiting.id)
        await following(subscribed)
        await assert_all_canceled(served, waiting.id, sent, subscribed)
        assert (await served.get(blocker.id)).status.state == WORKING
        await cancel(served, blocker.id)
        assert (await served.send(request("free again"))).task.status.state == COMPLETED


@pytest.mark.parametrize("script", [[{"input": "?"}, {"complete": "x"}], [{"input": "?"}], [{"auth": "?"}]])
async def test_a_parked_task_is_canceled(served: Served, script: list[dict[str, str]]) -> None:
    task = (await served.send(scripted(*script))).task
    subscribed = served.subscribe(task.id)
    await following(subscribed)
    await assert_all_canceled(served, task.id, subscribed)


async def test_a_task_that_asked_and_waits_for_its_place_again_is_canceled() -> None:
    async with serving(scripted_agent(), max_runs=1) as served:
        asking = (await served.send(scripted({"input": "?"}, {"sleep": 60}))).task
        assert asking.status.state == INPUT_REQUIRED
        blocker = await served.start({"sleep": 60})
        await served.send(request(message(task_id=asking.id), immediately=True))
        subscribed = served.subscribe(asking.id)
        await following(subscribed)
        await assert_all_canceled(served, asking.id, subscribed)
        await cancel(served, blocker.id)
        assert (await served.send(request("free again"))).task.status.state == COMPLETED


async def test_a_run_that_has_not_begun_is_canceled_and_its_agent_never_called() -> None:
    called: list[str] = []
    agent = Agent("Noter", "Notes that it was called.")

    @agent.skill()
    async def note(turn: Turn) -> None:
        """Notes."""
        called.append(turn.text)

    async with engine_on(MemoryStore(), agent) as engine:
        accepted = await engine.accept(send_call(request()))
        assert isinstance(accepted, AcceptedTurn)
        assert (await engine.cancel(accepted.key)).state == CANCELED
        assert [record.state for record in await records_of(engine.log, accepted.key.id)] == [SUBMITTED, CANCELED]
        assert called == []


async def test_a_stop_that_the_end_of_the_background_work_comes_before_does_not_keep_the_next_drain() -> None:
    workers = Workers()
    async with asyncio.timeout(10), engine_on(MemoryStore(), workers.agent) as engine:
        accepted = await engine.accept(send_call(request()))
        await eventually(lambda: _assert_begun(workers))
        active = engine._runs.get(accepted.key)  # type: ignore[union-attr]
        assert active is not None
        stopping = engine._runs.stop(active, Canceled())
        await engine._resources.background.end(1.0)
        assert stopping.cancelled()


async def test_an_agent_within_its_grace_is_waited_for() -> None:
    cleaning, finish = asyncio.Event(), asyncio.Event()
    agent = Agent("Tidy", "Cleans up.")

    @agent.skill()
    async def tidy(turn: Turn) -> None:
        """Tidies."""
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await finish.wait()
            await turn.artifact("tidied")

    async with serving(agent, cancel_grace_s=60.0) as served, asyncio.timeout(60):
        call = served.stream(request())
        task_id = (await elements(call, 2))[0].task.id
        canceling = asyncio.create_task(cancel(served, task_id))
        await cleaning.wait()
        assert (await served.get(task_id)).status.state == WORKING
        assert not canceling.done()
        finish.set()
        task = await canceling
        assert task.status.state == CANCELED
        assert [artifact.parts[0].text for artifact in task.artifacts] == ["tidied"]


async def test_an_agent_that_is_given_up_on_leaves_its_place(caplog: pytest.LogCaptureFixture) -> None:
    unruly = Unruly()
    async with serving(unruly.agent, cancel_grace_s=0.0, max_runs=1, max_queued_runs=0) as served:
        try:
            task = (await served.send(request("swallows_forever", immediately=True))).task
            await unruly.busy.wait()
            with caplog.at_level(logging.WARNING, "a2a_grpc.engine"):
                await assert_all_canceled(served, task.id)
            assert f"task={task.id}" in caplog.text
            other = served.stream(request("streams"))
            assert event_state((await elements(other, 2))[-1]) == WORKING
            await cancel(served, _only_working(served))
        finally:
            unruly.let_go()


def _assert_begun(workers: Workers) -> None:
    assert workers.started


def _only_working(served: Served) -> str:
    (key,) = served.server.stats().tasks
    return key.id
