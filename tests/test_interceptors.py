"""gRPC's interceptors on a server: what they say of a call's metadata is what the call says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorServer, aio_server_interceptor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from a2a_grpc import Server, ServerSettings
from a2a_grpc.lifecycle import CANCELED, COMPLETED
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest, SubscribeToTaskRequest
from tests.covers import covers
from tests.harness import V1, elements, event_state, eventually, refusal, request, scripted, scripted_agent

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class SpeaksForTheCaller(grpc.aio.ServerInterceptor):
    """Adds the version to calls of clients that cannot."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        metadata = (*handler_call_details.invocation_metadata, *V1)
        return await continuation(type(handler_call_details)(handler_call_details.method, metadata))


class LooksUpElsewhere(grpc.aio.ServerInterceptor):
    """Asks for the method in a task of its own."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        async def ask() -> Any:
            return await continuation(handler_call_details)

        return await asyncio.create_task(ask())


class Awaits(grpc.aio.ServerInterceptor):
    """Awaits what the behavior of a stream returns."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if not handler.unary_stream:
            return handler

        async def behavior(request: Any, context: Any) -> None:
            await handler.unary_stream(request, context)

        return grpc.unary_stream_rpc_method_handler(behavior)


class Echoes(grpc.aio.ServerInterceptor):
    """Answers each call with its request, in a thread, since its function is no coroutine function."""

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda raw, context: raw)


@asynccontextmanager
async def opened(
    *interceptors: grpc.aio.ServerInterceptor, **settings: Any
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    given = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0, **settings)
    async with Server(scripted_agent(), given, interceptors=interceptors) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            yield server, channel


@asynccontextmanager
async def serving(*interceptors: grpc.aio.ServerInterceptor, **settings: Any) -> AsyncIterator[A2AServiceStub]:
    async with opened(*interceptors, **settings) as (_, channel):
        yield A2AServiceStub(channel)


@covers("Q11")
async def test_a_call_says_what_an_interceptor_makes_it_say() -> None:
    async with serving(SpeaksForTheCaller()) as stub:
        sent = await stub.SendMessage(request())
        assert (await stub.GetTask(GetTaskRequest(id=sent.task.id))).id == sent.task.id


async def test_a_call_whose_method_is_looked_up_in_another_task_keeps_its_metadata() -> None:
    async with serving(LooksUpElsewhere()) as stub:
        assert (await stub.SendMessage(request(), metadata=V1)).task.id
        with pytest.raises(grpc.aio.AioRpcError, match="a2a-version"):
            await stub.SendMessage(request())


async def test_a_function_of_an_interceptor_gets_a_compressed_request_as_it_was() -> None:
    async with opened(Echoes()) as (_, channel):
        call: Any = channel.unary_unary("/a.B/C")
        assert await call(b"x" * 1000, metadata=V1, compression=grpc.Compression.Gzip) == b"x" * 1000


async def test_each_of_many_calls_at_a_time_keeps_its_own_metadata() -> None:
    async with serving() as stub:

        async def send(metadata: tuple[tuple[str, str], ...]) -> grpc.StatusCode:
            try:
                await stub.SendMessage(request(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        codes = await asyncio.gather(*(send(V1 if number % 2 else ()) for number in range(64)))
    assert codes == [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OK] * 32


# -- OpenTelemetry, as its own library does it


class Traced:
    """Where spans go, and the interceptors that a program gives to its server for them."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._spans = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.interceptors: tuple[grpc.aio.ServerInterceptor, ...] = ()

    @property
    def names(self) -> list[str]:
        """The spans that have ended, by the methods that they are about."""
        return [span.name.rpartition("/")[2] for span in self._spans.get_finished_spans()]


@pytest.fixture(params=["instrumentor", "interceptor"])
def traced(request: pytest.FixtureRequest) -> Iterator[Traced]:
    traced = Traced()
    if request.param == "interceptor":
        traced.interceptors = (aio_server_interceptor(tracer_provider=traced.provider),)
        yield traced
        return
    instrumentor = GrpcAioInstrumentorServer()
    instrumentor.instrument(tracer_provider=traced.provider)  # what `opentelemetry-instrument` calls
    yield traced
    instrumentor.uninstrument()


@covers("META-6")
async def test_streams_and_calls_work_under_opentelemetry_and_each_has_its_span(traced: Traced) -> None:
    async with serving(*traced.interceptors) as stub:
        sent = await stub.SendMessage(request(), metadata=V1)
        assert sent.task.status.state == COMPLETED
        streamed = await elements(stub.SendStreamingMessage(scripted({"chunks": {"count": 300}}), metadata=V1))
        assert [event.artifact_update.artifact.parts[0].text for event in streamed[2:-1]] == [
            f"chunk {number} " for number in range(300)
        ]
        assert event_state(streamed[-1]) == COMPLETED
        resumed = stub.SubscribeToTask(
            SubscribeToTaskRequest(id=streamed[0].task.id), metadata=(*V1, ("a2a-grpc-after", "300"))
        )
        assert await elements(resumed) == streamed[-3:]
    await eventually(lambda: _equal(traced.names, ["SendMessage", "SendStreamingMessage", "SubscribeToTask"]))


async def test_refusals_keep_their_status_under_opentelemetry(traced: Traced) -> None:
    async with opened(*traced.interceptors) as (_, channel):
        stub = A2AServiceStub(channel)
        for call in (
            stub.GetTask(GetTaskRequest(id="t-0"), metadata=V1),
            stub.SubscribeToTask(SubscribeToTaskRequest(id="t-0"), metadata=V1),
        ):
            refused = await refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TASK_NOT_FOUND")
        unknown: Any = channel.unary_stream("/lf.a2a.v1.A2AService/Unknown")
        assert (await refusal(unknown(b""))).code == grpc.StatusCode.UNIMPLEMENTED
        metadata = (*V1, *((f"x-{number}", "x" * 1000) for number in range(20)))
        refused = await refusal(stub.SendStreamingMessage(request(), metadata=metadata))
        assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_health_is_watched_and_reflection_answers_under_opentelemetry(traced: Traced) -> None:
    async with opened(*traced.interceptors) as (_, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        listing = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await listing.write(asked)
        names = [service.name for service in (await listing.read()).list_services_response.service]
        assert "lf.a2a.v1.A2AService" in names
        listing.cancel()


LEFT = {"while it waits": [{"sleep": 60}], "while it writes": [{"chunks": {"count": 100_000}}, {"sleep": 60}]}


@covers("P3")
@pytest.mark.parametrize("steps", LEFT.values(), ids=LEFT)
async def test_a_client_that_leaves_its_stream_leaves_nothing_behind_under_opentelemetry(
    traced: Traced, steps: Any
) -> None:
    async with opened(*traced.interceptors, cancel_on_disconnect=True) as (server, channel):
        stub = A2AServiceStub(channel)
        call = stub.SendStreamingMessage(scripted(*steps), metadata=V1)
        task_id = (await call.read()).task.id
        await call.read()
        call.cancel()

        async def canceled() -> None:
            task = await stub.GetTask(GetTaskRequest(id=task_id), metadata=V1)
            assert task.status.state == CANCELED

        await eventually(canceled)
        await eventually(lambda: _equal(server.is_idle, True))


async def test_an_interceptor_may_await_the_behavior_of_a_stream() -> None:
    async with serving(Awaits()) as stub:
        streamed = await elements(stub.SendStreamingMessage(scripted({"chunks": {"count": 3}}), metadata=V1))
        assert event_state(streamed[-1]) == COMPLETED


def _equal(seen: object, expected: object) -> None:
    assert seen == expected
