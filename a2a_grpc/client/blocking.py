"""The client for programs without an event loop: the operations of `Client` as plain functions."""

import inspect
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from a2a_grpc.arguments import checked
from a2a_grpc.client.client import Client
from a2a_grpc.client.connecting import connect
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.portal import Portal
from a2a_grpc.client.sending import SendOptions, shows_options
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.client.waiting import Strategy
from a2a_grpc.lifecycle import Event
from a2a_grpc.parts import Contents, Json
from a2a_grpc.wire import AgentCard, Message, Task, TaskPushNotificationConfig, TaskState

T = TypeVar("T")


class BlockingStream:
    """The events of one task, to read with `for`. `BlockingClient.stream` and `BlockingClient.subscribe` return it.

    Leaving the `with` block, or dropping the stream, ends the call at once. The agent's task goes on. Reading raises
    what reading a `TaskStream` raises.

    Attributes:
        source: The stream that this one reads. Its `task`, `state` and `seq` can be read between two events.
    """

    def __init__(self, portal: Portal, stream: TaskStream) -> None:
        self._portal = portal
        self.source = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """End the call of a stream that was not closed, in the thread that it belongs to."""
        if hasattr(self, "_portal"):
            self._portal.call_soon(self.source.close)

    def close(self) -> None:
        """End the call. The agent's task goes on. `with` calls this."""
        self._portal.call_soon(self.source.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        for event in self._portal.iterate(self.source):
            return event
        raise StopIteration


def _documented(kind: type[T]) -> type[T]:
    """Give the methods of a class that have no docstrings those of `Client`. Return the class."""
    for name, member in vars(kind).items():
        if inspect.isfunction(member) and not name.startswith("_") and not member.__doc__:
            member.__doc__ = getattr(Client, name).__doc__
    return kind


@_documented
@shows_options
@checked(ClientSettings)
class BlockingClient:
    """A client for programs without an event loop. It has the operations of `Client` as plain functions.

    Use it in a `with` block. Any number of threads may use one client at the same time. Lists and streams are read with
    `for`. The connection lives in a thread of its own, which `close` ends. The guarantees and errors are those of
    `Client`.

    Example:
        with BlockingClient("127.0.0.1:50051") as agent:
            task = agent.send("Translate 'hello' to French")

    Args:
        target: The agent, as `connect` takes it.
        portal: A thread with an event loop that several clients share. It is not closed with the client. By default the
            client has its own. `ClientManager` gives its clients a common one.
        **arguments: The other arguments of `connect`: credentials and so on, and fields of ClientSettings.

    Raises:
        ConfigurationError: The target or a setting cannot be used.
        TypeError: No setting has a name that was given, or an argument has a wrong type.

    Attributes:
        client: The `Client` that does the work. It belongs to the event loop of the other thread.
    """

    def __init__(self, target: str, *, portal: Portal | None = None, **arguments: object) -> None:
        self._owns_portal = portal is None
        keywords: dict[str, Any] = arguments
        client = connect(target, **keywords)
        self._portal = portal or Portal()
        self.client = client

    def __enter__(self) -> Self:
        try:
            self._portal.call(self.client.__aenter__())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, for good. The agent's tasks go on. `with` calls this.

        Open calls end with a RuntimeError.
        """
        with suppress(RuntimeError):  # it is closed already
            self._portal.call(self.client.close())
        if self._owns_portal:
            self._portal.close()

    def send(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        return self._portal.call(self.client.send(content, **options))

    def start(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        return self._portal.call(self.client.start(content, **options))

    def stream(self, content: Contents | Message, **options: Unpack[SendOptions]) -> BlockingStream:
        return BlockingStream(self._portal, self.client.stream(content, **options))

    def subscribe(
        self, task_id: str, *, after: int | None = None, max_lost: int | None = None, headers: Metadata = ()
    ) -> BlockingStream:
        stream = self.client.subscribe(task_id, after=after, max_lost=max_lost, headers=headers)
        return BlockingStream(self._portal, stream)

    def get(
        self, task_id: str, *, history_length: int | None = None, artifacts: bool = True, headers: Metadata = ()
    ) -> Task:
        getting = self.client.get(task_id, history_length=history_length, artifacts=artifacts, headers=headers)
        return self._portal.call(getting)

    def list(
        self,
        *,
        context_id: str = "",
        status: TaskState = TaskState.TASK_STATE_UNSPECIFIED,
        since: datetime | None = None,
        page_size: int | None = None,
        history_length: int | None = None,
        include_artifacts: bool = False,
    ) -> Iterator[Task]:
        pages = self.client.list(
            context_id=context_id,
            status=status,
            since=since,
            page_size=page_size,
            history_length=history_length,
            include_artifacts=include_artifacts,
        )
        return self._portal.iterate(pages)

    def cancel(self, task_id: str, *, metadata: dict[str, Json] | None = None, headers: Metadata = ()) -> Task:
        return self._portal.call(self.client.cancel(task_id, metadata=metadata, headers=headers))

    def wait(self, task: Task | str, *, strategy: Strategy = "auto", poll_s: float | None = None) -> Task:
        return self._portal.call(self.client.wait(task, strategy=strategy, poll_s=poll_s))

    def create_push_config(self, config: TaskPushNotificationConfig) -> TaskPushNotificationConfig:
        return self._portal.call(self.client.create_push_config(config))

    def get_push_config(self, task_id: str, config_id: str) -> TaskPushNotificationConfig:
        return self._portal.call(self.client.get_push_config(task_id, config_id))

    def list_push_configs(self, task_id: str) -> Iterator[TaskPushNotificationConfig]:
        return self._portal.iterate(self.client.list_push_configs(task_id))

    def delete_push_config(self, task_id: str, config_id: str) -> None:
        self._portal.call(self.client.delete_push_config(task_id, config_id))

    def card(self) -> AgentCard:
        return self._portal.call(self.client.card())

    def extended_card(self) -> AgentCard:
        return self._portal.call(self.client.extended_card())
