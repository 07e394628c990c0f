"""Push notification configs: this server offers none, and says so on every RPC (spec §3.1.7 to §3.1.10)."""

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import (
    AgentCapabilities,
    AgentCard,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    TaskPushNotificationConfig,
)
from tests.covers import covers
from tests.harness import V1, Served, message, refusal, request, scripted, serving
from tests.spec.rpcs import PUSH_RPCS, call_of

NOT_SUPPORTED = (grpc.StatusCode.FAILED_PRECONDITION, "PUSH_NOTIFICATION_NOT_SUPPORTED")


@covers("PCFG-1")
async def test_the_card_says_that_there_are_no_push_notifications(served: Served) -> None:
    capabilities = served.server.card.capabilities
    assert capabilities.HasField("push_notifications")
    assert capabilities.push_notifications is False


@covers("PCFG-1")
@pytest.mark.parametrize("rpc", PUSH_RPCS)
async def test_every_push_rpc_is_refused_for_a_task_that_is_there(served: Served, rpc: str) -> None:
    started = await served.start({"sleep": 60})
    refused = await refusal(call_of(served, rpc, *V1, task_id=started.id))
    assert (refused.code, refused.reason) == NOT_SUPPORTED


@covers("PCFG-1")
@pytest.mark.parametrize("rpc", PUSH_RPCS)
async def test_the_capability_comes_before_the_existence_of_the_task(served: Served, rpc: str) -> None:
    refused = await refusal(call_of(served, rpc, *V1, task_id="t-0"))
    assert (refused.code, refused.reason) == NOT_SUPPORTED


@covers("PCFG-1", "VAL-3")
@pytest.mark.parametrize(
    ("rpc", "request_", "fields"),
    [
        ("CreateTaskPushNotificationConfig", TaskPushNotificationConfig(url="https://a.example"), ["task_id"]),
        ("CreateTaskPushNotificationConfig", TaskPushNotificationConfig(task_id="t-1"), ["url"]),
        (
            "CreateTaskPushNotificationConfig",
            TaskPushNotificationConfig(task_id="t-1", url="https://a.example", authentication={"credentials": "c"}),
            ["authentication.scheme"],
        ),
        ("GetTaskPushNotificationConfig", GetTaskPushNotificationConfigRequest(id="c-1"), ["task_id"]),
        ("GetTaskPushNotificationConfig", GetTaskPushNotificationConfigRequest(task_id="t-1"), ["id"]),
        ("ListTaskPushNotificationConfigs", ListTaskPushNotificationConfigsRequest(), ["task_id"]),
        ("DeleteTaskPushNotificationConfig", DeleteTaskPushNotificationConfigRequest(id="c-1"), ["task_id"]),
        ("DeleteTaskPushNotificationConfig", DeleteTaskPushNotificationConfigRequest(task_id="t-1"), ["id"]),
    ],
)
async def test_fields_are_checked_before_the_capability(
    served: Served, rpc: str, request_: object, fields: list[str]
) -> None:
    refused = await refusal(getattr(served.stub, rpc)(request_, metadata=V1))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == fields


@covers("OPEN-14", "SEND-11")
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_inline_config_is_refused_before_any_task_exists(served: Served, streaming: bool) -> None:
    sent = request("hello", task_push_notification_config=TaskPushNotificationConfig(url="https://hook.example/a"))
    refused = await refusal(served.stream(sent) if streaming else served.send(sent))
    assert (refused.code, refused.reason) == NOT_SUPPORTED
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


@covers("OPEN-14", "SEND-11")
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("names_it", [False, True])
async def test_an_inline_config_does_not_continue_a_task_either(
    served: Served, streaming: bool, names_it: bool
) -> None:
    waiting = (await served.send(scripted({"input": "Which?"}))).task
    config = TaskPushNotificationConfig(url="https://hook.example/a", task_id=waiting.id if names_it else "")
    sent = request(message("red", task_id=waiting.id), task_push_notification_config=config)
    refused = await refusal(served.stream(sent) if streaming else served.send(sent))
    assert (refused.code, refused.reason) == NOT_SUPPORTED
    assert await served.get(waiting.id) == waiting


@covers("PCFG-1", "CARD-11")
async def test_an_agent_whose_card_offers_push_notifications_is_not_served() -> None:
    agent = Agent("Pusher", "Promises.", card=AgentCard(capabilities=AgentCapabilities(push_notifications=True)))

    @agent.skill()
    async def push(turn: Turn) -> str:
        return turn.text

    with pytest.raises(ConfigurationError, match="push_notifications"):
        async with serving(agent):
            pass
