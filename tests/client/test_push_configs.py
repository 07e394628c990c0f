"""Push configs: refused by a server of this project, kept by one of somebody else."""

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceServicer, add_A2AServiceServicer_to_server
from google.protobuf.empty_pb2 import Empty

from a2a_grpc import Client, TaskState, connect
from a2a_grpc.errors import PushNotificationNotSupportedError, TaskNotFoundError
from a2a_grpc.wire import (
    AuthenticationInfo,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    Task,
    TaskPushNotificationConfig,
    TaskStatus,
)
from tests.agent.agents import stored_tasks
from tests.client.local_agents import client_of
from tests.covers import covers
from tests.harness import Served

CONFIG = TaskPushNotificationConfig(
    task_id="t-1",
    url="https://hooks.example/a",
    token="a token",
    authentication=AuthenticationInfo(scheme="Bearer", credentials="secret"),
)
FOR_A_NEW_TASK = TaskPushNotificationConfig(url="https://hooks.example/a")
PAGE = 2
"""Configs on a page of the foreign server."""


class Keeper(A2AServiceServicer):  # type: ignore[misc]
    """Somebody else's server: keeps push configs, gives them in pages of two."""

    def __init__(self) -> None:
        self.configs: dict[tuple[str, str, str], TaskPushNotificationConfig] = {}
        self.calls: Counter[str] = Counter()
        self.sent: list[SendMessageRequest] = []

    async def CreateTaskPushNotificationConfig(
        self, request: TaskPushNotificationConfig, context: Any
    ) -> TaskPushNotificationConfig:
        kept = TaskPushNotificationConfig()
        kept.CopyFrom(request)
        kept.id = request.id or str(uuid.uuid4())
        self.configs[request.tenant, kept.task_id, kept.id] = kept
        return kept

    async def GetTaskPushNotificationConfig(
        self, request: GetTaskPushNotificationConfigRequest, context: Any
    ) -> TaskPushNotificationConfig:
        config = self.configs.get((request.tenant, request.task_id, request.id))
        if config is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no config {request.id}")
            raise AssertionError("abort raises")
        return config

    async def ListTaskPushNotificationConfigs(
        self, request: ListTaskPushNotificationConfigsRequest, context: Any
    ) -> ListTaskPushNotificationConfigsResponse:
        self.calls["list"] += 1
        found = [
            config
            for (tenant, task_id, _), config in self.configs.items()
            if (tenant, task_id) == (request.tenant, request.task_id)
        ]
        begin = int(request.page_token or 0)
        more = begin + PAGE < len(found)
        return ListTaskPushNotificationConfigsResponse(
            configs=found[begin : begin + PAGE], next_page_token=str(begin + PAGE) if more else ""
        )

    async def DeleteTaskPushNotificationConfig(
        self, request: DeleteTaskPushNotificationConfigRequest, context: Any
    ) -> Empty:
        self.configs.pop((request.tenant, request.task_id, request.id), None)
        return Empty()

    async def SendMessage(self, request: SendMessageRequest, context: Any) -> SendMessageResponse:
        self.sent.append(request)
        return SendMessageResponse(task=_done())

    async def SendStreamingMessage(self, request: SendMessageRequest, context: Any) -> AsyncIterator[StreamResponse]:
        self.sent.append(request)
        yield StreamResponse(task=_done())


def _done() -> Task:
    return Task(id="t-1", context_id="c-1", status=TaskStatus(state=TaskState.TASK_STATE_COMPLETED))


@asynccontextmanager
async def keeping(**settings: Any) -> AsyncIterator[tuple[Keeper, Client]]:
    """The foreign server with a client of it."""
    server, keeper = grpc.aio.server(), Keeper()
    add_A2AServiceServicer_to_server(keeper, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connect(f"127.0.0.1:{port}", **settings) as client:
            yield keeper, client
    finally:
        await server.stop(None)


async def listed(client: Client, task_id: str) -> list[TaskPushNotificationConfig]:
    return [config async for config in client.list_push_configs(task_id)]


OPERATIONS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "create": lambda client: client.create_push_config(CONFIG),
    "get": lambda client: client.get_push_config("t-1", "p-1"),
    "list": lambda client: listed(client, "t-1"),
    "delete": lambda client: client.delete_push_config("t-1", "p-1"),
}


