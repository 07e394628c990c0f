"""The stream of the events of a task, which goes on when a connection is lost."""

from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from a2a_grpc import lifecycle
from a2a_grpc.client.calls import Calls
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.openings import Openings
from a2a_grpc.client.reader import EventReader
from a2a_grpc.client.resumption import Resumption
from a2a_grpc.lifecycle import Event
from a2a_grpc.wire import SendMessageRequest, Task, TaskState


class TaskStream:
    """The events of one task, to read with `async for`. `Client.stream` and `Client.subscribe` return it.

    The first event is the task as it is, or the message of an agent that answers without a task. The others say what
    changes in the task (spec §3.1.2). A stream is for one reader at a time. A read that is canceled loses no event.

    Guarantees:

    - Leaving the `async with` block, or `close`, ends the call at once. The agent's task goes on.
    - If a connection is lost, or a stream ends while the agent works, the stream goes on over another connection. If
      the server numbers its events, no event is missed or repeated. With other servers the client reads the task again,
      and gives the difference as events.
    - If the agent ends the stream with UNAUTHENTICATED, for example because the token has ended, the stream goes on
      with other credentials, in the same way. If there are none, reading raises the error.
    - If the agent does not stream, the client reads the task from time to time. The events are the same.
    - The stream of a send ends when the task has ended, or asks in INPUT_REQUIRED. A subscription ends when the task
      has ended.
    - If a limit of the agent refuses a call, and the agent says when to come back, the call is made again.
    - Reading raises ConnectionLostError after `give_up_after_s` seconds without contact, and TaskLostError if the
      server does not know the task any more. Other errors of the agent are raised as they come. Each ends the stream.

    Example:
        async with client.stream("Tell me a story") as events:
            async for event in events:
                match event:
                    case TaskArtifactUpdateEvent():
                        print(text_of(event.artifact))
                    case TaskStatusUpdateEvent():
                        print(state_name(event.status.state))

    Attributes:
        error: The error that ended the stream; None if there was none.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        send: SendMessageRequest | None = None,
        task_id: str = "",
        after: int | None = None,
        metadata: Metadata = (),
        send_metadata: Metadata = (),
        max_lost: int | None = None,
    ) -> None:
        target = calls.connection.target
        self.error: Exception | None = None
        self._resumption = Resumption(
            calls.settings, target, send=send, task_id=task_id, after=after, max_lost=max_lost
        )
        self._ready = self._resumption.progress.ready
        openings = Openings(calls, self._resumption, send=send, metadata=metadata, send_metadata=send_metadata)
        self._new_reader = partial(EventReader, calls, self._resumption, openings)
        self._reader: EventReader | None = None
        """None before the first read, from which on the time for the first contact counts."""

    @property
    def task_id(self) -> str:
        """The id of the task; empty before the first event of a send."""
        return self._resumption.progress.followed.id

    @property
    def state(self) -> TaskState:
        """The state of the task as of the last event; `TASK_STATE_UNSPECIFIED` before the first event."""
        return self._resumption.progress.followed.state

    @property
    def seq(self) -> int | None:
        """The place of the last event in the task: 1 for its first event. `Client.subscribe` takes it as `after`.

        None if the server does not number its events.
        """
        return self._resumption.progress.places.seq

    @property
    def task(self) -> Task | None:
        """The task as the events so far make it; None before the first event, and if the stream began after a place."""
        return self._resumption.progress.followed.task

    @property
    def is_settled(self) -> bool:
        """True once the task has ended, or waits for its user.

        After a send it becomes True only when the agent has taken the message. A task that still waits in the state
        that the message answers is not settled.
        """
        return self._resumption.is_settled

    @property
    def is_paused(self) -> bool:
        """True while the task waits for its user. The stream may stay open meanwhile."""
        return self.is_settled and self.state not in lifecycle.TERMINAL

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """End the call of a stream that was not closed."""
        with suppress(AttributeError, RuntimeError):  # not quite made, or its event loop is gone
            self._drop()

    def close(self) -> None:
        """End the call. The agent's task goes on. `async with` calls this."""
        self._resumption.close()
        self._drop()

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.finish()

    def __aiter__(self) -> Self:
        return self

    async def begin(self) -> None:
        """Begin the call, which sends the message, and wait for the first event. The event stays to be read.

        Raises:
            A2AError: The first event cannot be had, for example because the agent refuses the message.
        """
        reader = self._reader = self._reader or self._new_reader()
        try:
            await reader.advance()
        except Exception as error:
            self.error = error
            self.close()
            raise

    async def __anext__(self) -> Event:
        if not self._ready:
            await self.begin()
            if not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()
