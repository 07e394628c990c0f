"""`a2a-grpc get`, which shows a task."""

from typing import Annotated

import typer

from a2a_grpc.cli import saving
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.session import Session
from a2a_grpc.config import ConfigurationError
from a2a_grpc.protocol import NO_ARTIFACTS, Key
from a2a_grpc.wire import GetTaskRequest


async def get(
    session: Session,
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    history: Annotated[
        int | None, typer.Option("--history", min=0, help="Number of most recent messages to show. Default: all.")
    ] = None,
    no_artifacts: Annotated[
        bool, typer.Option("--no-artifacts", help="Leave out artifacts, for a task that is too large to read.")
    ] = False,
    save: saving.SaveOption = None,
    force: saving.ForceOption = False,
) -> ExitCode:
    """Show the artifacts, messages and state of a task."""
    saving.check(save, force=force)
    if save is not None and no_artifacts:
        raise ConfigurationError("--save and --no-artifacts exclude each other; files are artifacts")
    if session.as_grpcurl:
        metadata = [(Key.ARTIFACTS, NO_ARTIFACTS)] if no_artifacts else []
        return await session.grpcurl("GetTask", GetTaskRequest(id=task_id, history_length=history), *metadata)
    async with session.client() as client:
        task = await client.get(task_id, history_length=history, artifacts=not no_artifacts)
    session.show.task(task)
    if save is not None:
        saving.save(task, save, session.show, force=force)
    return ExitCode.OK
