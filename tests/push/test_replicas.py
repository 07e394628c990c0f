"""Push configs of two servers on one database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from a2a_grpc.push.vault import new_key
from a2a_grpc.store import open_store
from a2a_grpc.wire import DeleteTaskPushNotificationConfigRequest
from tests.covers import covers
from tests.harness import V1, Served, scripted
from tests.proxy import Proxy
from tests.push.notified import asked, config_for, deliveries, idle, notifying, told, told_end
from tests.push.sockets import hook


@asynccontextmanager
async def two(folder: Path, one_url: str, other_url: str, **settings: Any) -> AsyncIterator[tuple[Served, Served]]:
    """Serve twice on one database, with one file of keys."""
    key = folder / "keys"
    key.write_text(new_key())
    key.chmod(0o600)
    settings["secrets_key_file"] = str(key)
    async with notifying(store=one_url, **settings) as one, notifying(store=other_url, **settings) as other:
        yield one, other


@covers("PDEL-1")
async def test_a_config_that_was_deleted_at_one_server_ends_the_delivery_of_another_at_once(
    postgres_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.server.pushing.ROUND_S", 3600.0)  # so that only a wake can end the delivery
    ended = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with hook() as receiver, two(tmp_path, postgres_store, postgres_store) as (one, other):
        receiver.answer = hanging
        sent = scripted({"sleep": 60}, immediately=True)
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, id="c"))
        task = (await one.send(sent)).task
        await asked(receiver, 1)
        # The first round of the other one may come late, and find the new task first.
        sending, without = (one, other) if deliveries(one) else (other, one)
        assert (deliveries(sending), deliveries(without)) == (1, 0)
        deleted = DeleteTaskPushNotificationConfigRequest(task_id=task.id, id="c")
        await without.stub.DeleteTaskPushNotificationConfig(deleted, metadata=V1)
        await idle(sending)
        assert len(receiver.received) == 1


@covers("PUSH-11", "G5")
@pytest.mark.long
async def test_the_attempts_of_a_server_that_lost_its_lease_end_before_another_server_begins(
    postgres_store: str, tmp_path: Path
) -> None:
    at_work: list[web.Request] = []
    open_before: list[int] = []

    async def hanging(request: web.Request) -> web.Response:
        open_before.append(sum(one.transport is not None for one in at_work))
        at_work.append(request)
        if len(at_work) == 1:
            await asyncio.Event().wait()
        return web.Response()

    direct = urlsplit(postgres_store)
    async with hook() as receiver, Proxy(f"{direct.hostname}:{direct.port}") as way:
        user = f"{direct.username}:{direct.password}" if direct.password else f"{direct.username}"
        proxied = direct._replace(netloc=f"{user}@{way.address}").geturl()
        async with two(tmp_path, proxied, postgres_store, lease_s=2.0) as (one, other):
            receiver.answer = hanging
            sent = scripted({"artifact": "hello"})
            sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver))
            await one.send(sent)
            await asked(receiver, 1)
            way.stall()
            await asked(receiver, 2)
            await told_end(receiver)
            way.resume()
            await idle(one)
            await idle(other)
    assert set(open_before) == {0}, "no attempt was at work when another one began"


@covers("PUSH-11", "G5")
async def test_two_servers_on_mysql_deliver_each_config_in_order(
    mariadb_store: str, tmp_path: Path, full: bool
) -> None:
    tasks = 20 if full else 4
    async with hook() as receiver, two(tmp_path, mariadb_store, mariadb_store, push_events="all") as servers:
        for number in range(tasks):
            sent = scripted({"status": "begun"}, {"chunks": {"count": 3}})
            sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver, f"/{number}"))
            await servers[number % 2].send(sent)
        for number in range(tasks):
            await told_end(receiver, f"/{number}")
        for served in servers:
            await idle(served)
        for number in range(tasks):
            seqs = [seq for seq, _, _ in told(receiver, f"/{number}")]
            assert seqs == sorted(set(seqs))


@covers("PDEL-1")
@pytest.mark.parametrize("is_at_work", [True, False])
async def test_purging_a_task_ends_what_is_pending_within_a_second(tmp_path: Path, is_at_work: bool) -> None:
    url, ended = f"sqlite:///{tmp_path}/tasks.db", asyncio.Event()

    async def failing(_: web.Request) -> web.Response:
        if not is_at_work:
            return web.Response(status=500)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with hook() as receiver, notifying(store=url) as served:
        receiver.answer = failing
        sent = scripted({"artifact": "hello"})
        sent.configuration.task_push_notification_config.CopyFrom(config_for(receiver))
        await served.send(sent)
        await asked(receiver, 1)
        if not is_at_work:
            await idle(served)
        store = open_store(url)
        await store.open()
        try:
            assert await store.purge(ended_age_s=0.0, keep=0, limit=10) == 1
            await idle(served)
            assert await store.claim_pushes("another", 10) == []  # type: ignore[attr-defined]
        finally:
            await store.close()
        assert len(receiver.received) == 1
