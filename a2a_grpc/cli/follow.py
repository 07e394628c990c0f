"""Watching a task until it is settled, or until the user stops the command."""

import asyncio
import shlex
from contextlib import suppress
from dataclasses import fields

from a2a_grpc import lifecycle
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.session import Session
from a2a_grpc.client import Client, ClientSettings, TaskStream
from a2a_grpc.config import flag_of
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import Message, Task, TaskArtifactUpdateEvent, TaskState

CANCEL_TIMEOUT_S = 5.0

TIMES = {"timeout_s", "connect_timeout_s"}
"""Settings for which the command line has values of its own."""


async def follow(
    session: Session,
    client: Client,
    events: TaskStream,
    *,
    tell: bool = True,
    to_the_end: bool = False,
    cancel_on_interrupt: bool = False,
) -> Task | Message | None:
    """Read a stream until the task is settled, or with `to_the_end` until the stream ends. Print its events if wanted.

    Return the task or the message. If the command is interrupted or its time is over, print how to continue, or cancel
    the task.
    """
    reply: Task | Message | None = None
    try:
        with session.show.following():
            async with events:
                async for event in events:
                    if tell:
                        session.show.event(event)
                    elif isinstance(event, TaskArtifactUpdateEvent):
                        session.show.progress(event.artifact)
                    if isinstance(event, Message):
                        reply = event
                    if events.is_paused and not to_the_end:
                        break
                    if events.is_paused and tell and not isinstance(event, TaskArtifactUpdateEvent):
                        ask(session, events.task_id, events.state)
    except asyncio.CancelledError:
        await _leave(session, client, events, tell=tell, cancel=cancel_on_interrupt and session.interrupted.is_set())
        raise
    return reply or events.task


async def _leave(session: Session, client: Client, events: TaskStream, *, tell: bool, cancel: bool) -> None:
    show, task_id = session.show, events.task_id
    if not task_id:
        show.note("stopped before the agent answered; whether it has begun a task is not known")
    elif events.state in lifecycle.TERMINAL:
        return
    else:
        place = ["--after", str(events.seq)] if events.seq is not None else []
        how = ["subscribe", task_id, *place] if tell else ["wait", task_id]
        await _let_go(session, client, how, cancel=cancel)


async def wait_for(
    session: Session, client: Client, task_id: str, *, poll_s: float | None = None, cancel_on_interrupt: bool
) -> Task:
    """Ask for a task from time to time until it is settled, and return it.

    If the command is interrupted, print how to continue, or cancel the task.
    """
    try:
        return await client.wait(task_id, strategy="poll", poll_s=poll_s)
    except asyncio.CancelledError:
        cancel = cancel_on_interrupt and session.interrupted.is_set()
        await _let_go(session, client, ["wait", task_id], cancel=cancel)
        raise


async def _let_go(session: Session, client: Client, how: list[str], *, cancel: bool) -> None:
    """Cancel a task that the command no longer waits for, or print the command that continues."""
    show, task_id = session.show, how[1]
    if cancel:
        with suppress(A2AError, TimeoutError):
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await client.cancel(task_id)
                show.note(f"canceled task {task_id}")
                return
        show.note(f"task {task_id} could not be canceled")
    else:
        show.note(f"stopped watching; task {task_id} goes on. To watch again: {again(session, *how)}")


def again(session: Session, verb: str, *words: str) -> str:
    """Return the command for a shell that calls the same agent in the same way, without credentials or other secrets.

    A target that holds a secret is left to the variable A2A_GRPC_AGENT.
    """
    target = shlex.quote(session.target) if session.shown == session.target else '"$A2A_GRPC_AGENT"'
    options: list[str] = []
    for item in fields(ClientSettings):
        given = getattr(session.settings, item.name)
        if item.name not in TIMES and given != item.default:
            options += [flag_of(item.name), *([] if given is True else [str(given)])]
    if session.show.as_json:
        options += ["-o", "json"]
    return f"a2a-grpc {verb} --agent {target} {shlex.join([*options, *words])}"


def ask(session: Session, task_id: str, state: TaskState) -> None:
    """Print how to continue a task that waits for its user."""
    if session.show.as_json:
        return
    if state == lifecycle.INPUT_REQUIRED:
        session.show.note(f"to answer: {again(session, 'send', '--task', task_id)} 'ANSWER'")
    elif state == lifecycle.AUTH_REQUIRED:
        session.show.note(f"once that is done: {again(session, 'send', '--task', task_id)} 'DONE'")
        session.show.note(f"if the agent goes on by itself: {again(session, 'subscribe', task_id)}")


def exit_code_for(state: TaskState) -> ExitCode:
    """Return 0; 1 if the agent did not do what it was asked for; 7 if the task waits for its user."""
    if state in lifecycle.INTERRUPTED:
        return ExitCode.WAITS_FOR_USER
    lost = (lifecycle.FAILED, lifecycle.REJECTED, lifecycle.CANCELED)
    return ExitCode.AGENT_FAILED if state in lost else ExitCode.OK
