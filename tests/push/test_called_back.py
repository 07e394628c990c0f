"""A client that waits for a callback: what it asks the worker for, and that it has the result in any case."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Task, connect
from a2a_grpc.agent import Callback, CallbackTask
from a2a_grpc.agent.callback import asked_in
from a2a_grpc.client import Client, ConfigurationError
from a2a_grpc.errors import InvalidRequestError, PushNotificationNotSupportedError, UnsupportedOperationError
from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.protocol import CALLBACK_EXTENSION, Key
from a2a_grpc.push.callbacks import Callbacks
from a2a_grpc.push.delivery import Verdict
from a2a_grpc.wire import (
    SERVICE_NAME,
    ListTasksRequest,
    ListTasksResponse,
    TaskPushNotificationConfig,
)
from tests.client.foreign import Foreign, plays, refuse, task
from tests.client.local_agents import GUARD_S
from tests.client.peers import Page, Site
from tests.client.test_resume import SOON
from tests.covers import covers
from tests.harness import eventually, serving
from tests.push.test_callbacks import LOCAL, delivery_of

DONE = task(COMPLETED, "done")


@dataclass(slots=True)
class Worker(Foreign):
    """A worker of another kind, which keeps push configs. The test delivers to them."""

    configs: list[TaskPushNotificationConfig] = field(default_factory=list)
    refusal: tuple[grpc.StatusCode, str] | None = None
    offers: str = CALLBACK_EXTENSION

    async def create(self, request: TaskPushNotificationConfig, context: Any) -> TaskPushNotificationConfig:
        self.calls.append("CreateTaskPushNotificationConfig")
        if self.refusal is not None:
            await refuse(context, *self.refusal)
        self.configs.append(request)
        return request

    async def list(self, request: ListTasksRequest, context: Any) -> ListTasksResponse:
        await context.send_initial_metadata(((Key.EXTENSIONS, self.offers),))
        return ListTasksResponse()

    async def deliver(self, callbacks: Callbacks, config: TaskPushNotificationConfig, result: Task) -> Verdict:
        delivery = delivery_of(config.url, result, token=config.token)
        return (await callbacks.deliver(delivery)).verdict


@asynccontextmanager
async def working(**scripts: Any) -> AsyncIterator[tuple[Worker, Callbacks]]:
    worker, callbacks = Worker(**scripts), Callbacks(LOCAL)
    server = grpc.aio.server()
    unary: Any = grpc.unary_unary_rpc_method_handler
    config = TaskPushNotificationConfig
    more = {
        "CreateTaskPushNotificationConfig": unary(worker.create, config.FromString, config.SerializeToString),
        "ListTasks": unary(worker.list, ListTasksRequest.FromString, ListTasksResponse.SerializeToString),
    }
    server.add_generic_rpc_handlers((worker.handlers(), grpc.method_handlers_generic_handler(SERVICE_NAME, more)))
    worker.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield worker, callbacks
    finally:
        await callbacks.close()
        await server.stop(0)


class Requester:
    def __init__(self) -> None:
        self.agent = Agent("Requester", "Asks.")
        self.results: list[Callback] = []
        self.agent.on_callback(self.finished)

    async def finished(self, callback: Callback) -> None:
        """Takes results."""
        self.results.append(callback)


@asynccontextmanager
async def waiting(worker: Worker, **settings: Any) -> AsyncIterator[tuple[Requester, Client]]:
    requester = Requester()
    async with asyncio.timeout(GUARD_S), serving(requester.agent):
        async with connect(worker.address, callback=requester.agent, **SOON, **settings) as client:
            yield requester, client


def _has(found: list[Any], count: int) -> None:
    assert len(found) == count


@covers("S2-19", "S2-4")
@pytest.mark.parametrize("strategy", ["auto", "callback"])
async def test_a_wait_is_woken_by_the_callback_and_reads_the_task_once(strategy: Any) -> None:
    async with working(gets=[DONE]) as (worker, callbacks), waiting(worker) as (requester, client):
        result = asyncio.create_task(client.wait("t-1", strategy=strategy))
        await eventually(lambda: _has(worker.configs, 1))
        [config] = worker.configs
        assert (config.task_id, config.url) == ("t-1", requester.agent.callbacks.address)
        assert await worker.deliver(callbacks, config, DONE) is Verdict.DELIVERED
        assert await result == DONE
        assert worker.calls == ["CreateTaskPushNotificationConfig", "GetTask"]
        assert [one.text for one in requester.results] == ["done"]


@covers("S2-4")
async def test_a_task_that_was_started_with_a_callback_needs_no_config_and_may_be_done_before_the_wait() -> None:
    async with working(gets=[DONE]) as (worker, callbacks), waiting(worker) as (requester, client):
        started = task(WORKING)
        worker.answers = [started]
        await client.start("go", callback=requester.agent)
        asked = asked_in(worker.requests[-1].message)
        assert asked is not None
        assert asked.endpoint == requester.agent.callbacks.address
        started.history.add().CopyFrom(worker.requests[-1].message)
        config = TaskPushNotificationConfig(url=asked.endpoint, token=asked.headers[Key.TOKEN])
        await worker.deliver(callbacks, config, DONE)
        await eventually(lambda: _has(requester.results, 1))
        assert await client.wait(started, strategy="callback") == DONE
        assert worker.calls == ["SendMessage", "GetTask"]


@covers("S2-16")
async def test_a_callback_that_never_comes_is_made_up_for_by_looking() -> None:
    async with working(gets=[task(WORKING), DONE]) as (worker, _), waiting(worker, callback_look_s=0.05) as (_, client):
        assert await client.wait("t-1", strategy="callback") == DONE
        assert worker.calls == ["CreateTaskPushNotificationConfig", "GetTask", "GetTask"]


REFUSALS = [
    (grpc.StatusCode.FAILED_PRECONDITION, "PUSH_NOTIFICATION_NOT_SUPPORTED", PushNotificationNotSupportedError),
    (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", InvalidRequestError),
]


@covers("S2-16", "S2-19")
@pytest.mark.parametrize(("code", "reason", "kind"), REFUSALS)
async def test_a_worker_that_does_not_call_back_is_followed_by_auto_and_reported_by_callback(
    code: grpc.StatusCode, reason: str, kind: type[Exception]
) -> None:
    async with working(refusal=(code, reason), subscriptions=[plays(DONE)]) as (worker, _):
        async with waiting(worker) as (_, client):
            assert await client.wait("t-1") == DONE
            with pytest.raises(kind):
                await client.wait("t-1", strategy="callback")
    assert worker.calls == ["CreateTaskPushNotificationConfig", "SubscribeToTask", "CreateTaskPushNotificationConfig"]


async def test_a_wait_needs_an_agent_that_is_served_here() -> None:
    async with working(subscriptions=[plays(DONE)]) as (worker, _):
        async with connect(worker.address) as client:
            with pytest.raises(ValueError, match="callback=agent"):
                await client.wait("t-1", strategy="callback")
        async with connect(worker.address, callback=Requester().agent) as client:
            with pytest.raises(ConfigurationError, match="does not serve"):
                await client.wait("t-1", strategy="callback")
            with pytest.raises(ConfigurationError, match="does not serve"):
                await client.start("go", callback=Requester().agent)
            assert await client.wait("t-1") == DONE
    assert worker.calls == ["SubscribeToTask"]


@covers("S2-45")
@pytest.mark.parametrize("knows_the_card", [False, True])
async def test_a_message_that_would_not_be_called_back_is_not_sent(knows_the_card: bool) -> None:
    async with working(offers="") as (worker, _):
        async with Site(Page.card(worker.address)) as site:
            async with connect(site.url if knows_the_card else worker.address) as client:
                with pytest.raises(UnsupportedOperationError, match="does not offer callbacks"):
                    await client.start("go", callback="grpc://127.0.0.1:1")
    assert worker.calls == []


@covers("S2-57")
async def test_any_program_can_start_a_task_whose_result_another_agent_gets() -> None:
    async with working(answers=[task(WORKING)]) as (worker, callbacks), waiting(worker) as (requester, _):
        wish = requester.agent.callbacks.issue("order-7")
        handed_on = CallbackTask(wish.endpoint, dict(wish.headers), wish.data)
        async with connect(worker.address) as third:
            await third.start("go", callback=handed_on)
        asked = asked_in(worker.requests[-1].message)
        assert asked is not None
        assert asked == handed_on
        result = task(COMPLETED, "done")
        result.history.add().CopyFrom(worker.requests[-1].message)
        config = TaskPushNotificationConfig(url=asked.endpoint, token=asked.headers[Key.TOKEN])
        assert await worker.deliver(callbacks, config, result) is Verdict.DELIVERED
        await eventually(lambda: _has(requester.results, 1))
        assert requester.results[0].data == "order-7"
