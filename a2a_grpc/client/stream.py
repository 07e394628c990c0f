"""The stream of the events of a task, which goes on when a connection is lost."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc.aio

from a2a_grpc import lifecycle
from a2a_grpc.client.calls import Calls, Metadata, StreamCall, is_canceled
from a2a_grpc.client.cuts import may_have_ended, names_place, place_of
from a2a_grpc.client.errors import ConnectionLostError, CredentialsUnavailableError, TaskLostError, UnreachableError
from a2a_grpc.client.growth import Growth
from a2a_grpc.client.news import artifact_news, news, tells_its_status
from a2a_grpc.client.patience import Passing, Patience, is_refused_for_now
from a2a_grpc.client.polling import PolledCall
from a2a_grpc.client.responses import accepted
from a2a_grpc.client.taken import Taken
from a2a_grpc.errors import (
    A2AError,
    InvalidRequestError,
    ResourceExhaustedError,
    TaskNotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnsupportedOperationError,
)
from a2a_grpc.lifecycle import Event, Fold
from a2a_grpc.protocol import NO_ARTIFACTS, Key
from a2a_grpc.wire import (
    GetTaskRequest,
    Message,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)

FAREWELL_S = 1.0
"""Seconds that the server has to end a stream after a terminal event."""

RENEWED_S = 1.0
"""The least time in seconds between two renewals of the credentials of a stream that the agent ends."""


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
        task_id: The id of the task; empty before the first event of a send.
        error: The error that ended the stream; None if there was none.
        state: The state of the task as of the last event; `TASK_STATE_UNSPECIFIED` before the first event.
        seq: The place of the last event in the task: 1 for its first event. None if the server does not number its
            events. `Client.subscribe` takes it as `after`.
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
    ) -> None:
        self._calls = calls
        self._send = send
        self._metadata = metadata
        self._send_metadata = send_metadata
        self._patience: Patience | None = None
        self._call: StreamCall | PolledCall | None = None
        self._is_polled = False
        """True once the agent has refused to stream."""
        self._fold: Fold | None = None
        self._heard: Fold | None = None
        """The events of a send that come before any Task, as servers of other makes send them, folded."""
        self._growth = Growth(calls.settings)
        self._ready: deque[Event] = deque()
        self._is_over = False
        self._was_resumed = False
        self._has_seq = False
        self._next_seq = 0
        self._taken = Taken(send)
        self._elements = 0
        self._asked: Metadata = ()
        self._sent: list[tuple[str, str]] = []
        """The metadata of the call; empty before the call, and for an agent that is polled."""
        self._renewed_at = float("-inf")
        self._is_accepted = True
        """False after the credentials were renewed, until the agent answers a call with them."""
        self.task_id = task_id
        self.error: Exception | None = None
        self.state: TaskState = TaskState.TASK_STATE_UNSPECIFIED
        self.seq = after

    @property
    def task(self) -> Task | None:
        """The task as the events so far make it; None before the first event, and if the stream began after a place."""
        return self._fold.task if self._fold else None

    @property
    def _is_midway(self) -> bool:
        """True if the stream joined a task that was under way, by a subscription or after a lost connection."""
        return self._send is None or self._was_resumed

    @property
    def is_settled(self) -> bool:
        """True once the task has ended, or waits for its user.

        After a send it becomes True only when the agent has taken the message. A task that still waits in the state
        that the message answers is not settled.
        """
        # A server that numbers its events ends the stream of a send once the turn that asks for input is that of the
        # message. Others may keep the stream open (OPEN-1).
        if self._send is None or self._is_over or self.state not in lifecycle.INTERRUPTED:
            return self.state in lifecycle.SETTLED
        if self.state == lifecycle.INPUT_REQUIRED and self._has_seq and not self._was_resumed:
            return False
        return self._taken.is_known

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
            self._drop_call()

    def close(self) -> None:
        """End the call. The agent's task goes on. `async with` calls this."""
        self._is_over = True
        self._ready.clear()
        self._drop_call()

    def __aiter__(self) -> Self:
        return self

    async def begin(self) -> None:
        """Begin the call, which sends the message, and wait for the first event. The event stays to be read.

        Raises:
            A2AError: The first event cannot be had, for example because the agent refuses the message.
        """
        while not self._ready and not self._is_over:
            try:
                await self._advance()
            except asyncio.CancelledError:
                self._drop_call()  # grpc.aio has canceled the call with the read; the next read goes on from here
                self._was_resumed = bool(self.task_id)
                raise
            except Exception as error:
                self.error = error
                self.close()
                raise

    async def __anext__(self) -> Event:
        await self.begin()
        if self._ready:
            return self._ready.popleft()
        self._drop_call()
        raise StopAsyncIteration

    # -- one step

    async def _advance(self) -> None:
        """Connect if there is no connection, and read the next element."""
        self._calls.connection.check_fork()
        if self._patience is None:
            self._patience = Patience(self._calls)
        if self.state in lifecycle.TERMINAL:
            return await self._farewell()
        try:
            element = await self._first() if self._call is None else await self._read()
            if self._is_over:
                return None  # closed meanwhile
            if element is not grpc.aio.EOF:
                return await self._take(element, self._patience)
            if self.task_id and not self.state:
                # Records were asked for after the last one: only the task itself says whether there will be more.
                self.state = (await self._get()).status.state
        except A2AError as error:
            return await self._failed(error, self._patience)
        if self.state not in lifecycle.SETTLED:  # STRM-11: an end while the task is at work is a cut
            return await self._cut(UnavailableError("the stream ended before the task did"), self._patience)
        self._is_over = True
        return None

    async def _first(self) -> Any:
        """Begin a call. Return its first element.

        Raise UnavailableError if a subscription gets neither an element nor a seq in its initial metadata within
        `subscribe_timeout_s`: a server can send one of them at once. A send waits without a limit, because its agent
        may work for long before the first event.
        """
        limit_s = self._calls.settings.subscribe_timeout_s
        is_send = self._send is not None and not self.task_id
        try:
            async with asyncio.timeout(None if is_send else limit_s) as limit:
                if await self._open():
                    limit.reschedule(None)
                return await self._read()
        except TimeoutError:
            self._calls.was_reached = True  # an agent that is not reached fails within `connect_timeout_s`
            raise UnavailableError(f"the agent took the subscription, and sent nothing for {limit_s:g} s") from None

    async def _open(self) -> bool:
        """Begin the send. If the task is known, begin a subscription after the last event instead.

        Return True if the answer begins after a seq, so that its first element comes with the next event.
        """
        if self._send is not None and not self.task_id:
            self._call = await self._begin("SendStreamingMessage", self._send, self._send_metadata)
        else:
            place = [(Key.AFTER, str(self.seq))] if self.seq is not None else []
            self._call = await self._begin("SubscribeToTask", SubscribeToTaskRequest(id=self.task_id), place)
        entries: Any = await self._call.initial_metadata() or ()
        told = {key: str(value) for key, value in entries}  # older grpc.aio: dict() of it fails
        if told:
            self._touched()
        snapshot, after = place_of(told.get(Key.SEQ, "")), place_of(told.get(Key.AFTER, ""))
        self._has_seq = snapshot is not None or after is not None
        if snapshot is not None:
            self._next_seq = snapshot  # of the snapshot that comes next: until it is here, it is asked for again
        elif after is not None:
            self._next_seq = after + 1
        return snapshot is None and after is not None

    async def _begin(
        self, method: str, request: SendMessageRequest | SubscribeToTaskRequest, metadata: Metadata
    ) -> "StreamCall | PolledCall":
        self._sent = []
        if self._is_polled or not await self._calls.may_stream(is_send=request is self._send):
            return PolledCall(self._calls, request, metadata=self._metadata, send_metadata=metadata)
        self._asked = [*self._metadata, *metadata]
        call, self._sent = await self._calls.stream(method, request, metadata=self._asked)
        return call

    async def _read(self) -> Any:
        assert self._call is not None
        try:
            element = await self._call.read()
        except grpc.aio.AioRpcError as failure:
            raise self._calls.failed(failure) from failure
        except asyncio.CancelledError:
            if is_canceled():
                raise
            if self._is_over:
                return grpc.aio.EOF
            raise self._calls.canceled() from None
        return accepted("a streaming call", element)

    async def _take(self, element: StreamResponse, patience: Patience) -> None:
        event = lifecycle.payload_of(element)
        whole: Task | None = None
        self._touched()
        said: Sequence[Message] | None = None
        if self._has_seq:
            said = await self._taken.look(event, self._without_artifacts)
        self._elements += 1
        if not self._has_seq:
            self._taken.guess(event, is_first=self._elements == 1)
            self.seq = None  # a snapshot came where records after a seq were asked for
        else:
            self.seq = self._next_seq
            self._next_seq += 1
        match event:
            case None:
                return  # of a later contract
            case Message():
                self._is_over = True
                self._ready.append(event)
                return
            case TaskStatusUpdateEvent() if event.status.state in lifecycle.SETTLED and not self._has_seq:
                self.task_id = event.task_id
                if self._is_midway:
                    # With other servers, events between snapshot and subscription may be missing or come twice (P2).
                    event = await self._get()
                elif self._fold is None:  # other servers begin the stream of an answer without the Task
                    whole = await self._get()
        fresh = self._apply(event)
        if whole is not None:
            fresh = [*artifact_news(self._heard.task if self._heard else Task(), whole), *fresh]
            self._fold = Fold(whole)
        if said is not None and self.task is not None:
            del self.task.history[:]
            self.task.history.extend(said)
        if fresh:
            patience.progressed()
        self._ready.extend(fresh)
        self._end_where_it_asks()

    def _end_where_it_asks(self) -> None:
        """End the stream of a send that goes on by a subscription, if the agent asks for input.

        A subscription alone would stay open (OPEN-1).
        """
        if self._was_resumed and self._send is not None and self.state == lifecycle.INPUT_REQUIRED:
            self._is_over = self._taken.is_known or not self._has_seq

    def _apply(self, event: Event) -> Sequence[Event]:
        """Fold the event. Return what is new to the reader."""
        match event:
            case Task():
                self.task_id, self.state = event.id, event.status.state
                known, whole = self.task, Task()
                whole.CopyFrom(event)
                self._fold = Fold(whole, is_told=not self._has_seq and tells_its_status(whole))
                return [event] if known is None else news(known, event)
            case TaskStatusUpdateEvent():
                self.task_id, self.state = event.task_id, event.status.state
            case TaskArtifactUpdateEvent():
                self.task_id = event.task_id
        fold = self._fold
        if fold is None and not self._has_seq:
            fold = self._heard = self._heard or Fold(Task(id=self.task_id))
        if fold is not None:
            fold.apply(event)
            self._growth.add(event, fold.task)
        return [event]

    async def _get(self) -> Task:
        return await self._read_task(self.task_id, self._metadata)

    async def _without_artifacts(self, task_id: str) -> Task:
        return await self._read_task(task_id, [*self._metadata, (Key.ARTIFACTS, NO_ARTIFACTS)])

    async def _read_task(self, task_id: str, metadata: Metadata) -> Task:
        request = GetTaskRequest(id=task_id)
        task: Task = await self._calls.unary("GetTask", request, metadata=metadata, patience=self._patience)
        return task

    def _touched(self) -> None:
        """Record that the server has answered."""
        self._is_accepted = True
        self._calls.answered()
        if self._patience is not None:
            self._patience.renew()

    async def _farewell(self) -> None:
        """Read the end of the stream after the last event. Nothing is missing, so other errors are ignored.

        Raise UnsupportedOperationError for a message that the task never took, because it had ended before.
        """
        try:
            async with asyncio.timeout(FAREWELL_S):
                if self._call is not None:
                    await self._read()
        except UnsupportedOperationError:
            if self._send is not None and self._send.message.task_id:
                raise
        except (A2AError, TimeoutError):
            pass
        self._is_over = True

    # -- failures

    async def _failed(self, error: A2AError, patience: Patience) -> None:
        match error:
            case UnavailableError():
                return await self._cut(error, patience)
            case UnauthenticatedError() if self._sent:
                return await self._renew(error, patience)
            case UnsupportedOperationError() | UnimplementedError() if self._may_be_polled(error):
                self._is_polled = True
                self._drop_call()
                return None
            case ResourceExhaustedError() if is_refused_for_now(error):
                if not self._elements:
                    return await self._cut(error, patience)
                # A task that was followed goes on: it is given up on like the task of an agent that is unavailable.
                return await self._cut(UnavailableError(error.message, retry_after_s=error.retry_after_s), patience)
            case InvalidRequestError() if self.seq is not None and self._fold is not None and names_place(error):
                self.seq = None  # the server knows less of the log than this stream has seen: go on by snapshot
                self._drop_call()
                return None
            case _ if self.task_id and (isinstance(error, TaskNotFoundError) or may_have_ended(error)):
                return await self._look(error, patience)
        raise error

    async def _renew(self, error: UnauthenticatedError, patience: Patience) -> None:
        """Have the stream go on after the last event, with other credentials. Raise the error if there are none.

        The agent has refused the call, so a send had no effect, or it has ended a stream whose token has ended. Raise
        the error, too, if the agent has refused the credentials that the last renewal gave.
        """
        if not self._is_accepted:
            raise error
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._renewed_at + RENEWED_S - now())
        self._renewed_at, self._is_accepted = now(), False
        try:
            if await self._calls.renewed(self._sent, self._asked) is None:
                raise error
        except UnavailableError as problem:
            return await self._cut(problem, patience)
        self._interrupt()
        return None

    def _may_be_polled(self, error: A2AError) -> bool:
        """Return True if streaming may be all that the agent refuses; if not, the next call says the same."""
        if self._is_polled or isinstance(self._call, PolledCall):
            return False
        return bool(self.task_id) or "task_id" not in error.metadata  # a message to a task that has ended

    async def _look(self, error: A2AError, patience: Patience) -> None:
        """Read a task that cannot be followed. If the task has ended, the stream ends.

        Servers of other makes do not let a client follow a task that waits for its user. Such a task is read again from
        time to time.
        """
        try:
            task = await self._get()
        except UnavailableError as lost:
            return await self._cut(lost, patience)
        except TaskNotFoundError:
            if not self._elements:
                raise error from None
            raise TaskLostError(
                f"task '{self.task_id}' is gone: '{self._calls.connection.target}' does not know it any more; "
                "was the agent restarted without a durable store?",
                task=self.task,
            ) from error
        is_over = task.status.state in lifecycle.TERMINAL
        if not is_over and not isinstance(error, TaskNotFoundError):
            raise error
        self._touched()
        self._ready.extend(self._apply(task))
        self._end_where_it_asks()
        if is_over or self._is_over:
            self._is_over = True
            return None
        return await self._cut(UnavailableError(error.message), patience)

    async def _cut(self, error: Passing, patience: Patience) -> None:
        """Wait until the next try. Raise if there is none, or if the next try could send a message twice."""
        self._interrupt()
        if self._is_over:
            return
        is_unanswered = self._send is not None and not self.task_id
        try:
            may_go_on = await self._calls.may_repeat(error, patience, is_safe=not is_unanswered)
        except UnreachableError:
            raise
        except UnavailableError as last:
            if isinstance(last, CredentialsUnavailableError) and not self._elements:
                raise
            task = f" following task '{self.task_id}'" if self.task_id else ""
            limit_s = self._calls.settings.give_up_after_s
            how = (
                f", without contact for {limit_s:g} s"
                if isinstance(last, ConnectionLostError)
                else f" after {limit_s:g} s; the agent answered last"
            )
            raise ConnectionLostError(f"gave up{task}{how}: {last.message}", task=self.task) from last
        if not may_go_on:
            raise error

    def _interrupt(self) -> None:
        """End the call, so that the next step goes on after the last event. End the stream if that brings nothing."""
        self._drop_call()
        self._was_resumed = bool(self.task_id)
        if self._has_seq:
            self._end_where_it_asks()

    def _drop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._calls.drop(call)
