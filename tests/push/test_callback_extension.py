"""Callbacks from end to end: a worker and a requester, each a real server, with restarts, refusals and a sentinel."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc import Agent, Client, Task, Turn, connect
from a2a_grpc.agent import CallbackTask
from a2a_grpc.errors import InvalidRequestError, PushNotificationNotSupportedError
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.parts import text_of
from a2a_grpc.protocol import CALLBACK_EXTENSION, CALLBACK_TASK, Key
from a2a_grpc.wire import SendMessageRequest
from tests.agent.agents import Gate
from tests.client.local_agents import GUARD_S, Passage, client_of
from tests.client.test_resume import SOON
from tests.covers import covers
from tests.harness import Served, eventually, message, refusal, request, serving
from tests.ports import free_address
from tests.push.notified import idle, notifying
from tests.push.test_callbacks import Listener
from tests.sentinel.tunnels import attached, sentinel
from tests.store.test_sql_cost import sending


class Worker:
    """An agent whose jobs wait at a gate."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.runs = 0
        self.agent = Agent("Worker", "Works.", resumable=True)
        self.agent.skill("work")(self.work)

    async def work(self, turn: Turn) -> str:
        self.runs += 1
        await turn.status("at work")
        await self.gate.passed()
        return f"done {turn.text}"


@asynccontextmanager
async def rig(**settings: Any) -> AsyncIterator[tuple[Worker, Served, Client, Listener]]:
    """A worker with a client, and a requester."""
    worker, listener = Worker(), Listener()
    async with asyncio.timeout(GUARD_S), serving(listener.agent), notifying(worker.agent, **settings) as served:
        async with client_of(served, callback=listener.agent) as client:
            yield worker, served, client, listener


def _has(listener: Listener, count: int) -> None:
    assert len(listener.results) == count


@covers("S2-4", "S2-46", "S2-47", "S2-48")
async def test_a_job_is_acknowledged_at_once_and_its_result_is_called_back() -> None:
    async with rig() as (worker, _, client, listener):
        wish = listener.agent.callbacks.issue({"correlation_id": "order-7"})
        started = await client.start("it", callback=wish, context_id="monday")
        assert isinstance(started, Task)
        worker.gate.opened.set()
        await eventually(lambda: _has(listener, 1))
        [result] = listener.results
        assert (result.task_id, result.context_id, result.state) == (started.id, "monday", "COMPLETED")
        assert (result.text, result.data) == ("done it", {"correlation_id": "order-7"})
        kept = await client.get(started.id)
        assert wish.headers[Key.TOKEN] not in str(kept), "the token is not in the task"


@covers("G12")
async def test_the_changes_of_a_job_before_its_end_cost_a_callback_no_statement(tmp_path: Path) -> None:
    agent, listener = Agent("Worker", "Works."), Listener()

    @agent.skill()
    async def work(turn: Turn) -> str:
        for step in range(40):
            await turn.status(f"step {step}")
        return "done"

    store = f"sqlite:///{tmp_path}/tasks.db"
    async with asyncio.timeout(GUARD_S), serving(listener.agent), notifying(agent, store=store) as served:
        async with client_of(served) as client:
            with sending() as sent:
                await client.start("it", callback=listener.agent.callbacks.issue())
                await eventually(lambda: _has(listener, 1))
                await idle(served)
    assert len([one for one in sent.statements if one.startswith("UPDATE a2a_push")]) <= 4, "a claim and an end"


@covers("S2-45")
async def test_the_extension_is_declared_and_echoed_and_the_plain_key_is_taken_too() -> None:
    async with rig(http_listen="127.0.0.1:0") as (worker, served, _, listener):
        worker.gate.opened.set()
        async with connect(served.server.http_url or "") as client:
            card = await client.card()
        assert CALLBACK_EXTENSION in [extension.uri for extension in card.capabilities.extensions]
        sent = request(message("plain"), immediately=True)
        wish = listener.agent.callbacks.issue()
        CallbackTask(wish.endpoint, wish.headers).put(sent.message)
        fields = sent.message.metadata.fields
        fields[CALLBACK_TASK].CopyFrom(fields.pop(CALLBACK_EXTENSION))
        call = served.stub.SendMessage(sent, metadata=((Key.VERSION, "1.0"), (Key.EXTENSIONS, CALLBACK_EXTENSION)))
        await call
        assert (Key.EXTENSIONS, CALLBACK_EXTENSION) in [(key, value) for key, value in await call.initial_metadata()]
        await eventually(lambda: _has(listener, 1))


