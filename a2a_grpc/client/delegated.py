"""Follows a task that another agent has for a turn here, and passes its questions to the user of the turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from a2a_grpc import lifecycle
from a2a_grpc.agent import Answer, Turn
from a2a_grpc.client.canceling import BegunStream
from a2a_grpc.client.client import Client
from a2a_grpc.client.noted import as_of, call_in, noted_in
from a2a_grpc.client.questions import Questions, answer_options
from a2a_grpc.client.sending import SendOptions
from a2a_grpc.client.snapshot_diff import snapshot_diff
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.errors import A2AError, UnsupportedOperationError
from a2a_grpc.lifecycle import Event
from a2a_grpc.parts import Contents
from a2a_grpc.wire import Message, Task, TaskStatus


class Delegated:
    """Iterates over the events of another agent's task that is for a turn here.

    Guarantees:

    - A question of the other agent is asked in this turn, in the same state; the answer goes to the other agent as the
      next message of its task. The events end when that task has ended, and not before.
    - A task that goes on from AUTH_REQUIRED without a message takes its question back.
    - A handler that is run again goes on with the task that it began. Its questions are not asked twice, and its
      answers are not sent twice. Its events come again in the same order.
    - An artifact, or a part of it, comes once in a run of the handler.
    """

    is_paused = False
    """Never: see `TaskStream.is_paused`."""

    def __init__(
        self, client: Client, turn: Turn, call: str, name: str, content: Contents | Message, options: SendOptions
    ) -> None:
        self._client = client
        self._turn = turn
        self._call = call
        self._questions = Questions(turn, call, name)
        self._content = content
        self._options = options
        self._key = options.get("idempotency_key") or call
        self._ready: deque[Event] = deque()
        self._recorded = deque(asked for asked in turn.recorded_questions if call_in(asked) == call)
        self._is_shown = False
        """True once the events that came before the first of the recorded questions were given."""
        self._begun: BegunStream | None = None
        self._found: Task | None = None
        """The task as this run of the handler found it, if an earlier run began it."""
        self._known: Task | None = None
        """The task as the events before this stream have made it."""
        self._is_first = True
        self._answers = 0
        self._answered: TaskStatus | None = None
        """The status with the question that was answered last."""
        turn.talk.calls.add(call)

    @property
    def _stream(self) -> TaskStream | None:
        return self._begun.stream if self._begun is not None else None

    @property
    def task(self) -> Task | None:
        """The task as the events make it; None before any."""
        return (self._stream.task if self._stream else None) or self._known

    @property
    def error(self) -> Exception | None:
        """The error that ended the events, if it is the stream's own."""
        return self._stream.error if self._stream else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            await self._advance()
        return self._ready.popleft()

    async def _advance(self) -> None:
        """Take one step. Raise StopAsyncIteration at the end of the task."""
        if self._recorded:
            await self._repeat()
        elif self._stream is None:
            options: SendOptions = {**self._options, "idempotency_key": self._key}
            await self._start(self._client.stream(self._content, **options))
        elif self._asks:
            await self._pass_on()
        else:
            await self._read(self._stream)

    @property
    def _asks(self) -> bool:
        """True if the other agent waits for an answer that it was not given."""
        stream = self._stream
        return (
            stream is not None and stream.is_paused and stream.task is not None and stream.task.status != self._answered
        )

    async def _start(self, stream: TaskStream) -> None:
        if self._stream is not None:
            self._stream.close()
        if (task := self.task) is not None:
            self._known = Task()
            self._known.CopyFrom(task)
        self._begun, self._is_first = BegunStream(self._client, stream), True
        await self._begun.begun()

    async def _read(self, stream: TaskStream) -> None:
        try:
            event = await anext(stream)
        except StopAsyncIteration:
            if not stream.is_paused:
                raise
            if not self._asks:
                self._answered = None  # the answer changed nothing: the other agent asks again
            return
        self._ready.extend(self._fresh(event))

    def _fresh(self, event: Event) -> list[Event]:
        """Return what an event says beyond what is known."""
        is_first, self._is_first = self._is_first, False
        if is_first and isinstance(event, Task) and self._known is not None:
            return snapshot_diff(self._known, event)
        return [event]

    # -- a question

    async def _pass_on(self) -> None:
        """Ask the user what the other agent asks; send the answer."""
        stream = self._stream
        assert stream is not None
        assert stream.task is not None
        task, status = stream.task, TaskStatus()
        status.CopyFrom(stream.task.status)
        asking = asyncio.create_task(self._questions.pass_on(task, status), name="a2a-grpc:ask")
        moving = None
        if status.state == lifecycle.AUTH_REQUIRED:
            moving = asyncio.create_task(self._moved(stream), name="a2a-grpc:moved")
        else:
            stream.close()
        try:
            await asyncio.wait({asking, moving or asking}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and moving is not None and not moving.result():
                await asyncio.wait({asking})  # the stream says no more
        finally:
            await _ended(asking, moving)
        if asking.cancelled():
            await self._turn.status()  # the question is taken back
            return
        answer = asking.result()
        self._answered = status
        if moving is not None and (await self._client.get(task.id, artifacts=False)).status != status:
            await self._follow(task.id)
            return
        await self._send(task, answer)

    async def _moved(self, stream: TaskStream) -> bool:
        """Return True once the task has gone on without an answer; False if the stream cannot tell."""
        with suppress(A2AError):
            async for event in stream:
                self._ready.extend(self._fresh(event))
                if not stream.is_paused:
                    return True
        return False

    async def _send(self, task: Task, answer: Answer) -> None:
        self._answers += 1
        options = answer_options(self._options, task, f"{self._key}-answer-{self._answers}")
        try:
            await self._start(self._client.stream(list(answer.message.parts), **options))
        except UnsupportedOperationError:  # the task ended while the user was asked
            await self._follow(task.id)

    async def _follow(self, task_id: str) -> None:
        await self._start(self._client.subscribe(task_id, headers=self._options.get("headers", ())))

    # -- a handler that is run again

    async def _repeat(self) -> None:
        """Give the events before the next recorded question; then take the answer; after the last one go on live."""
        noted = noted_in(self._recorded[0])
        if self._found is None:
            await self._follow(str(noted["task"]))
            assert self._stream is not None
            first = await anext(self._stream)
            assert isinstance(first, Task)
            self._found = Task()
            self._found.CopyFrom(first)
        if not self._is_shown:
            self._show(as_of(self._found, noted))
            self._is_shown = True
            return
        question = self._recorded.popleft()
        self._is_shown = False
        answer = await self._questions.ask(list(question.parts), False, {})
        if self._recorded:
            self._answers += 1
            return
        status = self._found.status
        if status.state in lifecycle.INTERRUPTED and status.message.message_id == noted["question"]:
            self._answered = TaskStatus()
            self._answered.CopyFrom(status)
            await self._send(self._found, answer)
            return
        self._answers += 1
        self._show(self._found)
        self._is_first = False

    def _show(self, task: Task) -> None:
        if self._known is None:  # as it began, so that its artifacts come as events
            self._known = Task(id=task.id, context_id=task.context_id)
            self._known.status.state = lifecycle.WORKING
            self._ready.append(self._known)
        self._ready.extend(snapshot_diff(self._known, task))
        self._known = task

    # -- the end

    async def cancel(self) -> None:
        """Cancel the other agent's task."""
        if self._begun is not None:
            await self._begun.cancel()

    async def close(self) -> None:
        """End the stream. The other agent's task goes on."""
        if self._begun is not None:
            self._begun.close()
        await self._turn.talk.leave(self._call)


@asynccontextmanager
async def delegated(
    client: Client, turn: Turn, call: str, name: str, content: Contents | Message, options: SendOptions
) -> AsyncIterator[Delegated]:
    """Give the events of the task of a message.

    If the block ends with an exception that is not the stream's own, the other agent's task is canceled. It is not if
    the handler is let go, since the next run of the handler goes on with the task.
    """
    work = Delegated(client, turn, call, name, content, options)
    try:
        yield work
    except BaseException as error:
        if error is not work.error and not turn.is_let_go:
            await work.cancel()
        raise
    finally:
        await work.close()


async def _ended(*tasks: "asyncio.Task[Answer] | asyncio.Task[bool] | None") -> None:
    """Cancel tasks, and wait until they have ended."""
    left = [task for task in tasks if task is not None and not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
