"""This package's client as the gRPC transport of the official SDK's `ClientFactory`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from a2a_grpc.adapters.missing import needed
from a2a_grpc.client import Client, SendOptions, TaskStream, connect
from a2a_grpc.client.headers import Metadata
from a2a_grpc.errors import A2AError, DeadlineExceededError
from a2a_grpc.lifecycle import Event
from a2a_grpc.parts import to_dict
from a2a_grpc.protocol import Key
from a2a_grpc.wire import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
)

needed("a2a.client", "a2a-sdk")
from a2a.client import ClientCallContext, ClientConfig, ClientFactory  # noqa: E402
from a2a.client.errors import A2AClientError, A2AClientTimeoutError  # noqa: E402
from a2a.client.transports.base import ClientTransport  # noqa: E402
from a2a.utils.constants import TransportProtocol  # noqa: E402
from a2a.utils.errors import A2A_REASON_TO_ERROR  # noqa: E402


def register(factory: ClientFactory, **options: Any) -> None:
    """Have the clients of a factory call agents over gRPC with this package's client.

    They then resume streams after a lost connection, and repeat calls that are safe to repeat. Other bindings of the
    factory stay as they are.

    Example:
        factory = ClientFactory(ClientConfig(supported_protocol_bindings=["GRPC"]))
        register(factory)
        client = factory.create(card)

    Args:
        factory: The factory, before it makes clients.
        **options: The arguments of `connect`, except `target`.
    """

    def produce(card: AgentCard, url: str, config: ClientConfig) -> "GrpcTransport":
        tenant = next((each.tenant for each in card.supported_interfaces if each.url == url and each.tenant), None)
        return GrpcTransport(connect(url, **options | ({"tenant": tenant} if tenant else {})))

    factory.register(TransportProtocol.GRPC, produce)


class GrpcTransport(ClientTransport):  # type: ignore[misc]  # the SDK is not checked
    """The eleven calls of the protocol by a client of this package. Closing the transport closes the client.

    Errors are those of the SDK: the class that stands for the reason of the agent's error, otherwise A2AClientError.

    Args:
        client: The client.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send_message(
        self, request: SendMessageRequest, *, context: ClientCallContext | None = None
    ) -> SendMessageResponse:
        """Send a message. Wait until the task is settled, unless the request has `return_immediately`."""
        send = self._client.start if request.configuration.return_immediately else self._client.send
        async with _limited(context):
            answer = await send(request.message, **_options(request, context))
        return SendMessageResponse(message=answer) if isinstance(answer, Message) else SendMessageResponse(task=answer)

    def send_message_streaming(
        self, request: SendMessageRequest, *, context: ClientCallContext | None = None
    ) -> AsyncGenerator[StreamResponse]:
        """Send a message. Give the events of its task."""
        return _elements(lambda: self._client.stream(request.message, **_options(request, context)), context)

    def subscribe(
        self, request: SubscribeToTaskRequest, *, context: ClientCallContext | None = None
    ) -> AsyncGenerator[StreamResponse]:
        """Give the events of a task that exists."""
        return _elements(lambda: self._client.subscribe(request.id, headers=_headers(context)), context)

    async def get_task(self, request: GetTaskRequest, *, context: ClientCallContext | None = None) -> Task:
        """Return a task."""
        length = request.history_length if request.HasField("history_length") else None
        async with _limited(context):
            return await self._client.get(request.id, history_length=length, headers=_headers(context))

    async def list_tasks(
        self, request: ListTasksRequest, *, context: ClientCallContext | None = None
    ) -> ListTasksResponse:
        """Return a page of the caller's tasks."""
        return cast(ListTasksResponse, await self._unary("ListTasks", request, context))

    async def cancel_task(self, request: CancelTaskRequest, *, context: ClientCallContext | None = None) -> Task:
        """Cancel a task. Return it."""
        async with _limited(context):
            return await self._client.cancel(request.id, metadata=to_dict(request.metadata), headers=_headers(context))

    async def create_task_push_notification_config(
        self, request: TaskPushNotificationConfig, *, context: ClientCallContext | None = None
    ) -> TaskPushNotificationConfig:
        """Have the agent call a URL with the events of a task."""
        return cast(TaskPushNotificationConfig, await self._unary("CreateTaskPushNotificationConfig", request, context))

    async def get_task_push_notification_config(
        self, request: GetTaskPushNotificationConfigRequest, *, context: ClientCallContext | None = None
    ) -> TaskPushNotificationConfig:
        """Return a push config of a task."""
        return cast(TaskPushNotificationConfig, await self._unary("GetTaskPushNotificationConfig", request, context))

    async def list_task_push_notification_configs(
        self, request: ListTaskPushNotificationConfigsRequest, *, context: ClientCallContext | None = None
    ) -> ListTaskPushNotificationConfigsResponse:
        """Return a page of the push configs of a task."""
        method = "ListTaskPushNotificationConfigs"
        return cast(ListTaskPushNotificationConfigsResponse, await self._unary(method, request, context))

    async def delete_task_push_notification_config(
        self, request: DeleteTaskPushNotificationConfigRequest, *, context: ClientCallContext | None = None
    ) -> None:
        """Delete a push config of a task."""
        await self._unary("DeleteTaskPushNotificationConfig", request, context)

    async def get_extended_agent_card(
        self, request: GetExtendedAgentCardRequest, *, context: ClientCallContext | None = None
    ) -> AgentCard:
        """Return the card that the agent shows to this caller."""
        return cast(AgentCard, await self._unary("GetExtendedAgentCard", request, context))

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def _unary(self, method: str, request: Any, context: ClientCallContext | None) -> Any:
        async with _limited(context):
            return await self._client._calls.unary(method, request, metadata=_headers(context))


