"""Clients of the official SDK's factory call agents with this package's client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from a2a.client import ClientCallContext, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientError, A2AClientTimeoutError
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError, TaskNotFoundError

from a2a_grpc.adapters.transport import register
from a2a_grpc.parts import text_of
from a2a_grpc.wire import (
    AgentCard,
    AgentInterface,
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    TaskState,
)
from tests.harness import eventually, request, scripted, scripted_agent, serving, texts
from tests.proxy import Proxy

COMPLETED = TaskState.TASK_STATE_COMPLETED


def card_of(address: str) -> AgentCard:
    card = AgentCard(name="Scripted", description="Plays scripts.", version="1.0.0")
    card.capabilities.streaming = True
    card.supported_interfaces.append(AgentInterface(url=address, protocol_binding="GRPC", protocol_version="1.0"))
    return card


@asynccontextmanager
async def sdk_client(address: str, **config: Any) -> AsyncIterator[Any]:
    factory = ClientFactory(ClientConfig(supported_protocol_bindings=["GRPC"], **config))
    register(factory)
    client = factory.create(card_of(address))
    try:
        yield client
    finally:
        await client.close()


async def test_each_call_of_the_sdks_client_reaches_the_agent() -> None:
    async with serving(scripted_agent()) as served, sdk_client(served.server.grpc_address) as client:
        events = [event async for event in client.send_message(scripted({"chunks": {"count": 3}}))]
        kinds = [event.WhichOneof("payload") for event in events]
        assert kinds == ["task", "status_update", *["artifact_update"] * 3, "status_update"]
        task_id = events[0].task.id

        got = await client.get_task(GetTaskRequest(id=task_id, history_length=0))
        assert got.status.state == COMPLETED
        assert not got.history
        page = await client.list_tasks(ListTasksRequest(page_size=1))
        assert [task.id for task in page.tasks] == [task_id]
        assert page.total_size == 1

    async with (
        serving(scripted_agent()) as served,
        sdk_client(served.server.grpc_address, streaming=False, polling=True) as client,
    ):
        started = await _last(client.send_message(scripted({"sleep": 60})))
        canceled = await client.cancel_task(CancelTaskRequest(id=started.task.id))
        assert canceled.status.state == TaskState.TASK_STATE_CANCELED


async def test_a_stream_of_the_sdks_client_goes_on_after_a_lost_connection() -> None:
    async with (
        serving(scripted_agent()) as served,
        Proxy(served.server.grpc_address, cut_after=[3000, 3000, 3000]) as proxy,
        sdk_client(proxy.address) as client,
    ):
        script = scripted({"chunks": {"count": 300, "text": "{i} ", "interval_s": 0.002}})
        told = ""
        async for event in client.send_message(script):
            match event.WhichOneof("payload"):
                case "task":
                    told = "".join(texts(event.task))
                case "artifact_update":
                    told += text_of(event.artifact_update.artifact)
        assert proxy.cuts >= 1
        assert told == "".join(f"{i} " for i in range(300))


async def test_a_blocking_send_of_the_sdks_client_waits_through_a_lost_connection() -> None:
    async with (
        serving(scripted_agent()) as served,
        Proxy(served.server.grpc_address) as proxy,
        sdk_client(proxy.address, streaming=False) as client,
    ):
        waiting = asyncio.ensure_future(_last(client.send_message(scripted({"sleep": 1}))))
        await eventually(lambda: _assert(proxy.requests >= 1))
        proxy.cut()
        answer = await waiting
        assert answer.task.status.state == COMPLETED


async def test_errors_are_those_of_the_sdk() -> None:
    async with serving(scripted_agent()) as served, sdk_client(served.server.grpc_address) as client:
        with pytest.raises(TaskNotFoundError, match="'missing'"):
            await client.get_task(GetTaskRequest(id="missing"))
        with pytest.raises(TaskNotFoundError):
            await _last(client.subscribe(SubscribeToTaskRequest(id="missing")))
        with pytest.raises(InvalidParamsError) as refused:
            await client.list_tasks(ListTasksRequest(page_size=-1))
        assert refused.value.data["errors"][0]["field"] == "page_size"
        done = await _last(client.send_message(request()))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=done.status_update.task_id))


async def test_the_service_parameters_of_a_call_are_its_metadata() -> None:
    async with serving(scripted_agent()) as served, sdk_client(served.server.grpc_address) as client:
        context = ClientCallContext(service_parameters={"A2A-GRPC-Artifacts": "none"})
        events = [event async for event in client.send_message(request())]
        task_id = events[0].task.id
        assert texts(await client.get_task(GetTaskRequest(id=task_id))) == ["hello"]
        assert texts(await client.get_task(GetTaskRequest(id=task_id), context=context)) == []


async def test_an_agent_that_is_away_is_an_error_of_the_sdks_client() -> None:
    async with sdk_client("127.0.0.1:1") as client:
        with pytest.raises(A2AClientError):
            await client.get_task(GetTaskRequest(id="t"))


async def _last(events: AsyncIterator[StreamResponse]) -> StreamResponse:
    last: StreamResponse | None = None
    async for event in events:
        last = event
    assert last is not None
    return last


def _assert(holds: bool) -> None:
    assert holds


async def test_a_timeout_of_the_sdks_client_ends_a_call_and_a_stream() -> None:
    context = ClientCallContext(timeout=0.3)
    for streaming in (True, False):
        async with (
            serving(scripted_agent()) as served,
            sdk_client(served.server.grpc_address, streaming=streaming) as client,
        ):
            with pytest.raises(A2AClientTimeoutError):
                await _last(client.send_message(scripted({"sleep": 60}), context=context))
