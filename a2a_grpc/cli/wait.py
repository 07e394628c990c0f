"""`a2a-grpc wait`, which waits until a task is settled."""

from enum import StrEnum
from typing import Annotated

import typer

from a2a_grpc.cli import message as given
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.follow import ask, exit_code_for, follow, wait_for
from a2a_grpc.cli.session import Session
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import GetTaskRequest, Task


class Way(StrEnum):
    """The strategies of the command."""

    AUTO = "auto"
    SUBSCRIBE = "subscribe"
    POLL = "poll"


async def wait(
    session: Session,
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    poll: Annotated[
        float | None,
        typer.Option(
            "--poll",
            metavar="SECONDS",
            min=0.01,
            help="Ask for the task every SECONDS, instead of following its events.",
        ),
    ] = None,
    strategy: Annotated[
        Way,
        typer.Option(
            help="How to wait: follow the events (subscribe), ask again and again (poll), or follow until "
            "--max-lost-streams streams were lost, then ask (auto)."
        ),
    ] = Way.AUTO,
    cancel_on_interrupt: given.CancelOnInterrupt = False,
) -> ExitCode:
    """Wait until a task has ended or waits for its user, then show the task.

    The command waits as long as the task takes, and connects again if the connection is lost. --timeout limits it.
    """
    if session.as_grpcurl:
        return await session.grpcurl("GetTask", GetTaskRequest(id=task_id))
    if poll is not None and strategy is Way.SUBSCRIBE:
        raise ConfigurationError("--poll and --strategy=subscribe exclude each other")
    async with session.client() as client:
        with session.show.waiting():
            if poll is None and strategy is not Way.POLL:
                max_lost = session.settings.max_lost_streams if strategy is Way.AUTO else None
                events = client.subscribe(task_id, max_lost=max_lost)
                task = await follow(session, client, events, tell=False, cancel_on_interrupt=cancel_on_interrupt)
            else:
                task = await wait_for(session, client, task_id, poll_s=poll, cancel_on_interrupt=cancel_on_interrupt)
    assert isinstance(task, Task)  # a subscription begins with the task
    if session.show.as_json:
        session.show.json(task)
    else:
        session.show.answer(task)
    ask(session, task.id, task.status.state)
    return exit_code_for(task.status.state)