@covers("S2-46")
async def test_a_skill_that_answers_with_a_message_calls_nobody_back_as_the_caller_has_the_whole_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "a2a_grpc.server")
    async with rig() as (worker, served, client, listener):
        worker.agent.skill("tell", answers="message")(tell)
        answer = await client.start("it", callback=listener.agent, metadata={"skill": "tell"})
        assert text_of(answer) == "told it"
        assert "its push config or callback is not used message_id=" in caplog.text
        assert [task async for task in client.list()] == []
        assert served.server._running.pushing is not None
        assert len(served.server._running.pushing.sender) == 0
        assert listener.results == []


async def tell(turn: Turn) -> str:
    """Tell."""
    return f"told {turn.text}"


WISHES: list[tuple[CallbackTask, str]] = [
    (CallbackTask(""), "endpoint"),
    (CallbackTask("grpc://10.1.2.3:50051"), "endpoint"),
    (CallbackTask("ftp://127.0.0.1"), "endpoint"),
    (CallbackTask("name@domain"), "endpoint"),
    (CallbackTask("grpc://127.0.0.1:1", {"cookie": "x"}), "headers.cookie"),
]


@covers("S2-50", "S2-51")
@pytest.mark.parametrize(("wish", "field"), WISHES)
async def test_a_callback_that_is_not_possible_is_refused_by_name_and_no_job_starts(
    wish: CallbackTask, field: str
) -> None:
    async with rig() as (worker, _, client, _):
        with pytest.raises(InvalidRequestError) as refused:
            await client.start("it", callback=wish)
        [violation] = refused.value.violations
        assert violation.field == f"message.metadata.{CALLBACK_EXTENSION}.{field}"
        assert [task async for task in client.list()] == []
        assert worker.runs == 0


async def test_a_server_without_push_notifications_refuses_before_any_task_exists() -> None:
    worker = Worker()
    async with serving(worker.agent) as served:
        sent = request(message("it"))
        CallbackTask("grpc://127.0.0.1:1").put(sent.message)
        refused = await refusal(served.send(sent))
        assert refused.reason == PushNotificationNotSupportedError.reason
    assert worker.runs == 0


@covers("S2-19")
async def test_a_wait_by_callback_costs_one_config_and_one_look() -> None:
    async with rig() as (worker, _, client, listener):
        started = await client.start("it")
        assert isinstance(started, Task)
        waiting = asyncio.create_task(client.wait(started.id))
        await worker.gate.reached.wait()
        worker.gate.opened.set()
        ended = await waiting
        assert ended.status.state == COMPLETED
        _has(listener, 1)
        assert (await client.wait(started.id, strategy="callback")) == ended, "also once the task has ended"
        _has(listener, 1)


@covers("S2-7")
async def test_before_the_end_no_byte_goes_to_the_requester_or_to_the_worker() -> None:
    async with rig() as (worker, served, _, listener):
        issued = listener.agent.callbacks.issue()
        async with Passage(issued.endpoint.removeprefix("grpc://")) as way:
            wish = replace(issued, endpoint=f"grpc://{way.address}")
            async with Passage(served.server.grpc_address) as to_worker:
                async with connect(to_worker.address) as client:
                    await client.start("it", callback=wish)
                await worker.gate.reached.wait()
                await eventually(lambda: _closed(to_worker))
                assert (way.taken, to_worker.open) == (0, 0), "no connection is held"
            worker.gate.opened.set()
            await eventually(lambda: _has(listener, 1))
            assert way.taken == 1


