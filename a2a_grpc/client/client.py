"""A remote agent's operations."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack, cast

import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc import lifecycle
from a2a_grpc.arguments import checked, checking
from a2a_grpc.client.calls import Calls, Metadata
from a2a_grpc.client.connection import Connection, Link
from a2a_grpc.client.credentials import Credentials
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.pages import Pages
from a2a_grpc.client.sending import SendOptions, send_headers, send_request, with_history
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.client.waiting import poll
from a2a_grpc.config import load, refuse_unknown
from a2a_grpc.errors import A2AError, TaskNotCancelableError, UnavailableError, UnsupportedOperationError
from a2a_grpc.parts import Contents, Json, struct
from a2a_grpc.protocol import NO_ARTIFACTS, Key
from a2a_grpc.wire import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    SendMessageRequest,
    SendMessageResponse,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)

CONNECT_ARGUMENTS = ("credentials", "headers", "extensions", "interceptors", "cards")
"""What `connect` takes beside settings."""


@checking
def connect(
    target: str,
    *,
    credentials: Credentials | None = None,
    headers: Metadata = (),
    extensions: Sequence[str] = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    cards: Cards | None = None,
    **settings: object,
) -> "Client":
    """A client of the agent at `target`: `HOST:PORT`, `grpc://`, `grpcs://`, `dns:///`, `unix:`, `http(s)://` (its
    card), or the path of a card.

        async with connect("https://agents.example") as agent:
            task = await agent.send("Translate 'hello' to French")

    TLS beyond loopback, unless `plaintext` is set. `credentials` are asked before every call: `bearer(…)`,
    `api_key(…)`. `headers` and `extensions` (URIs, EXT-1) go with every call. `interceptors` are gRPC's own: they see
    all calls and may add metadata. `settings` are fields of ClientSettings; each is also an environment variable
    `A2A_GRPC_<FIELD>`.

    Raises ConfigurationError for a target or a setting that cannot be.
    """
    return Client(
        target,
        load_settings(settings),
        credentials=credentials,
        headers=headers,
        extensions=extensions,
        interceptors=interceptors,
        cards=cards,
    )


def load_settings(settings: Mapping[str, object]) -> ClientSettings:
    """Settings over the environment. Raises TypeError for a name that no setting has."""
    refuse_unknown(settings, ClientSettings, also=CONNECT_ARGUMENTS)
    return load(ClientSettings, settings)


@checked(ClientSettings)
class Client:
    """What an agent offers. Made by `connect`; used in an `async with` block, which opens and closes its connection.

    Guarantees:

    - A dropped connection is bridged: unary calls are tried again while no agent answers (a send only if that cannot
      make a second task), streams and waits go on where they were.
    - Canceling whoever awaits an operation cancels its RPC, never the agent's task.
    - Every failure is an A2AError of the class that its reason names.

    Belongs to one event loop.
    """

    def __init__(
        self,
        target: str,
        settings: ClientSettings | None = None,
        *,
        credentials: Credentials | None = None,
        headers: Metadata = (),
        extensions: Sequence[str] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        cards: Cards | None = None,
    ) -> None:
        self.target = target
        self._connection = Connection(target, settings or ClientSettings(), cards=cards, interceptors=interceptors)
        self._calls = Calls(self._connection, credentials=credentials, metadata=headers, extensions=extensions)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what is under way and closes the connection. Tasks go on."""
        await self._connection.close()

    @property
    def settings(self) -> ClientSettings:
        """The settings it was made with."""
        return self._connection.settings

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, for stubs of other services. Raises RuntimeError before the block is entered."""
        if self._connection.link is None:
            raise RuntimeError("the client is not open; use it in an 'async with' block")
        return self._connection.link.channel

    async def link(self, request: ProtobufMessage | None = None) -> Link:
        """The open connection: address, encryption, tenant, card. A request, if given, gets the tenant."""
        return await self._calls.open(request)

    async def metadata(self) -> list[tuple[str, str]]:
        """The metadata that a call of this client carries, credentials included: for stubs of other services."""
        return await self._calls.merged()

    async def check_encryption(self) -> None:
        """Looks at the agent's TLS before the first call, where this client uses TLS. Raises UnreachableError that says
        what does not fit: gRPC tells of it late, and its core in a log of its own."""
        if (await self._connection.open()).tls:
            await self._calls.unreachable(UnavailableError(), self.settings.connect_timeout_s)

    async def explained(self, error: A2AError) -> A2AError:
        """The error, or why the agent was not reached, where that is what it says."""
        if isinstance(error, UnavailableError) and not self._calls.was_reached:
            return await self._calls.unreachable(error, self.settings.connect_timeout_s)
        return error

    # -- messages

    async def send(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        """Sends a message and waits, as long as it takes, until the task has ended or the agent waits for somebody.

        The task as it is then, or the agent's bare Message. A streaming call underneath, so that a lost connection or a
        restarted server is survived; an agent that does not stream is asked from time to time.
        """
        request = send_request(content, options)
        options = {**options, "idempotency_key": options.get("idempotency_key") or str(uuid.uuid4())}
        return with_history(await self._send_and_follow(request, options), options)

    async def start(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        """Sends a message and returns at once: the task as it begins, or the agent's bare Message."""
        return await self._start(send_request(content, options), options)

    def stream(self, content: Contents | Message, **options: Unpack[SendOptions]) -> TaskStream:
        """Sends a message; its events as they come, whatever happens to the connection."""
        return self._stream(send_request(content, options), options)

    # -- tasks

    def subscribe(self, task_id: str, *, after: int | None = None, headers: Metadata = ()) -> TaskStream:
        """The events of a task: the Task as it is, then what changes, until it has ended. With `after` the events after
        that seq instead, from a server that offers it. Of an ended task: the Task."""
        return TaskStream(self._calls, task_id=task_id, after=after, metadata=headers)

    async def get(
        self, task_id: str, *, history_length: int | None = None, artifacts: bool = True, headers: Metadata = ()
    ) -> Task:
        """Return the task as it is now, with its `history_length` most recent messages (default: all).

        Without `artifacts` the task has none: a server of this project does not send them, and what another server
        sends is dropped here. Raises TaskNotFoundError; ResourceExhaustedError for a task over `max_response_bytes`.
        """
        request = GetTaskRequest(id=task_id, history_length=history_length)
        metadata = headers if artifacts else (*headers, (Key.ARTIFACTS, NO_ARTIFACTS))
        task = cast(Task, await self._calls.unary("GetTask", request, metadata=metadata))
        if not artifacts:
            task.ClearField("artifacts")
        return task

    def list(
        self,
        *,
        context_id: str = "",
        status: TaskState = TaskState.TASK_STATE_UNSPECIFIED,
        since: datetime | None = None,
        page_size: int | None = None,
        history_length: int | None = None,
        include_artifacts: bool = False,
    ) -> Pages[Task]:
        """Return the caller's tasks on all pages, the most recently changed first, to iterate over with `async for`; a
        page is asked for when it is needed. `total` of what is returned says how many tasks there are.

        `since` (an aware datetime) leaves out tasks whose status is older.
        """
        request = ListTasksRequest(
            context_id=context_id,
            status=status,
            page_size=page_size,
            history_length=history_length,
            include_artifacts=include_artifacts,
        )
        if since is not None:
            request.status_timestamp_after.FromDatetime(since)
        return Pages(self._calls, "ListTasks", request, "tasks")

    async def cancel(self, task_id: str, *, metadata: dict[str, Json] | None = None, headers: Metadata = ()) -> Task:
        """Has the agent stop: the task as it is then. Raises TaskNotFoundError or TaskNotCancelableError."""
        request = CancelTaskRequest(id=task_id)
        if metadata:
            request.metadata.CopyFrom(struct(metadata))
        patience = self._calls.patience()
        try:
            return cast(Task, await self._calls.unary("CancelTask", request, metadata=headers, patience=patience))
        except TaskNotCancelableError:
            if not patience.may_have_acted:
                raise
            task = await self.get(task_id, headers=headers)
            if task.status.state != lifecycle.CANCELED:  # by an earlier try, whose answer was lost
                raise
            return task

    async def wait(self, task_id: str, *, poll_s: float | None = None) -> Task:
        """The task once it has ended or the agent waits for somebody, as long as it takes.

        Follows its events; with `poll_s` asks every so many seconds instead, which any proxy lets through.
        """
        if poll_s is None:
            return await self._follow(task_id)
        return await poll(self._calls, task_id, interval_s=poll_s)

    # -- push notifications

    async def create_push_config(self, config: TaskPushNotificationConfig) -> TaskPushNotificationConfig:
        """Has the agent call `config.url` with the events of task `config.task_id`; the same id replaces."""
        copy = TaskPushNotificationConfig()
        copy.CopyFrom(config)
        response = await self._calls.unary("CreateTaskPushNotificationConfig", copy, is_safe=bool(copy.id))
        return cast(TaskPushNotificationConfig, response)

    async def get_push_config(self, task_id: str, config_id: str) -> TaskPushNotificationConfig:
        """One push config of a task."""
        request = GetTaskPushNotificationConfigRequest(task_id=task_id, id=config_id)
        return cast(TaskPushNotificationConfig, await self._calls.unary("GetTaskPushNotificationConfig", request))

    def list_push_configs(self, task_id: str) -> AsyncIterator[TaskPushNotificationConfig]:
        """The push configs of a task, on all pages."""
        request = ListTaskPushNotificationConfigsRequest(task_id=task_id)
        return Pages(self._calls, "ListTaskPushNotificationConfigs", request, "configs")

    async def delete_push_config(self, task_id: str, config_id: str) -> None:
        """Has the agent call there no more."""
        request = DeleteTaskPushNotificationConfigRequest(task_id=task_id, id=config_id)
        await self._calls.unary("DeleteTaskPushNotificationConfig", request)

    # -- the agent

    async def card(self) -> AgentCard:
        """The agent's public card. Raises UnsupportedOperationError where the target is an address: gRPC has no method
        for it."""
        card = await self.public_card()
        if card is None:
            raise UnsupportedOperationError(
                f"'{self._connection.target}' is an address, and gRPC has no method for the card; "
                "connect to its http(s):// URL"
            )
        return card

    async def public_card(self) -> AgentCard | None:
        """The agent's public card; None where the target is an address."""
        return await self._connection.card()

    async def extended_card(self) -> AgentCard:
        """The card that the agent shows to this caller."""
        return cast(AgentCard, await self._calls.unary("GetExtendedAgentCard", GetExtendedAgentCardRequest()))

    async def _send_and_follow(self, request: SendMessageRequest, options: SendOptions) -> Task | Message:
        async with self._stream(request, options) as events:
            async for event in events:
                if isinstance(event, Message):
                    return event
                if events.is_paused:
                    break
        assert events.task is not None  # a send's stream ends after a message or a settled task
        return events.task

    async def _follow(self, task_id: str) -> Task:
        async with self.subscribe(task_id) as events:
            async for _ in events:
                if events.is_paused:
                    break
        assert events.task is not None  # a subscription begins with the task
        return events.task

    def _stream(self, request: SendMessageRequest, options: SendOptions) -> TaskStream:
        return TaskStream(
            self._calls, send=request, metadata=options.get("headers", ()), send_metadata=send_headers(options)
        )

    async def _start(self, request: SendMessageRequest, options: SendOptions) -> Task | Message:
        request.configuration.return_immediately = True
        metadata = (*options.get("headers", ()), *send_headers(options))
        response: SendMessageResponse = await self._calls.unary(
            "SendMessage", request, metadata=metadata, is_safe=False
        )
        return response.message if response.HasField("message") else response.task
