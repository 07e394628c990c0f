"""The four calls about push configs, and configs inside sends."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.parts import text_of
from a2a_grpc.store import OneServer
from a2a_grpc.store.memory import MemoryRecords
from a2a_grpc.wire import (
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    SendMessageRequest,
    TaskPushNotificationConfig,
)
from tests.covers import covers
from tests.harness import V1, Served, elements, eventually, message, refusal, request, scripted
from tests.push.notified import SECRETS, config_for, idle, notifying, told, told_end
from tests.push.sockets import Hook, hook
from tests.spec.rpcs import PUSH_RPCS, call_of

URL = "http://127.0.0.1:9/hook"


async def create(served: Served, **config: Any) -> TaskPushNotificationConfig:
    created: TaskPushNotificationConfig = await served.stub.CreateTaskPushNotificationConfig(
        TaskPushNotificationConfig(**config), metadata=V1
    )
    return created


async def get(served: Served, task_id: str, id: str) -> TaskPushNotificationConfig:
    found: TaskPushNotificationConfig = await served.stub.GetTaskPushNotificationConfig(
        GetTaskPushNotificationConfigRequest(task_id=task_id, id=id), metadata=V1
    )
    return found


async def listed(served: Served, task_id: str, **page: Any) -> tuple[list[str], str]:
    found = await served.stub.ListTaskPushNotificationConfigs(
        ListTaskPushNotificationConfigsRequest(task_id=task_id, **page), metadata=V1
    )
    return [config.id for config in found.configs], found.next_page_token


async def delete(served: Served, task_id: str, id: str) -> None:
    await served.stub.DeleteTaskPushNotificationConfig(
        DeleteTaskPushNotificationConfigRequest(task_id=task_id, id=id), metadata=V1
    )


@covers("PCRE-1", "PCRE-5", "PGET-1", "PSEC-1")
async def test_a_created_config_is_returned_with_an_id_and_without_secrets() -> None:
    async with notifying() as served:
        assert served.server.card.capabilities.push_notifications is True
        task = await served.start({"sleep": 60})
        created = await create(served, task_id=task.id, url=URL, **SECRETS)
        expected = TaskPushNotificationConfig(
            task_id=task.id, id=created.id, url=URL, authentication=AuthenticationInfo(scheme="Bearer")
        )
        assert len(created.id) == 36
        assert created == expected
        assert await get(served, task.id, created.id) == expected


@covers("PCRE-4", "PCRE-5", "OPEN-9", "PLST-1", "PLST-2")
async def test_a_task_has_several_configs_and_a_known_id_replaces_one() -> None:
    async with notifying() as served:
        task = await served.start({"sleep": 60})
        for id in ("b", "c", "a"):
            await create(served, task_id=task.id, url=URL, id=id)
        await create(served, task_id=task.id, url=f"{URL}/new", id="b")
        assert await listed(served, task.id) == (["a", "b", "c"], "")
        assert (await get(served, task.id, "b")).url == f"{URL}/new"
        first, token = await listed(served, task.id, page_size=2)
        assert (first, await listed(served, task.id, page_size=2, page_token=token)) == (["a", "b"], (["c"], ""))


@covers("PDEL-2", "OPEN-10")
async def test_a_config_is_deleted_once_and_deleting_again_succeeds() -> None:
    async with notifying() as served:
        task = await served.start({"sleep": 60})
        created = await create(served, task_id=task.id, url=URL)
        for _ in range(2):
            await delete(served, task.id, created.id)
        refused = await refusal(get(served, task.id, created.id))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


@covers("PCRE-2", "PGET-1", "PLST-1", "PDEL-2", "PCFG-2")
@pytest.mark.parametrize("rpc", PUSH_RPCS)
async def test_the_task_must_exist_and_be_of_the_caller(rpc: str) -> None:
    async with notifying() as served:
        task = await served.start({"sleep": 60})
        for task_id, tenant in (("t-0", ""), (task.id, "another")):
            refused = await refusal(call_of(served, rpc, *V1, task_id=task_id, tenant=tenant))
            assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")


@covers("PUSH-8", "PUSH-9", "VAL-3")
@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"url": "http://10.0.0.1/hook"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "ftp://hook.example/"}, "url"),
        ({"url": URL, "id": "\0"}, "id"),
        ({"url": URL, "token": "a\r\nX-Other: b"}, "token"),
        ({"url": URL, "authentication": AuthenticationInfo(scheme="Bearer", credentials="a\nb")}, "authentication"),
    ],
)
async def test_a_config_to_which_nothing_may_be_sent_is_refused_and_no_task_begins(
    config: dict[str, Any], field: str
) -> None:
    async with notifying() as served:
        task = await served.start({"sleep": 60})
        refused = await refusal(create(served, task_id=task.id, **config))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
        assert [name.startswith(field) for name in refused.fields] == [True]
        inline = request("hello", task_push_notification_config=TaskPushNotificationConfig(**config))
        refused = await refusal(served.send(inline))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
        path = f"configuration.task_push_notification_config.{field}"
        assert [name.startswith(path) for name in refused.fields] == [True]
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 1
        assert await listed(served, task.id) == ([], "")


@covers("G11")
async def test_a_task_has_a_limited_number_of_configs() -> None:
    async with notifying(max_push_configs=1) as served:
        task = await served.start({"sleep": 60})
        await create(served, task_id=task.id, url=URL, id="a")
        refused = await refusal(create(served, task_id=task.id, url=URL, id="b"))
        assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "--max-push-configs" in refused.text
        await create(served, task_id=task.id, url=URL, id="a")


@covers("PLST-1", "PLST-2", "PUSH-11", "G11")
async def test_all_of_a_thousand_configs_of_a_task_are_listed_in_order_and_told_the_end(full: bool) -> None:
    count = 1000 if full else 30
    async with hook() as receiver, notifying(max_push_configs=count) as served:
        task = (await served.send(scripted({"input": "Which?"}))).task
        ids = [f"c-{number:04}" for number in range(count)]
        for start in range(0, count, 100):
            await asyncio.gather(
                *(
                    create(served, task_id=task.id, id=id, url=f"http://127.0.0.1:{receiver.port}/{id}")
                    for id in reversed(ids[start : start + 100])
                )
            )
        refused = await refusal(create(served, task_id=task.id, url=URL))
        assert (refused.code, f"{count} push configs" in refused.text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        found, token = await listed(served, task.id, page_size=count // 10)
        while token:
            page, token = await listed(served, task.id, page_size=count // 10, page_token=token)
            found += page
        assert found == ids
        answer = scripted({"artifact": "hello"})
        answer.message.task_id = task.id
        await served.send(answer)

        def all_know_the_end() -> None:
            done = {one.path for one in receiver.received if b"TASK_STATE_COMPLETED" in one.body}
            assert len(done) == count

        await eventually(all_know_the_end, within_s=60.0)
        await idle(served)


@covers("PLST-2", "VAL-4")
@pytest.mark.parametrize("page", [{"page_size": -1}, {"page_size": 101}, {"page_token": "?"}])
async def test_pages_that_cannot_be_are_refused(page: dict[str, Any]) -> None:
    async with notifying() as served:
        task = await served.start({"sleep": 60})
        refused = await refusal(listed(served, task.id, **page))
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, list(page))


@covers("SEND-11", "PUSH-4", "PUSH-6", "OPEN-8")
@pytest.mark.parametrize("streaming", [False, True])
async def test_the_config_of_a_send_is_told_the_whole_task_from_its_first_event_on(streaming: bool) -> None:
    async with hook() as receiver, notifying() as served:
        sent = scripted({"artifact": "hello"})
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver))
        task_id = (await elements(served.stream(sent)))[0].task.id if streaming else (await served.send(sent)).task.id
        await told_end(receiver)
        seqs = [seq for seq, _, _ in told(receiver)]
        assert seqs == sorted(set(seqs))
        assert told(receiver)[0][1] == "task", "the first event, or the task as it is by then"
        assert receiver.received[0].headers["Authorization"] == "Bearer s3cret"
        assert receiver.received[0].headers["X-A2A-Notification-Token"] == "t0ken"
        (id,), _ = await listed(served, task_id)
        assert not (await get(served, task_id, id)).token


@covers("SEND-4", "SEND-11")
@pytest.mark.parametrize("streaming", [False, True])
async def test_the_config_of_a_send_that_is_answered_with_a_message_is_not_kept_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture, streaming: bool
) -> None:
    caplog.set_level(logging.INFO, "a2a_grpc.server")
    async with hook() as receiver, notifying() as served:
        sent = scripted({"message": "hello"}, immediately=True)
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver))
        answer = (await elements(served.stream(sent)))[0] if streaming else await served.send(sent)
        assert text_of(answer.message) == "hello"
        said = f"its push config or callback is not used message_id={sent.message.message_id}"
        assert [said in record.getMessage() for record in caplog.records].count(True) == 1
        assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0
        await served.send(_with_config(receiver))  # a later one is delivered
        await told_end(receiver, "/later")
        assert [received.path for received in receiver.received if received.path != "/later"] == []


def _with_config(receiver: Hook) -> SendMessageRequest:
    sent = scripted({"artifact": "hello"})
    sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, "/later"))
    return sent


@covers("PCRE-6")
async def test_a_config_of_an_ended_task_is_told_the_end_once() -> None:
    async with hook() as receiver, notifying() as served:
        task = (await served.send(scripted({"artifact": "hello"}))).task
        config = config_for(receiver, task_id=task.id)
        await served.stub.CreateTaskPushNotificationConfig(config, metadata=V1)
        await told_end(receiver)
        await idle(served)
        assert len(told(receiver)) == 1


@covers("SEND-11")
async def test_the_config_of_a_message_to_a_task_is_kept_unless_the_message_is_refused() -> None:
    async with hook() as receiver, notifying() as served:
        waiting = (await served.send(scripted({"input": "Which?"}))).task
        refused = request(
            message("red", task_id=waiting.id, context_id="another"),
            task_push_notification_config=config_for(receiver),
        )
        assert (await refusal(served.send(refused))).code == grpc.StatusCode.INVALID_ARGUMENT
        assert await listed(served, waiting.id) == ([], "")
        accepted = request(message("red", task_id=waiting.id), task_push_notification_config=config_for(receiver))
        await served.send(accepted)
        await told_end(receiver)
        assert len((await listed(served, waiting.id))[0]) == 1


@covers("PUSH-10")
async def test_secrets_are_in_the_store_only_encrypted_and_in_no_message_that_waits(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    async with notifying(store=f"sqlite:///{path}") as served:
        sent = scripted({"sleep": 60}, immediately=True)
        config = TaskPushNotificationConfig(url=URL, **SECRETS)
        sent.configuration.task_push_notification_config.CopyFrom(config)
        task = (await served.send(sent)).task
        with closing(sqlite3.connect(path)) as database:
            tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            stored = repr([row for table in tables for row in database.execute(f"SELECT * FROM {table}")])
        assert "127.0.0.1:9/hook" in stored
        assert "t0ken" not in stored
        assert "s3cret" not in stored
        await served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1)
    key = tmp_path / "tasks.db.secrets-key"
    assert key.stat().st_mode & 0o777 == 0o600


async def test_a_server_that_cannot_offer_push_notifications_says_why() -> None:
    with pytest.raises(ConfigurationError, match="--secrets-key-file"):
        async with notifying(store="postgresql://nobody@127.0.0.1:1/none"):
            pass


async def test_a_store_for_one_server_keeps_push_configs() -> None:
    assert {"add_push", "claim_pushes"} <= set(dir(OneServer(MemoryRecords(1, 1, lambda: 0.0))))