def _closed(way: Passage) -> None:
    assert way.open == 0


@covers("S2-13", "S2-16")
async def test_a_wrong_token_is_refused_and_the_result_can_be_read() -> None:
    async with rig() as (worker, _, client, listener):
        wish = replace(listener.agent.callbacks.issue(), headers={Key.TOKEN: "wrong"})
        worker.gate.opened.set()
        started = await client.start("it", callback=wish)
        assert isinstance(started, Task)
        ended = await client.wait(started, strategy="subscribe")
        assert ended.status.state == COMPLETED
        assert listener.results == []


@covers("S2-16", "S2-58", "S2-49")
async def test_a_requester_that_is_restarted_gets_each_result_once(tmp_path: Path) -> None:
    worker, address = Worker(), free_address()
    store = f"sqlite:///{tmp_path / 'requester.db'}"
    keys = {"listen": address, "store": store, "push": True}
    first, second = Listener(), Listener()
    async with asyncio.timeout(GUARD_S), notifying(worker.agent) as served, client_of(served, **SOON) as client:
        async with serving(first.agent, **keys):
            wish = first.agent.callbacks.issue("kept")
            started = await client.start("it", callback=wish)
            assert isinstance(started, Task)
        worker.gate.opened.set()
        assert (await client.wait(started)).status.state == COMPLETED, "the result can be read meanwhile"
        async with serving(second.agent, **keys):
            await eventually(lambda: _has(second, 1), within_s=30)
            assert (second.results[0].task_id, second.results[0].data) == (started.id, "kept")
    assert first.results == []


@covers("S2-58", "S2-53")
async def test_a_worker_that_is_restarted_calls_back_once(tmp_path: Path) -> None:
    listener, before, after = Listener(), Worker(), Worker()
    keys = {"listen": free_address(), "store": f"sqlite:///{tmp_path / 'worker.db'}", "lease_s": 0.5}
    async with asyncio.timeout(GUARD_S), serving(listener.agent):
        async with notifying(before.agent, **keys) as served, client_of(served) as client:
            started = await client.start("it", callback=listener.agent)
            assert isinstance(started, Task)
            await before.gate.reached.wait()
        after.gate.opened.set()
        async with notifying(after.agent, **keys):
            await eventually(lambda: _has(listener, 1), within_s=30)
    assert (listener.results[0].task_id, listener.results[0].text) == (started.id, "done it")


@covers("S2-4", "S2-57")
async def test_a_requester_that_listens_nowhere_is_called_back_through_its_sentinel() -> None:
    worker, listener = Worker(), Listener()
    async with asyncio.timeout(GUARD_S), sentinel() as front:
        async with attached(listener.agent, front.address, "requester@fame.fabric"):
            endpoint = listener.agent.callbacks.address
            assert endpoint == "requester@fame.fabric"
            async with notifying(worker.agent, push_allow="", callback_sentinel=front.address) as served:
                async with client_of(served) as client:
                    await client.start("it", callback=listener.agent.callbacks.issue({"n": 1}))
                    worker.gate.opened.set()
                    await eventually(lambda: _has(listener, 1))
    assert (listener.results[0].text, listener.results[0].data) == ("done it", {"n": 1})


async def test_the_config_and_the_callback_of_one_send_are_both_kept() -> None:
    async with rig() as (worker, served, client, listener):
        other = Listener()
        async with serving(other.agent):
            sent = SendMessageRequest()
            sent.CopyFrom(request(message("it"), immediately=True))
            listener.agent.callbacks.issue().put(sent.message)
            wish = other.agent.callbacks.issue()
            config = sent.configuration.task_push_notification_config
            config.url, config.token = wish.endpoint, wish.headers[Key.TOKEN]
            response = await served.send(sent)
            found = [one async for one in client.list_push_configs(response.task.id)]
            assert {one.url for one in found} == {wish.endpoint, listener.agent.callbacks.address}
            assert all(not one.token for one in found)
            worker.gate.opened.set()
            await eventually(lambda: _has(listener, 1))
            await eventually(lambda: _has(other, 1))