@covers("PCFG-1")
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_server_without_push_notifications_says_so(served: Served, operation: str) -> None:
    async with client_of(served) as client:
        with pytest.raises(PushNotificationNotSupportedError):
            await OPERATIONS[operation](client)


SENDS: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "send": lambda client: client.send("hello", push_config=FOR_A_NEW_TASK),
    "start": lambda client: client.start("hello", push_config=FOR_A_NEW_TASK),
    "stream": lambda client: anext(aiter(client.stream("hello", push_config=FOR_A_NEW_TASK))),
}


@covers("OPEN-14")
@pytest.mark.parametrize("operation", SENDS)
async def test_a_config_that_goes_with_a_message_is_refused_and_no_task_begins(served: Served, operation: str) -> None:
    async with client_of(served) as client:
        with pytest.raises(PushNotificationNotSupportedError):
            await SENDS[operation](client)
    assert await stored_tasks(served) == 0


async def test_a_config_is_made_read_replaced_and_deleted() -> None:
    async with keeping() as (keeper, client):
        made = await client.create_push_config(CONFIG)
        assert made.id
        assert (made.task_id, made.url, made.token) == ("t-1", "https://hooks.example/a", "a token")
        assert await client.get_push_config("t-1", made.id) == made
        assert await listed(client, "t-1") == [made]

        made.url = "https://hooks.example/b"
        assert (await client.create_push_config(made)).id == made.id
        assert [config.url for config in await listed(client, "t-1")] == ["https://hooks.example/b"]

        await client.delete_push_config("t-1", made.id)
        assert await listed(client, "t-1") == []
        assert keeper.configs == {}


async def test_a_config_that_is_given_is_not_changed() -> None:
    before = CONFIG.SerializeToString(deterministic=True)
    async with keeping(tenant="acme") as (_, client):
        made = await client.create_push_config(CONFIG)
    assert made.tenant == "acme"
    assert CONFIG.SerializeToString(deterministic=True) == before


async def test_the_configs_of_a_task_come_from_all_pages_each_asked_for_when_it_is_needed() -> None:
    async with keeping() as (keeper, client):
        for number in range(5):
            await client.create_push_config(
                TaskPushNotificationConfig(id=f"p-{number}", task_id="t-1", url="https://hooks.example/")
            )
        await client.create_push_config(TaskPushNotificationConfig(id="p-9", task_id="t-2", url="https://h.example/"))
        configs, asked = client.list_push_configs("t-1"), []
        assert keeper.calls["list"] == 0
        async for config in configs:
            asked.append((config.id, keeper.calls["list"]))
        assert asked == [("p-0", 1), ("p-1", 1), ("p-2", 2), ("p-3", 2), ("p-4", 3)]
        assert [config.id for config in await listed(client, "t-2")] == ["p-9"]
        assert await listed(client, "t-3") == []


@covers("OP-3")
async def test_all_four_go_to_the_clients_tenant() -> None:
    async with keeping(tenant="acme") as (keeper, client):
        made = await client.create_push_config(CONFIG)
        assert list(keeper.configs) == [("acme", "t-1", made.id)]
        assert await client.get_push_config("t-1", made.id) == made
        assert await listed(client, "t-1") == [made]
        await client.delete_push_config("t-1", made.id)
        assert keeper.configs == {}


async def test_a_config_that_is_not_there_is_an_error_although_the_server_gives_no_reason() -> None:
    async with keeping() as (_, client):
        with pytest.raises(TaskNotFoundError, match="there is no config p-9"):
            await client.get_push_config("t-1", "p-9")


@pytest.mark.parametrize("operation", SENDS)
async def test_a_config_goes_with_a_message_to_a_server_that_takes_it(operation: str) -> None:
    async with keeping() as (keeper, client):
        await SENDS[operation](client)
        [request] = keeper.sent
    assert request.configuration.task_push_notification_config == FOR_A_NEW_TASK
    assert request.configuration.return_immediately == (operation == "start")
