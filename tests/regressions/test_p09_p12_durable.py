"""P9: who follows from another process is told, and does not find out by asking. P12: tokens cost their own bytes."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from sqlalchemy import Engine, event

from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.wire import A2AServiceStub, SubscribeToTaskRequest
from tests.covers import covers
from tests.harness import V1, Program, event_state, scripted, scripted_agent, serving, texts

NEVER_S = "3600"
"""Seconds between two polls: nothing in a test comes from one."""


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tasks.db"
    return str(request.getfixturevalue("postgres_store"))


@covers("P9")
async def test_a_follower_at_another_process_is_woken_and_does_not_poll(store_url: str) -> None:
    await upgrade(store_url)
    options = ("--store", store_url, "--poll-interval-s", NEVER_S, "--lease-s", NEVER_S)
    async with (
        Program.server("servers/scripted.py", *options) as a,
        Program.server("servers/scripted.py", *options) as b,
    ):
        async with grpc.aio.insecure_channel(a.address) as to_a, grpc.aio.insecure_channel(b.address) as to_b:
            here, there = A2AServiceStub(to_a), A2AServiceStub(to_b)
            task = (await here.SendMessage(scripted({"input": "go?"}), metadata=V1)).task
            assert task.status.state == INPUT_REQUIRED
            following = there.SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1)
            async with asyncio.timeout(60):
                assert event_state(await anext(aiter(following))) == INPUT_REQUIRED
                await here.SendMessage(
                    scripted({"status": "one"}, {"chunks": {"count": 20}}, task_id=task.id), metadata=V1
                )
                events = [element async for element in following]
            assert event_state(events[-1]) == COMPLETED
            assert len([element for element in events if element.HasField("artifact_update")]) == 20


@covers("P12")
@pytest.mark.long
async def test_two_thousand_tokens_into_sqlite_are_the_bytes_of_their_events(tmp_path: Path) -> None:
    sent = 0

    def count(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        nonlocal sent
        for row in parameters if many else [parameters]:
            values = row.values() if isinstance(row, dict) else row
            sent += sum(len(value) if isinstance(value, (bytes, str)) else 8 for value in values)

    async with serving(scripted_agent(), store=f"sqlite:///{tmp_path}/tasks.db") as served:
        event.listen(Engine, "before_cursor_execute", count)
        try:
            call = served.stream(scripted({"chunks": {"count": 2000, "text": "token"}}))
            elements = [element async for element in call]
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        task = await served.get(elements[0].task.id)
    assert len(texts(task)) == 1
    size = sum(element.ByteSize() for element in elements)
    assert 2000 * 50 < size < sent < 4 * size + 500_000, "no event is written with more than itself and its row"
