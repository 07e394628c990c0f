"""gRPC's interceptors on a server: what they say of a call's metadata is what the call says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from a2a_grpc import Server, ServerSettings
from a2a_grpc.wire import A2AServiceStub, GetTaskRequest
from tests.harness import V1, request, scripted_agent

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


@asynccontextmanager
async def serving(*interceptors: grpc.aio.ServerInterceptor) -> AsyncIterator[A2AServiceStub]:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off", drain_grace_s=0.0)
    async with Server(scripted_agent(), settings, interceptors=interceptors) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            yield A2AServiceStub(channel)


async def test_a_call_says_what_an_interceptor_makes_it_say() -> None:
    async with serving(SpeaksForTheCaller()) as stub:
        sent = await stub.SendMessage(request())
        assert (await stub.GetTask(GetTaskRequest(id=sent.task.id))).id == sent.task.id


async def test_a_call_whose_method_is_looked_up_in_another_task_keeps_its_metadata() -> None:
    async with serving(LooksUpElsewhere()) as stub:
        assert (await stub.SendMessage(request(), metadata=V1)).task.id
        with pytest.raises(grpc.aio.AioRpcError, match="a2a-version"):
            await stub.SendMessage(request())


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