async def _elements(
    begin: Callable[[], TaskStream], context: ClientCallContext | None
) -> AsyncGenerator[StreamResponse]:
    timeout_s = context.timeout if context is not None else None
    end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
    with _errors_of_sdk():
        async with begin() as events:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                yield _element(event)


def _element(event: Event) -> StreamResponse:
    match event:
        case Task():
            return StreamResponse(task=event)
        case Message():
            return StreamResponse(message=event)
        case TaskArtifactUpdateEvent():
            return StreamResponse(artifact_update=event)
    return StreamResponse(status_update=event)


def _options(request: SendMessageRequest, context: ClientCallContext | None) -> SendOptions:
    configuration = request.configuration
    options: SendOptions = {"headers": _headers(context)}
    if configuration.accepted_output_modes:
        options["accepted_output_modes"] = list(configuration.accepted_output_modes)
    if configuration.HasField("history_length"):
        options["history_length"] = configuration.history_length
    if configuration.HasField("task_push_notification_config"):
        options["push_config"] = configuration.task_push_notification_config
    if metadata := to_dict(request.metadata):
        options["metadata"] = metadata
    return options


def _headers(context: ClientCallContext | None) -> Metadata:
    """Return the gRPC metadata of a call. The client sends the version of the protocol itself."""
    given = (context.service_parameters or {}) if context is not None else {}
    return tuple((key.lower(), value) for key, value in given.items() if key.lower() != Key.VERSION)


@asynccontextmanager
async def _limited(context: ClientCallContext | None) -> AsyncIterator[None]:
    """Raise the errors of the SDK. End the call after the time that the caller has set."""
    with _errors_of_sdk():
        async with asyncio.timeout(context.timeout if context is not None else None):
            yield


@contextmanager
def _errors_of_sdk() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise A2AClientTimeoutError("the call took longer than its timeout") from error
    except DeadlineExceededError as error:
        raise A2AClientTimeoutError(error.message) from error
    except A2AError as error:
        kind = A2A_REASON_TO_ERROR.get(error.reason, A2AClientError)
        data = {"errors": [each._asdict() for each in error.violations]} if error.violations else None
        raise kind(error.message, data=data) from error
