"""The client for programs without an event loop: the same operations, waiting as functions do."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from a2a_grpc.arguments import checked
from a2a_grpc.client.calls import Metadata
from a2a_grpc.client.client import connect
from a2a_grpc.client.connection import closed
from a2a_grpc.client.sending import SendOptions
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.forking import FORK
from a2a_grpc.lifecycle import Event
from a2a_grpc.parts import Contents, Json
from a2a_grpc.wire import AgentCard, Message, Task, TaskPushNotificationConfig

T = TypeVar("T")

POLL_S = 0.1
"""How often a waiting thread looks up: so that Ctrl-C is heard on every platform."""


class Portal:
    """An event loop in a thread of its own, into which other threads call.

    `call` and `iterate` are safe from any thread. `close` cancels what is under way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="a2a-grpc:portal", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine over there: its result here. An interrupted wait (Ctrl-C) cancels it. Raises RuntimeError if
        the portal is closed, or gets closed meanwhile, and after a fork."""
        if self.is_forked:
            coroutine.close()
            FORK.check(self._process)
        with self._lock:
            if self._is_closed:
                coroutine.close()
                raise closed()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return _result(future)
        except concurrent.futures.CancelledError:
            raise closed() from None
        except BaseException:
            future.cancel()
            raise

    @property
    def is_forked(self) -> bool:
        """True in a process that was forked from the portal's, and that has neither its loop nor its thread."""
        return self._process != os.getpid()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Has a function run over there, some time soon; not at all once the portal is closed, nor after a fork."""
        if self.is_forked:
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """The elements of an asynchronous iterator as they come; one is asked for when it is wanted."""

        async def following() -> tuple[T, ...]:
            async for element in source:
                return (element,)
            return ()

        while element := self.call(following()):
            yield element[0]

    def close(self) -> None:
        """Cancels what is under way; ends the loop and its thread. After a fork there is nothing to close."""
        if self.is_forked:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True

        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        _result(asyncio.run_coroutine_threadsafe(end(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _result(future: "concurrent.futures.Future[T]") -> T:
    """The result, once it is there."""
    while True:
        try:
            return future.result(POLL_S)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # the coroutine's own


class BlockingStream:
    """A TaskStream to be read with `for`, in a `with` block or without.

    Leaving the block, or dropping the stream, cancels the RPC at once; the task goes on.
    """

    def __init__(self, portal: Portal, stream: TaskStream) -> None:
        self._portal = portal
        self.source = stream
        """The stream underneath: its `task`, `state`, `seq` may be read between events."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """A stream that was left without being closed is canceled too, in the thread that it belongs to."""
        if hasattr(self, "_portal"):
            self._portal.call_soon(self.source.close)

    def close(self) -> None:
        """Cancels the RPC. The task goes on."""
        self._portal.call_soon(self.source.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        for event in self._portal.iterate(self.source):
            return event
        raise StopIteration


@checked(ClientSettings)
class BlockingClient:
    """A Client for plain functions and threads. Used in a `with` block, by any number of threads at a time.

        with BlockingClient("127.0.0.1:50051") as agent:
            task = agent.send("Translate 'hello' to French")

    Takes the arguments of `connect`; guarantees what Client does. Its connection lives in a thread of its own, or in
    that of `portal`, which is not closed with it.
    """

    def __init__(self, target: str, *, portal: Portal | None = None, **arguments: object) -> None:
        self._owns_portal = portal is None
        keywords: dict[str, Any] = arguments
        client = connect(target, **keywords)
        self._portal = portal or Portal()
        self.client = client
        """The client underneath; belongs to the other thread."""

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
        """Ends what is under way, with a RuntimeError, and closes the connection. Tasks go on."""
        with suppress(RuntimeError):  # it is closed already
            self._portal.call(self.client.close())
        if self._owns_portal:
            self._portal.close()

    def send(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        """As Client.send."""
        return self._portal.call(self.client.send(content, **options))

    def start(self, content: Contents | Message, **options: Unpack[SendOptions]) -> Task | Message:
        """As Client.start."""
        return self._portal.call(self.client.start(content, **options))

    def stream(self, content: Contents | Message, **options: Unpack[SendOptions]) -> BlockingStream:
        """As Client.stream."""
        return BlockingStream(self._portal, self.client.stream(content, **options))

    def subscribe(self, task_id: str, *, after: int | None = None, headers: Metadata = ()) -> BlockingStream:
        """As Client.subscribe."""
        return BlockingStream(self._portal, self.client.subscribe(task_id, after=after, headers=headers))

    def get(
        self, task_id: str, *, history_length: int | None = None, artifacts: bool = True, headers: Metadata = ()
    ) -> Task:
        """As Client.get."""
        getting = self.client.get(task_id, history_length=history_length, artifacts=artifacts, headers=headers)
        return self._portal.call(getting)

    def list(self, **filters: Any) -> Iterator[Task]:
        """As Client.list."""
        return self._portal.iterate(self.client.list(**filters))

    def cancel(self, task_id: str, *, metadata: dict[str, Json] | None = None, headers: Metadata = ()) -> Task:
        """As Client.cancel."""
        return self._portal.call(self.client.cancel(task_id, metadata=metadata, headers=headers))

    def wait(self, task_id: str, *, poll_s: float | None = None) -> Task:
        """As Client.wait."""
        return self._portal.call(self.client.wait(task_id, poll_s=poll_s))

    def create_push_config(self, config: TaskPushNotificationConfig) -> TaskPushNotificationConfig:
        """As Client.create_push_config."""
        return self._portal.call(self.client.create_push_config(config))

    def get_push_config(self, task_id: str, config_id: str) -> TaskPushNotificationConfig:
        """As Client.get_push_config."""
        return self._portal.call(self.client.get_push_config(task_id, config_id))

    def list_push_configs(self, task_id: str) -> Iterator[TaskPushNotificationConfig]:
        """As Client.list_push_configs."""
        return self._portal.iterate(self.client.list_push_configs(task_id))

    def delete_push_config(self, task_id: str, config_id: str) -> None:
        """As Client.delete_push_config."""
        self._portal.call(self.client.delete_push_config(task_id, config_id))

    def card(self) -> AgentCard:
        """As Client.card."""
        return self._portal.call(self.client.card())

    def extended_card(self) -> AgentCard:
        """As Client.extended_card."""
        return self._portal.call(self.client.extended_card())
