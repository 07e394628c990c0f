"""`a2a-grpc subscribe`, which prints the events of a task."""

from typing import Annotated

import typer

from a2a_grpc.cli import message as given
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.follow import exit_code_for, follow
from a2a_grpc.cli.session import Session
from a2a_grpc.protocol import Key
from a2a_grpc.wire import SubscribeToTaskRequest


async def subscribe(
    session: Session,
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    after: Annotated[
        int | None,
        typer.Option("--after", min=0, help="Show only events after this sequence number, if the agent supports it."),
    ] = None,
    cancel_on_interrupt: given.CancelOnInterrupt = False,
) -> ExitCode:
    """Show a task, then its events as they arrive, until the task has ended.

    If the task has already ended, only the task is shown.
    """
    if session.as_grpcurl:
        place = [(Key.AFTER, str(after))] if after is not None else []
        return await session.grpcurl("SubscribeToTask", SubscribeToTaskRequest(id=task_id), *place)
    async with session.client() as client:
        events = client.subscribe(task_id, after=after)
        await follow(session, client, events, to_the_end=True, cancel_on_interrupt=cancel_on_interrupt)
    return exit_code_for(events.state)
