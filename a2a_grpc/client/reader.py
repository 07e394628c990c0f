"""Does with calls what a `Resumption` says: connects, reads, waits, and reports what happened."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc.aio

from a2a_grpc import lifecycle
from a2a_grpc.client.calls import Calls, StreamCall
from a2a_grpc.client.disconnects import Passing
from a2a_grpc.client.failures import is_canceled
from a2a_grpc.client.openings import Openings
from a2a_grpc.client.polling import PolledCall
from a2a_grpc.client.responses import accepted
from a2a_grpc.client.resumption import Resumption
from a2a_grpc.client.retry import RetryPolicy
from a2a_grpc.client.spans import StreamSpan
from a2a_grpc.client.steps import WITH_CALL, Step
from a2a_grpc.errors import A2AError, InvalidAgentResponseError, UnavailableError
from a2a_grpc.protocol import IDEMPOTENT_SEND_EXTENSION, NO_ARTIFACTS, Key
from a2a_grpc.wire import GetTaskRequest, Task

FAREWELL_S = 1.0
"""Seconds that the server has to end a stream after a terminal event."""

RENEWED_S = 1.0
"""The least time in seconds between two renewals of the credentials of a stream that the agent ends."""


MAX_REPEATS, REPEATS_S = 1000, 100.0
"""So many snapshots in a row that change nothing, within so many seconds, come from a server that repeats itself."""


class EventReader:
    """Takes the steps of a stream, until there is an event to read.

    Attributes:
        call: The open call; None if there is none.
    """

    def __init__(self, calls: Calls, resumption: Resumption, openings: Openings) -> None:
        self._calls = calls
        self._resumption = resumption
        self._openings = openings
        self._retry = RetryPolicy(calls.contact)
        self.call: StreamCall | PolledCall | None = None
        self._renewed_at = float("-inf")
        self._repeating_since = 0.0
        self._span = StreamSpan(calls.spans, openings.send, resumption.progress)

    async def advance(self) -> None:
        """Take steps until there is an event to read, or the stream ends.

        If the caller cancels this, the stream can go on after the last event. Raise an A2AError that ends the stream.
        """
        resumption, ready = self._resumption, self._resumption.progress.ready
        with self._span:
            try:
                while not ready and resumption.step is not Step.STOP:
                    self._calls.connection.check_fork()
                    if resumption.step is Step.READ:
                        await self._read()
                    else:
                        await _STEPS[resumption.step](self)
                    if resumption.step is not Step.READ and resumption.step not in WITH_CALL:
                        self.drop()
            except asyncio.CancelledError:
                self.drop()  # grpc.aio has canceled the call with the read
                resumption.canceled()
                raise
        if resumption.step is Step.STOP:
            self._span.end(is_whole=True)

    def drop(self) -> None:
        """End the call, if there is one."""
        call, self.call = self.call, None
        if call is not None:
            self._calls.drop(call)

    def finish(self) -> None:
        """End the call of a stream that is not read any more."""
        self.drop()
        self._span.end(is_whole=self._resumption.is_settled)

    # -- a call

    async def _connect(self) -> None:
        """Begin a call, and read its first element.

        A subscription fails if it gets neither an element nor a seq in its initial metadata within
        `subscribe_timeout_s`: a server can send one of them at once. A send waits without a limit, because its agent
        may work for long before the first event.
        """
        resumption = self._resumption
        limit_s = self._calls.settings.subscribe_timeout_s
        try:
            async with asyncio.timeout(None if resumption.is_sending else limit_s) as limit:
                await self._begin()
                if resumption.progress.places.is_late:
                    limit.reschedule(None)
                if resumption.step is Step.READ:
                    await self._read()
        except TimeoutError:
            self._calls.contact.was_reached = True  # an agent that is not reached fails within `connect_timeout_s`
            resumption.failed(UnavailableError(f"the agent took the subscription, and sent nothing for {limit_s:g} s"))

    async def _begin(self) -> None:
        """Begin a call, and wait for its initial metadata."""
        try:
            self.call = call = await self._openings.begin(self._span)
            self._resumption.begun(is_polled=isinstance(call, PolledCall))
            entries: Any = await call.initial_metadata() or ()
        except A2AError as error:
            return self._resumption.failed(error)
        metadata = {key: str(value) for key, value in entries}  # older grpc.aio: dict() of it fails
        if metadata:
            self._answered()
        return self._resumption.metadata(metadata)

    async def _read(self) -> None:
        """Read the next element of the call."""
        resumption = self._resumption
        assert self.call is not None  # the steps that read have a call
        try:
            element = accepted("a streaming call", await self.call.read())
        except grpc.aio.AioRpcError as failure:
            return resumption.failed(self._error_of(failure))
        except A2AError as error:
            return resumption.failed(error)
        except asyncio.CancelledError:
            if is_canceled():
                raise
            if resumption.step is Step.STOP:
                return None  # the stream was closed meanwhile
            lost = self._calls.failures.error_of_cancel()
            if not isinstance(lost, A2AError):
                raise lost from None  # the client was closed
            return resumption.failed(lost)
        if element is grpc.aio.EOF:
            return resumption.end()
        self._answered()
        resumption.element(lifecycle.payload_of(element))
        if resumption.progress.ready:
            self._retry.progressed()
        elif resumption.progress.followed.repeats:
            self._check_repeats(resumption.progress.followed.repeats)
        return None

    def _check_repeats(self, count: int) -> None:
        """Raise InvalidAgentResponseError for snapshots without an end. A few may show that the server lives."""
        now = asyncio.get_running_loop().time()
        if count % MAX_REPEATS == 1:
            self._repeating_since = now
        elif count % MAX_REPEATS == 0 and now - self._repeating_since < REPEATS_S:
            raise InvalidAgentResponseError(
                f"the agent's stream has no end: {MAX_REPEATS} snapshots of the task in a row changed nothing"
            )

    def _error_of(self, failure: grpc.aio.AioRpcError) -> A2AError:
        error = self._calls.failures.error_of(failure)
        error.__cause__ = failure
        return error

    async def _part(self) -> None:
        resumption = self._resumption
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                if self.call is not None:
                    await self._read()
        if resumption.step is Step.PART:
            resumption.end()

    # -- between two calls, or during one

    async def _read_task(self) -> None:
        resumption = self._resumption
        is_look = resumption.step is Step.LOOK
        metadata = self._openings.metadata
        if not is_look and resumption.progress.checks_history:
            metadata = [*metadata, (Key.ARTIFACTS, NO_ARTIFACTS)]
        request = GetTaskRequest(id=resumption.progress.followed.id)
        try:
            task: Task = await self._calls.unary("GetTask", request, metadata=metadata, retry=self._retry)
        except A2AError as error:
            return resumption.failed(error)
        resumption.read(task)
        if is_look:
            self._answered()
        elif resumption.progress.ready:
            self._retry.progressed()
        return None

    async def _wait(self) -> None:
        resumption = self._resumption
        problem = resumption.problem
        assert isinstance(problem, Passing)  # WAIT is about nothing else
        try:
            may_go_on = await self._calls.may_repeat(problem, self._retry, is_safe=not resumption.is_sending)
        except A2AError as error:
            return resumption.failed(error)
        return resumption.waited(may_go_on=may_go_on)

    async def _ask(self) -> None:
        try:
            may_go_on = await self._calls.extensions.offers(IDEMPOTENT_SEND_EXTENSION, self._retry)
        except A2AError as error:
            return self._resumption.failed(error)
        return self._resumption.waited(may_go_on=may_go_on)

    async def _renew(self) -> None:
        """Get other credentials. A send had no effect, since the agent has refused its call."""
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._renewed_at + RENEWED_S - now())
        self._renewed_at = now()
        try:
            fresh = await self._calls.headers.renewed(self._openings.sent, self._openings.asked)
        except A2AError as error:
            return self._resumption.failed(error)
        return self._resumption.renewed(are_others=fresh is not None)

    def _answered(self) -> None:
        """Record that the server has answered."""
        self._calls.contact.answered()
        self._retry.renew()


_STEPS: dict[Step, Callable[[EventReader], Awaitable[None]]] = {
    Step.CONNECT: EventReader._connect,
    Step.CHECK: EventReader._read_task,
    Step.LOOK: EventReader._read_task,
    Step.WAIT: EventReader._wait,
    Step.ASK: EventReader._ask,
    Step.RENEW: EventReader._renew,
    Step.PART: EventReader._part,
}
"""What a reader does at a step, except for READ and OPEN. (A reader with references to itself would stay alive.)"""
