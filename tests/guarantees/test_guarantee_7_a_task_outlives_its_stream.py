"""Guarantee 7: a task's life is not a stream's life: a client's disconnect, deadline or cancel of its RPC ends that RPC
only. `cancel_on_disconnect` is an explicit opt-in of a deployment or a request."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.lifecycle import CANCELED, COMPLETED, WORKING
from a2a_grpc.wire import A2AServiceStub
from tests.covers import covers
from tests.guarantees.rig import Workers, engine_of, following, key_of
from tests.harness import V1, Served, elements, event_state, eventually, refusal, request, serving, texts

pytestmark = covers("G7")

OPT_IN = ("a2a-grpc-cancel-on-disconnect", "true")
OPT_OUT = ("a2a-grpc-cancel-on-disconnect", "false")


async def only_task(served: Served) -> str:
    """The id of the one task that is at work."""
    tasks = served.server.stats().tasks
    assert len(tasks) == 1
    return next(iter(tasks)).id


def assert_no_calls(served: Served) -> None:
    assert [len(running) for running in served.server._running.calls._running.values()] == [0, 0]


async def assert_survives(served: Served, workers: Workers) -> None:
    """The call is gone from the server; the task works on and completes."""
    await eventually(lambda: assert_no_calls(served))
    task_id = await only_task(served)
    assert (await served.get(task_id)).status.state == WORKING
    assert workers.at_work == 1
    workers.go.set()
    await eventually(lambda: assert_state(served, task_id, COMPLETED))
    assert texts(await served.get(task_id)) == ["hello"]


async def assert_state(served: Served, task_id: str, state: int) -> None:
    assert (await served.get(task_id)).status.state == state


async def assert_started(workers: Workers) -> None:
    assert workers.at_work == 1


@covers("EVT-4", "SEND-19", "EVT-6")
async def test_canceling_a_streaming_send_leaves_its_task_at_work() -> None:
    workers = Workers()
    async with serving(workers.agent) as served:
        call = served.stream(request())
        await elements(call, 2)
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
        await assert_survives(served, workers)


@covers("EVT-4", "SEND-19", "EVT-6")
async def test_canceling_a_blocking_send_leaves_its_task_at_work() -> None:
    workers = Workers()
    async with serving(workers.agent) as served:
        call = served.stub.SendMessage(request(), metadata=V1)
        await eventually(lambda: assert_started(workers))
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
        await assert_survives(served, workers)


async def test_canceling_a_subscription_leaves_its_task_and_its_other_streams() -> None:
    workers = Workers()
    async with serving(workers.agent, cancel_on_disconnect=True) as served:
        call = served.stream(request())
        task_id = (await elements(call, 2))[0].task.id
        leaving, staying = served.subscribe(task_id, OPT_IN), served.subscribe(task_id)
        await following(leaving)
        await following(staying)
        leaving.cancel()
        await eventually(lambda: _assert_streams(served, 2))
        assert (await served.get(task_id)).status.state == WORKING
        workers.go.set()
        assert event_state((await elements(staying))[-1]) == COMPLETED
        assert event_state((await elements(call))[-1]) == COMPLETED


def _assert_streams(served: Served, count: int) -> None:
    assert served.server._running.calls.streams == count


@covers("EVT-4", "SEND-19")
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_connection_that_is_lost_leaves_its_task_at_work(streaming: bool) -> None:
    workers = Workers()
    async with serving(workers.agent) as served:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(served.server.grpc_address, options=options) as channel:
            stub = A2AServiceStub(channel)
            call = (stub.SendStreamingMessage if streaming else stub.SendMessage)(request(), metadata=V1)
            await eventually(lambda: assert_started(workers))
        assert await call.code() is grpc.StatusCode.CANCELLED
        await assert_survives(served, workers)


@covers("EVT-4", "EVT-6", "SEND-19")
async def test_a_deadline_ends_the_call_and_not_the_task() -> None:
    blocked, streamed = Workers(), Workers()
    async with serving(blocked.agent) as one, serving(streamed.agent) as other:
        await one.channel.channel_ready()  # the server is to have the calls before their time is over
        await other.channel.channel_ready()
        unary = one.stub.SendMessage(request(), metadata=V1, timeout=2.0)
        stream = other.stub.SendStreamingMessage(request(), metadata=V1, timeout=2.0)
        assert await stream.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await unary.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await assert_survives(one, blocked)
        await assert_survives(other, streamed)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("setting", "metadata", "canceled"),
    [(True, (), True), (False, (OPT_IN,), True), (True, (OPT_OUT,), False), (False, (OPT_OUT,), False)],
)
async def test_cancel_on_disconnect_is_an_opt_in_of_the_deployment_or_the_request(
    streaming: bool, setting: bool, metadata: tuple[tuple[str, str], ...], canceled: bool
) -> None:
    workers = Workers()
    async with serving(workers.agent, cancel_on_disconnect=setting) as served:
        method = served.stub.SendStreamingMessage if streaming else served.stub.SendMessage
        call = method(request(), metadata=V1 + metadata)
        await eventually(lambda: assert_started(workers))
        task_id = await only_task(served)
        call.cancel()
        if not canceled:
            await assert_survives(served, workers)
            return
        await eventually(lambda: assert_state(served, task_id, CANCELED))
        assert workers.at_work == 0


async def test_cancel_on_disconnect_holds_for_a_client_that_leaves_amid_the_flow() -> None:
    """The server is then writing to the client, which has not read what came before."""
    agent = Agent("Torrent", "Says more than anybody reads.")

    @agent.skill()
    async def pour(turn: Turn) -> AsyncIterator[str]:
        """Pours."""
        for _ in range(60):
            yield "x" * 50_000
        await asyncio.Event().wait()

    async with serving(agent) as served, asyncio.timeout(60):
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]  # so that little is on its way
        async with grpc.aio.insecure_channel(served.server.grpc_address, options=options) as channel:
            stub = A2AServiceStub(channel)
            calls = [stub.SendStreamingMessage(request(), metadata=(*V1, OPT_IN)) for _ in range(10)]
            tasks = [(await following(call)).task.id for call in calls]
            for task_id in tasks:
                await eventually(lambda task_id=task_id: _assert_poured(served, task_id))
            for call in calls:
                call.cancel()
            await eventually(lambda: assert_no_calls(served))
            for task_id in tasks:
                await eventually(lambda task_id=task_id: _assert_canceled(served, task_id))


async def _assert_poured(served: Served, task_id: str) -> None:
    assert (await engine_of(served).log.head(key_of(task_id))).seq == 62


async def _assert_canceled(served: Served, task_id: str) -> None:
    assert (await engine_of(served).log.head(key_of(task_id))).state == CANCELED


@pytest.mark.parametrize("value", ["yes", "TRUE", "1", ""])
async def test_an_opt_in_that_is_neither_true_nor_false_is_refused(served: Served, value: str) -> None:
    refused = await refusal(served.send(request(), ("a2a-grpc-cancel-on-disconnect", value)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == ["a2a-grpc-cancel-on-disconnect"]


async def test_cancel_on_disconnect_leaves_an_ended_task_as_it_is() -> None:
    workers = Workers()
    workers.go.set()
    async with serving(workers.agent, cancel_on_disconnect=True) as served:
        task = (await served.send(request())).task
        await eventually(lambda: assert_no_calls(served))
        assert (await served.get(task.id)).status.state == COMPLETED
