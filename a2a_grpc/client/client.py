"""The operations of a remote agent."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack, cast

import grpc.aio
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.agent import Agent
from a2a_grpc.arguments import checked
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.connection import Connection, Link
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.operations import cancel, cancel_request, send_and_follow, start, stream_of, wait
from a2a_grpc.client.pages import Pages, list_request
from a2a_grpc.client.security import Given
from a2a_grpc.client.sending import SendOptions, send_request, shows_options
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.client.waiting import Strategy
from a2a_grpc.errors import A2AError, UnavailableError, UnsupportedOperationError
from a2a_grpc.parts import Contents, Json
from a2a_grpc.protocol import NO_ARTIFACTS, Key
from a2a_grpc.wire import (
    AgentCard,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    Message,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)


@shows_options
@checked(ClientSettings)
class Client:
    """A client of one agent, with each operation of the protocol. `connect` makes one.

    Use it in an `async with` block, which opens and closes the connection. A client belongs to one event loop. The
    methods may be called by several tasks of this loop at the same time.

    Guarantees:

    - The client repairs lost connections. Streams and waits go on after the last event. Single calls are tried again
      while no agent answers. A message is sent again only if that cannot make a second task.
    - If the Python task that awaits an operation is canceled, the call ends. The agent's task goes on.
    - Every failure of a call is an A2AError, of the class that its reason names (spec §10.6).

    Each operation may raise UnreachableError if the agent was never reached, and ConnectionLostError if the agent was
    lost for `give_up_after_s` seconds. Operations that are not streams may raise DeadlineExceededError after
    `timeout_s` seconds.

    Args:
        target: The agent, as `connect` takes it.
        settings: The settings; by default the defaults of the class. The environment is not read, as `connect` does.
        credentials: Credentials for each call, as `connect` takes them; by default none.
        headers: gRPC metadata of every call.
        extensions: The URIs of the A2A extensions to ask for in every call (spec §3.2.6).
        interceptors: Client interceptors of `grpc.aio`. They see every call.
        cards: Agent cards that several clients share; by default this client fetches the card itself.
        callback: An agent that this process serves, to be called back by `wait`, as `connect` takes it.

    Raises:
        ConfigurationError: The target is none of the forms that `connect` takes.
    """

    def __init__(
        self,
        target: str,
        settings: ClientSettings | None = None,
        *,
        credentials: Given | None = None,
        headers: Metadata = (),
        extensions: Sequence[str] = (),
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        cards: Cards | None = None,
        callback: Agent | None = None,
    ) -> None:
        self.target = target
        self._callbacks = callback.callbacks if callback is not None else None
        self._connection = Connection(
            target, settings or ClientSettings(), cards=cards, interceptors=interceptors, credentials=credentials
        )
        self._calls = Calls(self._connection, credentials=credentials, metadata=headers, extensions=extensions)

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the open calls and close the connection, for good. The agent's tasks go on. `async with` calls this."""
        await self._connection.close()

    @property
    def settings(self) -> ClientSettings:
        """The settings of the client."""
        return self._connection.settings

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of gRPC, for stubs of other services.

        Reading it raises RuntimeError before the client is open.
        """
        if self._connection.link is None:
            raise RuntimeError("the client is not open; use it in an 'async with' block")
        return self._connection.link.channel

    async def link(self, request: ProtobufMessage | None = None) -> Link:
        """Open the connection, unless it is open. Return its address, encryption, tenant and card.

        Args:
            request: A request of the protocol, whose field `tenant` the client then sets.

        Raises:
            AgentCardError: The target is a card that cannot be used.
            UnreachableError: The card cannot be fetched.
            ConfigurationError: A certificate cannot be read.
            RuntimeError: The client is closed, or was opened before a fork.
        """
        return await self._connection.open(request)

    async def metadata(self) -> list[tuple[str, str]]:
        """Return the metadata of this client's calls, with the credentials. Stubs of other services can use it."""
        return await self._calls.headers.merged()

    async def check_encryption(self) -> None:
        """Check the TLS of the agent before the first call. Do nothing if this client does not use TLS.

        Without this check gRPC reports a wrong certificate late, and in a log of its own.

        Raises:
            UnreachableError: The agent cannot be reached with TLS. The message says what does not fit.
        """
        if (await self._connection.open()).tls:
            await self._calls.contact.unreachable(UnavailableError(), self.settings.connect_timeout_s)

    async def explained(self, error: A2AError) -> A2AError:
        """Return the error of a call, or an UnreachableError with the reason if the agent was never reached.

        Args:
            error: The error of a call that a stub has made.
        """
        if isinstance(error, UnavailableError) and not self._calls.contact.was_reached:
            return await self._calls.contact.unreachable(error, self.settings.connect_timeout_s)
        return error

    # -- messages

    async def send(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        """Send a message, and wait until the task has ended or waits for its user (spec §3.1.1).

        There is no time limit. The client watches the events of the task, so the wait survives a lost connection or a
        restart of the server. If the agent does not stream, the client reads the task from time to time instead.

        Args:
            content: A text, bytes (a file), a JSON value, a dataclass, a `Part`, or a list with a `Part` in it. A
                `Message` is sent as it is.
            **options: The options of a message, as `SendOptions` lists them.

        Returns:
            The task in state COMPLETED, FAILED, CANCELED, REJECTED, INPUT_REQUIRED or AUTH_REQUIRED; or the message of
            an agent that answers without a task. FAILED, CANCELED and REJECTED are no errors here.

        Raises:
            InvalidRequestError: The agent does not accept the message. `violations` names each refused field.
            ContentTypeNotSupportedError: The agent does not take the media type of a part.
            TaskNotFoundError: The agent does not know the task of `task_id`.
            UnsupportedOperationError: The task of `task_id` has ended.
            ResourceExhaustedError: The agent still has no room for another task after the retries.
            TaskLostError: The agent was restarted and does not know the task any more.
            ConnectionLostError: The agent was lost. If its `task` is None, the agent may or may not have the message.
            TypeError: The content holds an object that cannot become JSON, or an option has a wrong type or name.
            ValueError: The content holds a value that the wire cannot carry.
        """
        return await send_and_follow(self._calls, send_request(content, options), options)

    async def start(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        """Send a message, and return as soon as the agent has accepted it (spec §3.2.2, `return_immediately`).

        This is one call, so `timeout_s` limits it. `wait` and `subscribe` wait for the task later.

        Args:
            content: What to send, as for `send`.
            **options: The options of a message, as `SendOptions` lists them.

        Returns:
            The task as it begins, or the message of an agent that answers without a task.

        Raises:
            A2AError: The agent refuses the message, with the same classes as in `send`.
            TypeError: The content holds an object that cannot become JSON, or an option has a wrong type or name.
            ValueError: The content holds a value that the wire cannot carry.
        """
        return await start(self._calls, self._connection, send_request(content, options), options)

    def stream(self, content: Contents | Message, **options: Unpack[SendOptions]) -> TaskStream:
        """Send a message, and return a stream of the events of its task (spec §3.1.2).

        Nothing is sent before the first event is read.

        Args:
            content: What to send, as for `send`.
            **options: The options of a message, as `SendOptions` lists them.

        Returns:
            The stream. The task, its state and the place of the last event can be read from it between two events.
            Reading it raises an A2AError if the agent refuses the message, with the same classes as in `send`.

        Raises:
            TypeError: The content holds an object that cannot become JSON, or an option has a wrong type or name.
            ValueError: The content holds a value that the wire cannot carry.
        """
        return stream_of(self._calls, send_request(content, options), options)

    # -- tasks

    def subscribe(
        self, task_id: str, *, after: int | None = None, max_lost: int | None = None, headers: Metadata = ()
    ) -> TaskStream:
        """Return a stream of the events of a task that exists (spec §3.1.6).

        The stream begins with the task as it is, and ends when the task has ended. For a task that has ended it has one
        event, the task.

        Args:
            task_id: The task.
            after: The place in the task after which the events begin, as `TaskStream.seq` gives it. Then the stream
                does not begin with the task. None for the task and all later events. Servers that do not number their
                events ignore it.
            max_lost: The number of connections that the stream may lose. After that the client reads the task from time
                to time, and the events are the same. None for a stream that connects again each time.
            headers: gRPC metadata of the call.

        Returns:
            The stream. Reading it raises TaskNotFoundError if the agent does not know the task.
        """
        return TaskStream(self._calls, task_id=task_id, after=after, metadata=headers, max_lost=max_lost)

    async def get(
        self, task_id: str, *, history_length: int | None = None, artifacts: bool = True, headers: Metadata = ()
    ) -> Task:
        """Return a task as it is now (spec §3.1.3).

        Args:
            task_id: The task.
            history_length: The number of messages in the history of the task, the newest ones; None for all, 0 for none
                (spec §3.2.4).
            artifacts: False to leave out all artifacts. A server of this package then does not send them. Those that
                another server sends are dropped.
            headers: gRPC metadata of the call.

        Raises:
            TaskNotFoundError: The task does not exist, was deleted after its retention, or belongs to another caller.
            ResponseTooLargeError: The task is over `max_response_bytes` or `max_response_fields` of this client.
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
        """Return the caller's tasks, the most recently changed first (spec §3.1.4).

        The client asks for a page of the list when the loop needs it. Only tasks that meet all conditions are listed.

        Args:
            context_id: Only tasks of this conversation; empty for all.
            status: Only tasks in this state, such as `TaskState.TASK_STATE_WORKING`.
            since: Only tasks whose status changed at this time or later. Give a time with a time zone.
            page_size: The number of tasks in one page, from 1 to 100; None if the server decides. The loop goes over
                all pages in any case.
            history_length: The number of messages in the history of each task, the newest ones; None for all, 0 for
                none.
            include_artifacts: True for tasks with their artifacts.

        Returns:
            The tasks, to read with a loop. Reading them raises an A2AError if a page cannot be read.
        """
        request = list_request(
            context_id=context_id,
            status=status,
            since=since,
            page_size=page_size,
            history_length=history_length,
            include_artifacts=include_artifacts,
        )
        return Pages(self._calls.unary, "ListTasks", request, "tasks")

    async def cancel(self, task_id: str, *, metadata: dict[str, Json] | None = None, headers: Metadata = ()) -> Task:
        """Cancel a task (spec §3.1.5). Return the task when the agent has stopped.

        A task that is CANCELED already is returned as it is. Servers of this package leave out of the returned task
        what does not fit into 4 MiB; `get` returns the whole task.

        Args:
            task_id: The task.
            metadata: JSON values for the agent, by key, such as the reason.
            headers: gRPC metadata of the call.

        Raises:
            TaskNotFoundError: The agent does not know the task.
            TaskNotCancelableError: The task has ended in COMPLETED, FAILED or REJECTED.
        """
        return await cancel(self._calls, cancel_request(task_id, metadata), headers)

    async def wait(self, task: Task | str, *, strategy: Strategy = "auto", poll_s: float | None = None) -> Task:
        """Wait until a task has ended or waits for its user. Return the task.

        There is no time limit. No strategy loses the result. They differ in the calls and connections that they cost:

        - `"subscribe"`: one stream of the events of the task. A lost stream is begun again, as often as needed. The
          tasks of an agent that does not stream are polled.
        - `"poll"`: the task is read from time to time. Between two looks nothing is sent.
        - `"callback"`: the agent calls back the agent that `connect` was given as `callback`. Nothing is sent
          meanwhile, except that the task is read every `callback_look_s`.
        - `"auto"`: as `"callback"` if `connect` was given an agent that can be called back, and the other agent calls
          back. Otherwise as `"subscribe"`; if `max_lost_streams` streams were lost, the task is polled. With
          `poll_s`, as `"poll"`.

        Args:
            task: The task, or its id. A task that `start` has just returned is not polled before the first interval is
                over, so that a job takes ceil(job / `poll_s`) calls. A task of which only the id is given is read at
                once, because it may have ended.
            strategy: How to wait: `"auto"`, `"subscribe"`, `"poll"` or `"callback"`.
            poll_s: Seconds between two looks at a task that is polled. By default the pauses grow from 0.1 to 5
                seconds.

        Raises:
            ValueError: `poll_s` is not positive, or was given for a strategy that does not poll. Or the strategy is
                `"callback"`, and `connect` was given no `callback`.
            ConfigurationError: The strategy is `"callback"`, and this process does not serve the agent.
            PushNotificationNotSupportedError: The strategy is `"callback"`, and the agent does not call back.
            InvalidRequestError: The strategy is `"callback"`, and the agent does not call this address.
            TaskNotFoundError: The agent does not know the task.
            TaskLostError: The agent was restarted and does not know the task any more.
            ConnectionLostError: The agent was lost for `give_up_after_s` seconds. `task` is the last known task.
        """
        return await wait(self._calls, task, strategy=strategy, poll_s=poll_s, callbacks=self._callbacks)

    # -- push notifications

    async def create_push_config(self, config: TaskPushNotificationConfig) -> TaskPushNotificationConfig:
        """Have the agent call a URL with the events of a task (spec §3.1.7). Return the config as the agent stored it.

        Args:
            config: The config, with `task_id` and `url`. A config with the same `id` is replaced. Without an id the
                agent gives one.

        Raises:
            PushNotificationNotSupportedError: The agent does not send push notifications.
            TaskNotFoundError: The agent does not know the task.
        """
        copy = TaskPushNotificationConfig()
        copy.CopyFrom(config)
        response = await self._calls.unary("CreateTaskPushNotificationConfig", copy, is_safe=bool(copy.id))
        return cast(TaskPushNotificationConfig, response)

    async def get_push_config(self, task_id: str, config_id: str) -> TaskPushNotificationConfig:
        """Return one push config of a task.

        Args:
            task_id: The task.
            config_id: The id of the config.

        Raises:
            PushNotificationNotSupportedError: The agent does not send push notifications.
            TaskNotFoundError: The agent does not know the task or the config.
        """
        request = GetTaskPushNotificationConfigRequest(task_id=task_id, id=config_id)
        return cast(TaskPushNotificationConfig, await self._calls.unary("GetTaskPushNotificationConfig", request))

    def list_push_configs(self, task_id: str) -> AsyncIterator[TaskPushNotificationConfig]:
        """Return the push configs of a task, on all pages, to read with a loop.

        Args:
            task_id: The task.
        """
        request = ListTaskPushNotificationConfigsRequest(task_id=task_id)
        return Pages(self._calls.unary, "ListTaskPushNotificationConfigs", request, "configs")

    async def delete_push_config(self, task_id: str, config_id: str) -> None:
        """Delete a push config. The agent does not call its URL any more.

        Args:
            task_id: The task.
            config_id: The id of the config.

        Raises:
            PushNotificationNotSupportedError: The agent does not send push notifications.
            TaskNotFoundError: The agent does not know the task.
        """
        request = DeleteTaskPushNotificationConfigRequest(task_id=task_id, id=config_id)
        await self._calls.unary("DeleteTaskPushNotificationConfig", request)

    # -- the agent

    async def card(self) -> AgentCard:
        """Return the card of the agent (spec §8.2). A card that is not fresh is fetched again.

        If the client has credentials and the agent offers an extended card, the first call fetches the extended card.
        From then on it is returned in place of the public card, until the version of the public card changes.

        Raises:
            UnsupportedOperationError: The target is an address, and gRPC has no method for the public card.
            AgentCardError: The card cannot be used.
            UnreachableError: The card cannot be fetched.
        """
        card = await self._calls.card()
        if card is None:
            raise UnsupportedOperationError(
                f"'{self._connection.target}' is an address, and gRPC has no method for the card; "
                "connect to its http(s):// URL"
            )
        return card

    async def public_card(self) -> AgentCard | None:
        """Return the public card of the agent; None if the target is an address.

        Raises:
            AgentCardError: The card cannot be used.
            UnreachableError: The card cannot be fetched.
        """
        return await self._connection.card()

    async def extended_card(self) -> AgentCard:
        """Return the card that the agent shows to this caller (spec §3.1.11).

        Raises:
            UnsupportedOperationError: The agent has no extended card.
            ExtendedAgentCardNotConfiguredError: The agent's card offers an extended card, but none is configured.
        """
        return cast(AgentCard, await self._calls.unary("GetExtendedAgentCard", GetExtendedAgentCardRequest()))
