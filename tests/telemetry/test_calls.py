"""The spans of calls: which there are, what they say, and how they end."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import grpc.aio
import pytest
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcAioInstrumentorServer
from opentelemetry.trace import SpanKind, StatusCode

from a2a_grpc import Agent, Server, ServerSettings, Task, Turn, connect
from a2a_grpc.errors import TaskNotFoundError
from a2a_grpc.wire import A2AServiceStub, SubscribeToTaskRequest, TaskPushNotificationConfig
from tests.covers import covers
from tests.harness import V1, eventually, message, run_program, scripted, scripted_agent, serving
from tests.ports import free_port
from tests.push.notified import notifying
from tests.telemetry.conftest import Spans, check_table

SECRET = "a-word-that-nobody-else-may-see"


def settings() -> ServerSettings:
    return ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)


def parrot() -> Agent:
    agent = Agent("Parrot", "Repeats what it hears.", version="7")

    @agent.skill()
    async def say(turn: Turn) -> str:
        """Repeat the text."""
        return turn.text

    return agent


def common(method: str) -> dict[str, Any]:
    return {
        "rpc.system.name": "grpc",
        "rpc.method": f"lf.a2a.v1.A2AService/{method}",
        "a2a.method.name": method,
        "a2a.protocol.version": "1.0",
    }


@covers("META-6", "P17")
async def test_a_call_has_one_span_at_each_side_with_the_names_of_the_conventions_and_without_content(
    spans: Spans,
) -> None:
    async with Server(parrot(), settings()) as server, connect(server.grpc_address) as client:
        host, port = server.grpc_address.split(":")
        said = message(SECRET, message_id="m-7")
        sent = await client.send(said, headers=[("authorization", f"Bearer {SECRET}")], metadata={"key": SECRET})
        assert isinstance(sent, Task)
        with pytest.raises(TaskNotFoundError):
            await client.get("t-0")
    told = {
        "a2a.message.id": "m-7", "a2a.task.id": sent.id, "a2a.task.state": "TASK_STATE_COMPLETED",
        "gen_ai.conversation.id": sent.context_id, "rpc.status_code": "OK",
    }  # fmt: skip
    agent = {"gen_ai.agent.name": "Parrot", "gen_ai.agent.version": "7"}
    at = {"server.address": host, "server.port": int(port)}
    asked, served = spans.of("client", "SendStreamingMessage"), spans.of("server", "SendStreamingMessage")
    assert dict(asked.attributes) == common("SendStreamingMessage") | at | told
    assert dict(served.attributes) == common("SendStreamingMessage") | agent | told
    assert served.parent.span_id == asked.context.span_id
    refused, refusing = spans.of("client", "GetTask"), spans.of("server", "GetTask")
    failed = {"a2a.task.id": "t-0", "rpc.status_code": "NOT_FOUND"}
    assert dict(refused.attributes) == common("GetTask") | at | failed | {"error.type": "NOT_FOUND"}
    assert refused.status.status_code is StatusCode.ERROR
    assert dict(refusing.attributes) == common("GetTask") | agent | failed
    assert refusing.status.status_code is StatusCode.UNSET  # the mistake is the caller's
    assert SECRET not in "".join(span.to_json() for span in spans.all)
    check_table(spans)


@covers("META-6", "P17")
async def test_a_subscription_has_one_span_at_each_side_as_other_streams_have(spans: Spans) -> None:
    agent = scripted_agent()
    async with Server(agent, settings()) as server, connect(server.grpc_address) as client:
        host, port = server.grpc_address.split(":")
        task = await client.start(scripted({"sleep": 60}).message)
        assert isinstance(task, Task)
        async with client.subscribe(task.id) as events:
            await anext(events)
            await client.cancel(task.id)
            async for _ in events:
                pass
    told = {
        "a2a.task.id": task.id, "a2a.task.state": "TASK_STATE_CANCELED",
        "gen_ai.conversation.id": task.context_id, "rpc.status_code": "OK",
    }  # fmt: skip
    asked, served = spans.of("client", "SubscribeToTask"), spans.of("server", "SubscribeToTask")
    assert dict(asked.attributes) == {
        **common("SubscribeToTask"), **told, "server.address": host, "server.port": int(port),
    }  # fmt: skip
    assert dict(served.attributes) == {
        **common("SubscribeToTask"), **told, "gen_ai.agent.name": agent.name, "gen_ai.agent.version": agent.version,
    }  # fmt: skip
    assert served.parent.span_id == asked.context.span_id
    check_table(spans)


async def test_the_span_of_each_call_that_finds_a_task_names_its_conversation(spans: Spans) -> None:
    answering = Agent("Answering", "Answers.")

    @answering.skill(answers="message")
    async def answer(turn: Turn) -> str:
        """Answer."""
        return turn.text

    async with serving(answering) as one, connect(one.server.grpc_address) as client:
        sent = await client.send("hello")
    assert spans.of("server", "SendStreamingMessage").attributes["gen_ai.conversation.id"] == sent.context_id
    async with notifying(scripted_agent()) as two, connect(two.server.grpc_address) as client:
        task = await client.start(scripted({"sleep": 60}).message)
        assert isinstance(task, Task)
        await client.create_push_config(
            TaskPushNotificationConfig(task_id=task.id, url=f"http://127.0.0.1:{free_port()}")
        )
        await client.get(task.id)
        await client.cancel(task.id)
        async with grpc.aio.insecure_channel(two.server.grpc_address) as channel:
            late = A2AServiceStub(channel).SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1)
            with pytest.raises(grpc.aio.AioRpcError, match="read it with GetTask"):
                await late.read()
    named = [
        span.name for span in spans.all
        if span.kind is SpanKind.SERVER and (span.attributes or {}).get("gen_ai.conversation.id") == task.context_id
    ]  # fmt: skip
    assert sorted(named) == [
        "CancelTask", "CreateTaskPushNotificationConfig", "GetTask", "SendMessage", "SubscribeToTask",
    ]  # fmt: skip
    check_table(spans)


@covers("P3")
async def test_calls_that_are_canceled_abandoned_or_late_end_their_spans(
    spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    codes: list[str] = []

    async def ended(kind: str, count: int) -> None:
        def are_ended() -> None:
            codes[:] = [str((s.attributes or {})["rpc.status_code"]) for s in spans.all if s.kind.name == kind]
            assert len(codes) == count

        await eventually(are_ended)

    async with Server(scripted_agent(), settings()) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            stub = A2AServiceStub(channel)
            # The server is to have the call before its time is over. A time of a second or more is rounded by gRPC.
            await channel.channel_ready()
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await stub.SendMessage(scripted({"sleep": 60}), metadata=V1, timeout=0.9)
            canceled = stub.SendStreamingMessage(scripted({"sleep": 60}), metadata=V1)
            await canceled.read()
            canceled.cancel()
            await ended("SERVER", 2)
            assert sorted(codes) == ["CANCELLED", "DEADLINE_EXCEEDED"]
            left = stub.SendStreamingMessage(scripted({"sleep": 60}), metadata=V1)
            await left.read()
        await ended("SERVER", 3)  # the connection was closed
        async with connect(server.grpc_address) as client:
            sending = asyncio.create_task(client.send(scripted({"sleep": 60}).message))
            await eventually(lambda: _differ(server.is_idle, True))
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            del sending
            async with client.stream(scripted({"sleep": 60}).message) as stream:
                await anext(stream)
        await ended("CLIENT", 2)
        assert codes == ["CANCELLED", "CANCELLED"]
        await ended("SERVER", 5)
    assert [said for said in caplog.messages if "detach" in said] == []


@pytest.fixture
def instrumented(spans: Spans) -> Iterator[None]:
    """What `opentelemetry-instrument` does if the instrumentation for gRPC is installed."""
    instrumentors = (GrpcAioInstrumentorServer(), GrpcAioInstrumentorClient())
    for instrumentor in instrumentors:
        instrumentor.instrument()
    yield
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


@pytest.mark.usefixtures("instrumented")
async def test_the_instrumentation_of_grpc_beside_it_doubles_no_span(spans: Spans) -> None:
    async with Server(parrot(), settings()) as server, connect(server.grpc_address) as client:
        task = await client.send("hello")
        assert isinstance(task, Task)
        await client.get(task.id)
    both = ["GetTask", "SendStreamingMessage"]
    assert [name for name in spans.names if "run" not in name] == [
        f"{kind} {method}" for kind in ("client", "server") for method in both
    ]


async def test_a_caller_that_names_a_trace_of_its_own_keeps_it(spans: Spans) -> None:
    own = f"00-{'0a' * 16}-{'b7' * 8}-01"
    async with Server(parrot(), settings()) as server:
        async with connect(server.grpc_address, headers=[("traceparent", own)]) as client:
            await client.send("hello")
    assert f"{spans.of('server', 'SendStreamingMessage').context.trace_id:032x}" == "0a" * 16


async def test_nothing_of_opentelemetry_is_imported_or_needed_without_a_provider() -> None:
    """The program runs a call to its end where OpenTelemetry is not installed, and says which modules it has."""
    assert await run_program("-c", ALONE) == (0, "TASK_STATE_COMPLETED []\n", "")


ALONE = """
import asyncio, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "prometheus_client"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from a2a_grpc import Agent, Server, ServerSettings, TaskState, connect

agent = Agent("Parrot", "Repeats.")

@agent.skill()
async def say(turn):
    "Repeat."
    return turn.text

async def main():
    async with Server(agent, ServerSettings(listen="127.0.0.1:0", http_listen="off")) as server:
        async with connect(server.grpc_address) as client:
            task = await client.send("hello")
            print(TaskState.Name(task.status.state), [name for name in sys.modules if "opentel" in name])

asyncio.run(main())
"""


def _differ(seen: object, other: object) -> None:
    assert seen != other
