"""One task is one trace: through a sentinel, an agent, another agent and a webhook, over questions and restarts."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from a2a_grpc import Agent, Completed, Server, ServerSettings, Task, Turn, connect
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED
from a2a_grpc.telemetry.context import of_text, of_w3c, stored
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.covers import covers
from tests.harness import eventually, serving
from tests.ports import free_port
from tests.push.notified import asked, config_for, notifying
from tests.push.sockets import hook
from tests.sentinel.tunnels import ADDRESS, attached, sentinel
from tests.telemetry.conftest import Spans, check_table, shown

SECRET = "a-word-that-nobody-else-may-see"
STREAMS = int(os.environ.get("TRACED_STREAMS", "2000"))
"""How many streams are traced in `make test-all`. `make test-nightly` traces 10,000."""
LOCAL: dict[str, Any] = {"push": True, "push_allow": "127.0.0.0/8"}


def tree(spans: Spans) -> list[str]:
    """Each span with the way to it from its root."""
    known = {span.context.span_id: span for span in spans.all}

    def way(span: Any) -> str:
        parent = known.get(span.parent.span_id) if span.parent else None
        return f"{way(parent)} > {shown(span)}" if parent else shown(span)

    return sorted(map(way, spans.all))


def helper() -> Agent:
    agent = Agent("Helper", "Helps.")

    @agent.skill()
    async def help(turn: Turn) -> str:
        """Help."""
        return SECRET

    return agent


@covers("META-6", "P17")
async def test_a_task_through_a_sentinel_an_agent_another_agent_and_a_webhook_is_one_trace(spans: Spans) -> None:
    seen: list[str] = []
    agent = Agent("Front", "Asks a helper.")
    author = trace.get_tracer("author")

    def in_thread() -> None:
        with author.start_as_current_span("in a thread"):
            pass

    @agent.skill()
    async def ask_helper(turn: Turn) -> Any:
        """Ask the helper."""
        seen.append(turn.trace_id)
        with author.start_as_current_span("own work"):
            await turn.in_thread(in_thread)
            async with connect(sub.server.grpc_address) as other:
                await other.send(SECRET)
        for piece in ["some", "words", "in", "pieces"]:
            yield f"{piece} "

    async with sentinel() as front, serving(helper()) as sub, hook() as receiver:
        async with attached(agent, front.address, **LOCAL), connect(front.address, tenant=ADDRESS) as client:
            config = TaskPushNotificationConfig(url=f"http://127.0.0.1:{receiver.port}/{SECRET}", token=SECRET)
            async with client.stream(SECRET, push_config=config) as stream:
                async for _ in stream:
                    pass

            def delivered() -> None:
                assert any(SECRET.encode() not in got.body and b"COMPLETED" in got.body for got in receiver.received)

            await eventually(delivered)
    to_run = "client SendStreamingMessage > server SendStreamingMessage > server SendStreamingMessage"
    own = f"{to_run} > internal run ask_helper > internal own work"
    call = f"{own} > client SendStreamingMessage"
    assert sorted(set(tree(spans))) == sorted([
        "client SendStreamingMessage",
        "client SendStreamingMessage > server SendStreamingMessage",
        to_run,
        f"{to_run} > internal run ask_helper",
        f"{to_run} > internal run ask_helper > producer push webhook",
        own,
        f"{own} > internal in a thread",
        call,
        f"{call} > server SendStreamingMessage",
        f"{call} > server SendStreamingMessage > internal run help",
    ])  # fmt: skip
    [trace_id] = {f"{span.context.trace_id:032x}" for span in spans.all if span.context}
    assert seen == [trace_id]
    [task_id] = {str((span.attributes or {})["a2a.task.id"]) for span in spans.all if "ask_helper" in span.name}
    own_task = [span for span in spans.all if (span.attributes or {}).get("a2a.task.id") == task_id]
    assert len(own_task) + 1 <= 6, "with the span of the sentinel, which reads no task ids"
    headers = {got.headers["traceparent"].split("-")[1] for got in receiver.received}
    assert headers == {trace_id}
    assert SECRET not in "".join(span.to_json() for span in spans.all)
    check_table(spans)


async def test_no_span_lasts_while_a_task_waits_and_the_work_after_the_answer_is_linked(spans: Spans) -> None:
    agent = Agent("Asking", "Asks.")

    @agent.skill()
    async def ask(turn: Turn) -> Completed:
        """Ask twice."""
        await turn.ask("first?")
        with trace.get_tracer("author").start_as_current_span("between"):
            await turn.ask("second?")
        with trace.get_tracer("author").start_as_current_span("after"):
            return Completed("done")

    async with serving(agent) as served, connect(served.server.grpc_address) as client:
        task = await client.send("begin")
        assert isinstance(task, Task)
        assert task.status.state == INPUT_REQUIRED
        assert spans.names == ["client SendStreamingMessage", "internal run ask", "server SendStreamingMessage"]
        for answer in ("one", "two"):
            task = await client.send(answer, task_id=task.id)
            assert isinstance(task, Task)
        assert task.status.state == COMPLETED
    first, second, third = (span for span in spans.all if span.name == "run ask")
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    assert [link.context.span_id for link in third.links] == [second.context.span_id]
    assert len({span.context.trace_id for span in (first, second, third)}) == 3  # each message is a call of its own
    own = {span.name: span for span in spans.all}
    assert own["between"].parent.span_id == second.context.span_id
    assert own["after"].parent.span_id == second.context.span_id, "the span around the question stayed the current one"


@covers("P17")
async def test_a_run_that_is_begun_again_after_a_restart_is_in_the_same_trace_and_linked(
    spans: Spans, tmp_path: Path
) -> None:
    begun: list[int] = []
    may_end = asyncio.Event()
    settings = ServerSettings(
        listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0, store=f"sqlite:///{tmp_path}/tasks.db"
    )

    def working() -> Agent:
        agent = Agent("Working", "Works.", resumable=True)

        @agent.skill()
        async def work(turn: Turn) -> str:
            """Work until it may end."""
            begun.append(turn.attempt)
            await may_end.wait()
            return "done"

        return agent

    async with Server(working(), settings) as server:
        async with connect(server.grpc_address) as client:
            task = await client.start("hello")
            assert isinstance(task, Task)
            await eventually(lambda: _equal(len(begun), 1))
    async with Server(working(), settings) as server:
        await eventually(lambda: _equal(len(begun), 2))
        may_end.set()
        async with connect(server.grpc_address) as client:
            await client.wait(task.id)
    first, second = (span for span in spans.all if span.name == "run work")
    assert first.status.status_code is StatusCode.ERROR
    assert (first.attributes["error.type"], second.attributes["a2a.task.state"]) == ("lost", "TASK_STATE_COMPLETED")
    assert second.context.trace_id == first.context.trace_id
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


@covers("META-6")
async def test_a_webhook_and_a_callback_that_another_process_delivers_belong_to_the_trace_of_the_run(
    spans: Spans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2a_grpc.server.pushing.LAST_S", 0.0)
    monkeypatch.setattr("a2a_grpc.push.sender.MAX_COURIERS", 1)  # the first process comes to the webhook only
    stopped = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        await stopped.wait()
        return web.Response(status=503)

    def both_are_tried() -> None:
        verdicts = {span.name: (span.attributes or {}).get("a2a_grpc.push.verdict") for span in spans.all}
        assert (verdicts.get("push webhook"), verdicts.get("push callback")) == ("delivered", "retry")

    store = f"sqlite:///{tmp_path}/tasks.db"
    async with hook() as receiver:
        receiver.answer = hanging
        async with notifying(helper(), store=store) as one, connect(one.server.grpc_address) as client:
            task = await client.send("hello", push_config=config_for(receiver))
            assert isinstance(task, Task)
            await asked(receiver, 1)
            nobody = TaskPushNotificationConfig(task_id=task.id, url=f"grpc://127.0.0.1:{free_port()}")
            await client.create_push_config(nobody)
        stopped.set()
        receiver.answer = None
        async with notifying(helper(), store=store):
            await eventually(both_are_tried)
    run = spans.of("internal", "run help")
    pushed = [span for span in spans.all if span.name.startswith("push")]
    assert {(span.context.trace_id, span.parent and span.parent.span_id) for span in pushed if span.context} == {
        (run.context.trace_id, run.context.span_id)
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '{"traceparent":1}', "[" * 100_000, '{"call":"x","run":["x"]}'])
def test_a_damaged_trace_in_a_store_is_no_trace(text: str) -> None:
    found = [of_text(text), of_w3c(stored(text).get("call")), of_w3c(stored(text).get("run"))]
    assert not any(trace.get_current_span(context).get_span_context().is_valid for context in found)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.first
async def test_thousands_of_streams_leave_no_context_and_no_span_behind(
    spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    count, width = STREAMS, 50
    async with serving(helper()) as served, connect(served.server.grpc_address) as client:

        async def some(number: int) -> None:
            for each in range(count // width):
                async with client.stream("hello") as stream:
                    async for _ in stream:
                        if (each + number) % 3 == 0:
                            break  # it is left

        await asyncio.gather(*map(some, range(width)))
        await eventually(lambda: _equal(served.server.is_idle, True))
    ended = [span.name for span in spans.all]
    assert ended.count("SendStreamingMessage") == 2 * count
    assert ended.count("run help") == count
    assert [said for said in caplog.messages if "detach" in said] == []


def _equal(seen: object, expected: object) -> None:
    assert seen == expected
