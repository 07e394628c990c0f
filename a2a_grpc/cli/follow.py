"""Watching a task until it is settled, or until the one who watches has enough."""

import asyncio
from contextlib import suppress

from a2a_grpc import lifecycle
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.verb import Session
from a2a_grpc.client import Client, TaskStream
from a2a_grpc.errors import A2AError
from a2a_grpc.wire import Message, Task, TaskState

CANCEL_TIMEOUT_S = 5.0


async def follow(
    session: Session,
    client: Client,
    events: TaskStream,
    *,
    tell: bool = True,
    to_the_end: bool = False,
    cancel_on_interrupt: bool = False,
) -> Task | Message | None:
    """Reads a stream until the task is settled (`to_the_end`: until the stream ends), telling every event or none.

    The task or the message that came. Interrupted, or out of time, it says how to go on, or cancels the task.
    """  # fmt: skip
    reply: Task | Message | None = None
    try:
        with session.show.following():
            async with events:
                async for event in events:
                    if tell:
                        session.show.event(event)
                    if isinstance(event, Message):
                        reply = event
                    if events.is_paused and not to_the_end:
                        break
    except asyncio.CancelledError:
        await _leave(session, client, events, cancel=cancel_on_interrupt and session.interrupted.is_set())
        raise
    return reply or events.task


async def _leave(session: Session, client: Client, events: TaskStream, *, cancel: bool) -> None:
    show, task_id = session.show, events.task_id
    if not task_id:
        show.note("stopped before the agent answered; whether it has begun a task is not known")
    elif events.state in lifecycle.TERMINAL:
        return
    elif cancel:
        with suppress(A2AError, TimeoutError):
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await client.cancel(task_id)
                show.note(f"canceled task {task_id}")
                return
        show.note(f"task {task_id} could not be canceled")
    else:
        place = f" --after {events.seq}" if events.seq is not None else ""
        show.note(
            f"stopped watching; task {task_id} goes on. To watch again: "
            f"a2a-grpc subscribe --agent {session.target} {task_id}{place}"
        )


def ask(session: Session, task: Task) -> None:
    """Says how to go on where the agent waits for somebody."""
    if task.status.state in lifecycle.INTERRUPTED and not session.show.as_json:
        session.show.note(f"to answer: a2a-grpc send --agent {session.target} --task {task.id} 'ANSWER'")


def exit_code_for(state: TaskState) -> ExitCode:
    """0, or 1 where the agent did not do what it was asked for."""
    lost = (lifecycle.FAILED, lifecycle.REJECTED, lifecycle.CANCELED)
    return ExitCode.AGENT_FAILED if state in lost else ExitCode.OK
