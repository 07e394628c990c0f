"""The eleven RPCs of the service, each with a request that is valid for it, and what calls come to."""

from collections.abc import Awaitable
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.wire import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
)
from tests.harness import Served, decoded, request

PAST_THE_FIRST_CHECKS = {
    "SendMessage": "",
    "SendStreamingMessage": "",
    "GetTask": "TASK_NOT_FOUND",
    "ListTasks": "",
    "CancelTask": "TASK_NOT_FOUND",
    "SubscribeToTask": "TASK_NOT_FOUND",
    "CreateTaskPushNotificationConfig": "PUSH_NOTIFICATION_NOT_SUPPORTED",
    "GetTaskPushNotificationConfig": "PUSH_NOTIFICATION_NOT_SUPPORTED",
    "ListTaskPushNotificationConfigs": "PUSH_NOTIFICATION_NOT_SUPPORTED",
    "DeleteTaskPushNotificationConfig": "PUSH_NOTIFICATION_NOT_SUPPORTED",
    "GetExtendedAgentCard": "UNSUPPORTED_OPERATION",
}
"""The reason, "" for success, of each RPC's request below on a plain agent, once version, tenant and extensions are
accepted."""

RPCS = tuple(PAST_THE_FIRST_CHECKS)
TASK_RPCS = ("GetTask", "CancelTask", "SubscribeToTask")
PUSH_RPCS = tuple(rpc for rpc in RPCS if "Push" in rpc)


def request_of(rpc: str, *, tenant: str = "", task_id: str = "t-1") -> Any:
    """A valid request of an RPC; it is about a task that is not there unless an id is given."""
    match rpc:
        case "SendMessage" | "SendStreamingMessage":
            return request("hello", tenant=tenant)
        case "GetTask":
            return GetTaskRequest(id=task_id, tenant=tenant)
        case "ListTasks":
            return ListTasksRequest(tenant=tenant)
        case "CancelTask":
            return CancelTaskRequest(id=task_id, tenant=tenant)
        case "SubscribeToTask":
            return SubscribeToTaskRequest(id=task_id, tenant=tenant)
        case "CreateTaskPushNotificationConfig":
            return TaskPushNotificationConfig(task_id=task_id, url="https://hook.example/a", tenant=tenant)
        case "GetTaskPushNotificationConfig":
            return GetTaskPushNotificationConfigRequest(task_id=task_id, id="c-1", tenant=tenant)
        case "ListTaskPushNotificationConfigs":
            return ListTaskPushNotificationConfigsRequest(task_id=task_id, tenant=tenant)
        case "DeleteTaskPushNotificationConfig":
            return DeleteTaskPushNotificationConfigRequest(task_id=task_id, id="c-1", tenant=tenant)
        case "GetExtendedAgentCard":
            return GetExtendedAgentCardRequest(tenant=tenant)
    raise AssertionError(f"no such RPC: {rpc}")


def call_of(
    served: Served, rpc: str, *metadata: tuple[str, str], tenant: str = "", task_id: str = "t-1"
) -> Awaitable[Any]:
    """A call of an RPC with exactly this metadata."""
    call: Awaitable[Any] = getattr(served.stub, rpc)(request_of(rpc, tenant=tenant, task_id=task_id), metadata=metadata)
    return call


async def reason_of(call: Any) -> str:
    """The reason with which a call failed, "" if it did not. A stream is read to its end."""
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall):
            [element async for element in call]
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return decoded(error).reason
    return ""


async def card_of(served: Served, *metadata: tuple[str, str]) -> AgentCard:
    """The extended card, as the caller gets it."""
    card: AgentCard = await served.stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(), metadata=metadata)
    return card
