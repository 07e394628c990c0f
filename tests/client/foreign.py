"""An agent's server as others write them: it knows no seq and no idempotency key, and does what a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from a2a_grpc.lifecycle import element_of
from a2a_grpc.wire import (
    ROLE_AGENT,
    SERVICE_NAME,
    Artifact,
    GetTaskRequest,
    Message,
    Part,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

Event: TypeAlias = Task | Message | TaskStatusUpdateEvent | TaskArtifactUpdateEvent
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Play: TypeAlias = Callable[[Context], AsyncIterator[Event]]
"""What one streaming call gives: its elements, then its end."""
Answer: TypeAlias = Callable[[Context], Awaitable[Task | Message]]


@dataclass(slots=True)
class Foreign:
    """Scripts for the calls that may come, and what came. A call for which there is no script fails with INTERNAL."""

    sends: list[Play] = field(default_factory=list)
    """For SendStreamingMessage: the first call plays the first one."""
    subscriptions: list[Play] = field(default_factory=list)
    """For SubscribeToTask."""
    answers: list[Answer | Task | Message] = field(default_factory=list)
    """For SendMessage."""
    gets: list[Answer | Task] = field(default_factory=list)
    """For GetTask; the last one answers all further calls."""
    calls: list[str] = field(default_factory=list)
    """The methods that were called, in order."""
    requests: list[Any] = field(default_factory=list)
    address: str = ""

    async def send_streaming(self, request: SendMessageRequest, context: Context) -> AsyncIterator[StreamResponse]:
        async for element in self._played("SendStreamingMessage", self.sends, request, context):
            yield element

    async def subscribe(self, request: SubscribeToTaskRequest, context: Context) -> AsyncIterator[StreamResponse]:
        async for element in self._played("SubscribeToTask", self.subscriptions, request, context):
            yield element

    async def send(self, request: SendMessageRequest, context: Context) -> SendMessageResponse:
        answer = await self._answered("SendMessage", self.answers, request, context)
        if isinstance(answer, Task):
            return SendMessageResponse(task=answer)
        return SendMessageResponse(message=answer)

    async def get(self, request: GetTaskRequest, context: Context) -> Task:
        answer: Task = await self._answered("GetTask", self.gets, request, context)
        if not self.gets:
            self.gets.append(answer)
        return answer

    async def _played(
        self, method: str, plays: list[Play], request: Any, context: Context
    ) -> AsyncIterator[StreamResponse]:
        self.calls.append(method)
        self.requests.append(request)
        if not plays:
            await context.abort(grpc.StatusCode.INTERNAL, f"{method} was not expected")
        async for event in plays.pop(0)(context):
            yield element_of(event)

    async def _answered(self, method: str, answers: list[Any], request: Any, context: Context) -> Any:
        self.calls.append(method)
        self.requests.append(request)
        if not answers:
            await context.abort(grpc.StatusCode.INTERNAL, f"{method} was not expected")
        answer = answers.pop(0)
        return answer if isinstance(answer, Task | Message) else await answer(context)

    def handlers(self) -> grpc.GenericRpcHandler:
        stream, unary = grpc.unary_stream_rpc_method_handler, grpc.unary_unary_rpc_method_handler
        element = StreamResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "SendStreamingMessage": stream(self.send_streaming, SendMessageRequest.FromString, element),
                "SubscribeToTask": stream(self.subscribe, SubscribeToTaskRequest.FromString, element),
                "SendMessage": unary(self.send, SendMessageRequest.FromString, SendMessageResponse.SerializeToString),
                "GetTask": unary(self.get, GetTaskRequest.FromString, Task.SerializeToString),
            },
        )


@asynccontextmanager
async def foreign(**scripts: Any) -> AsyncIterator[Foreign]:
    """The server on a free port."""
    agent = Foreign(**scripts)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((agent.handlers(),))
    agent.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield agent
    finally:
        await server.stop(0)


# -- what scripts are made of


def task(state: TaskState, *texts: str, said: str = "") -> Task:
    """The task "t-1", with one artifact of these parts if there are any."""
    whole = Task(id="t-1", context_id="c-1", status=status_of(state, said))
    if texts:
        whole.artifacts.append(Artifact(artifact_id="a", parts=[Part(text=text) for text in texts]))
    return whole


def chunk(*texts: str, append: bool = True) -> TaskArtifactUpdateEvent:
    artifact = Artifact(artifact_id="a", parts=[Part(text=text) for text in texts])
    return TaskArtifactUpdateEvent(task_id="t-1", context_id="c-1", artifact=artifact, append=append)


def status(state: TaskState, said: str = "") -> TaskStatusUpdateEvent:
    return TaskStatusUpdateEvent(task_id="t-1", context_id="c-1", status=status_of(state, said))


def status_of(state: TaskState, said: str) -> TaskStatus:
    message = Message(message_id="m-2", role=ROLE_AGENT, parts=[Part(text=said)]) if said else None
    return TaskStatus(state=state, message=message)


def plays(*events: Event) -> Play:
    """These elements, then an OK end."""

    async def play(context: Context) -> AsyncIterator[Event]:
        for event in events:
            yield event

    return play


def stays_open(*events: Event) -> Play:
    """These elements, and no end."""

    async def play(context: Context) -> AsyncIterator[Event]:
        for event in events:
            yield event
        await asyncio.Event().wait()

    return play


def breaks_off(code: grpc.StatusCode, *events: Event, reason: str = "") -> Play:
    """These elements, then a status, with an ErrorInfo if there is a reason."""

    async def play(context: Context) -> AsyncIterator[Event]:
        for event in events:
            yield event
        await refuse(context, code, reason)

    return play


def refuses(code: grpc.StatusCode, reason: str = "") -> Answer:
    async def answer(context: Context) -> Task:
        await refuse(context, code, reason)
        raise AssertionError("refuse does not return")

    return answer


async def refuse(context: Context, code: grpc.StatusCode, reason: str) -> None:
    details = Status(code=code.value[0], message="no")
    if reason:
        packed = Packed()
        packed.Pack(ErrorInfo(reason=reason, domain="a2a-protocol.org"))
        details.details.append(packed)
    await context.abort(code, "no", (("grpc-status-details-bin", details.SerializeToString()),) if reason else ())
