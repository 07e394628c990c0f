"""Push configs of two servers on one database."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from a2a_grpc.push.vault import new_key
from a2a_grpc.wire import DeleteTaskPushNotificationConfigRequest
from tests.covers import covers
from tests.harness import V1, scripted
from tests.push.notified import asked, config_for, idle, notifying
from tests.push.sockets import hook


@covers("PDEL-1")
async def test_a_config_that_was_deleted_at_one_server_ends_the_delivery_of_another_at_once(
    postgres_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.server.pushing.ROUND_S", 3600.0)  # so that only a wake can end the delivery
    key = tmp_path / "keys"
    key.write_text(new_key())
    key.chmod(0o600)
    ended = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    settings: dict[str, Any] = {"store": postgres_store, "secrets_key_file": str(key)}
    async with hook() as receiver, notifying(**settings) as one, notifying(**settings) as other:
        receiver.answer = hanging
        sent = scripted({"sleep": 60}, immediately=True)
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, id="c"))
        task = (await one.send(sent)).task
        await asked(receiver, 1)
        assert one.server._running.pushing is not None
        assert len(one.server._running.pushing.sender) == 1
        deleted = DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="c")
        await other.stub.DeleteTaskPushNotificationConfig(deleted, metadata=V1)
        await idle(one)
        assert len(receiver.received) == 1
