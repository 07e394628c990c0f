"""A conversation with an agent: messages, answers, questions, and what Ctrl-C does meanwhile."""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

from a2a_grpc import lifecycle
from a2a_grpc.cli.content import part_of_file
from a2a_grpc.cli.described import said_in
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.follow import exit_code_for
from a2a_grpc.cli.rows import show_rows
from a2a_grpc.cli.session import Session
from a2a_grpc.client import Client, Event, SendOptions, TaskStream
from a2a_grpc.config import ConfigurationError, utf8
from a2a_grpc.errors import DeadlineExceededError, ResourceExhaustedError, UnavailableError
from a2a_grpc.signals import INTERRUPT, signals_to
from a2a_grpc.wire import Message, Part, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent

T = TypeVar("T")

MOST_TASKS = 20
"""The tasks that one list shows."""


class Leave(Exception):
    """The user leaves.

    Args:
        code: The exit code; None for the one that a conversation has at its end.
    """

    def __init__(self, code: ExitCode | None = None) -> None:
        super().__init__(code)
        self.code = code


class Stopped(Leave):
    """Ctrl-C has stopped a command. At a terminal the conversation goes on."""

    def __init__(self) -> None:
        super().__init__(ExitCode.INTERRUPTED)


class Conversation:
    """One conversation, and the task that waits in it for an answer.

    Guarantees:

    - All messages have one context id, from the first answer on, until another conversation begins. An answer that
      breaks off, or is canceled, counts.
    - A message answers the question of the task that asked last. If the answer may not have reached the agent, the next
      message answers the question. If the agent refuses it, for example because the task has ended, the next message
      begins a task.
    - Files stay until a message was sent with them.

    Args:
        session: The run of the verb.
        client: A client of the agent.
        options: The options of each message.
    """

    def __init__(self, session: Session, client: Client, options: SendOptions) -> None:
        self.show = session.show
        self.files: list[Part] = []
        """The files that go with the next message."""
        self.asking: Task | None = None
        """The task that waits for an answer."""
        self._client = client
        self._options = options
        self._context = options.get("context_id", "")
        self._has_failed = False

    @property
    def exit_code(self) -> ExitCode:
        """What the exit code tells: a task that failed, or a task that still waits."""
        if self._has_failed:
            return ExitCode.AGENT_FAILED
        return ExitCode.OK if self.asking is None else ExitCode.WAITS_FOR_USER

    async def send(self, text: str) -> None:
        """Send a message with the files, and show the answer.

        Ctrl-C cancels the task. At the second one, raise Leave.
        """
        parts = [*([Part(text=utf8(text, "text"))] if text.strip() else []), *self.files]
        options = SendOptions(**self._options)
        options["context_id"] = self._context
        asked, self.asking = self.asking, None
        if asked is not None:
            options["task_id"] = asked.id
        else:
            self.show.begin()
        events = self._client.stream(parts, **options)
        try:
            await self._follow(events, asked.id if asked is not None else "")
        except (UnavailableError, ResourceExhaustedError, DeadlineExceededError):
            if not events.task_id:
                self.asking = asked
            raise
        self.files.clear()

    async def attach(self, task_id: str) -> None:
        """Go on with a task that exists. Show it, and follow it if the agent works on it."""
        task = await self._until_interrupted(self._client.get(task_id))
        self.show.begin()
        self._context, self.asking = task.context_id, None
        if task.status.state not in lifecycle.TERMINAL | lifecycle.INTERRUPTED:
            await self._follow(self._client.subscribe(task.id), task.id)
            return
        if task.status.state in lifecycle.INTERRUPTED:
            self.asking = task
        self.show.task(task)

    async def add_file(self, path: str) -> None:
        """Send a file with the next message."""
        if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
            path = path[1:-1]
        self.files.append(part_of_file("", os.path.expanduser(path)))  # noqa: ASYNC240 (nothing else waits)
        self.show.note(f"'{path}' goes with the next message; an empty line sends it alone")

    async def cancel(self, task_id: str) -> None:
        """Cancel a task; the one that asks, if no id is given."""
        if not task_id and self.asking is None:
            raise ConfigurationError("no task waits for an answer; give the id of a task, as /tasks shows it")
        asking = self.asking
        wanted = task_id or (asking.id if asking is not None else "")
        await self._until_interrupted(self._cancel(wanted))
        if asking is not None and wanted != asking.id:
            self.asking = asking

    async def tasks(self, which: str) -> None:
        """List the tasks of this conversation, or all tasks."""
        if which not in ("", "all"):
            raise ConfigurationError(f"/tasks takes 'all' or nothing, but there is '{which}'")
        if not which and not self._context:
            self.show.note("this conversation has no task yet; '/tasks all' lists those of others")
            return
        await self._until_interrupted(self._list("" if which else self._context))

    async def _list(self, context: str) -> None:
        tasks = self._client.list(context_id=context, page_size=MOST_TASKS)
        shown, is_all = await show_rows(self.show, tasks, MOST_TASKS)
        if not shown:
            self.show.note("no tasks")
        elif not is_all:
            self.show.note("there are more; 'a2a-grpc list' shows them")

    def begin(self) -> None:
        """Begin another conversation."""
        self._context, self.asking = "", None
        self.files.clear()
        self.show.note("the next message begins another conversation")

    async def _follow(self, events: TaskStream, task_id: str) -> None:
        """Show the events of a task. At Ctrl-C cancel the task, whose id is "" if it is not known before."""
        try:
            return await self._until_interrupted(self._read(events))
        except Stopped:
            self.show.note("")
        try:
            await self._until_interrupted(self._give_up(events, task_id))
        except Stopped as stopped:
            raise Leave(stopped.code) from None

    async def _read(self, events: TaskStream) -> None:
        """Show the events of a task until it has ended or asks."""
        with self.show.following(), ExitStack() as waiting:
            waiting.enter_context(self.show.waiting())
            async with events:
                async for event in events:
                    self._note_context(event.context_id)
                    if isinstance(event, Message | TaskArtifactUpdateEvent) or events.is_settled:
                        waiting.close()  # text and the spinner would share a line
                    self.show.event(event, with_state=False)
                    self._remark(event)
                    if events.is_paused:
                        break
        if events.task is not None:
            self._settle(events.task)

    def _remark(self, event: Event) -> None:
        """Show what the agent says while it works."""
        if not isinstance(event, TaskStatusUpdateEvent) or self.show.as_json:
            return
        said = said_in(event.status.message.parts)
        if said and event.status.state in (lifecycle.SUBMITTED, lifecycle.WORKING):
            self.show.note(said)

    def _note_context(self, context_id: str) -> None:
        self._context = context_id or self._context

    def _settle(self, task: Task) -> None:
        """Note how an answer has ended, and show this unless the task is COMPLETED."""
        self._note_context(task.context_id)
        state = task.status.state
        self.asking = task if state in lifecycle.INTERRUPTED else None
        self._has_failed = self._has_failed or exit_code_for(state) == ExitCode.AGENT_FAILED
        if self.show.as_json or state == lifecycle.COMPLETED:
            return
        if state == lifecycle.INPUT_REQUIRED and task.status.message.parts:
            self.show.said(task.status.message.parts)
        else:
            self.show.status(task.status, task.id)

    async def _give_up(self, events: TaskStream, task_id: str) -> None:
        """Cancel the task of a stream that is not read any longer."""
        task_id = events.task_id or task_id
        if not task_id:
            self.show.note("stopped before the agent answered; whether it has begun a task is not known")
        elif events.state not in lifecycle.TERMINAL:
            await self._cancel(task_id)

    async def _cancel(self, task_id: str) -> None:
        task = await self._client.cancel(task_id)
        self._settle(task)
        if self.show.as_json:
            self.show.json(task)

    async def _until_interrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of some work. Ctrl-C cancels it, and then this raises Stopped."""
        working = asyncio.create_task(work, name="a2a-grpc:chat")
        is_interrupted = False

        def hear(_: object) -> None:
            nonlocal is_interrupted
            is_interrupted = True
            working.cancel()

        with signals_to(hear, INTERRUPT):
            try:
                return await working
            except asyncio.CancelledError:
                if not is_interrupted:
                    raise
                raise Stopped from None
