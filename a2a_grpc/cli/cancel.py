"""`a2a-grpc cancel`, which cancels a task."""

from typing import Annotated

import typer

from a2a_grpc.cli.content import metadata_of
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.session import Session
from a2a_grpc.client.operations import cancel_request


async def cancel(
    session: Session,
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    metadata: Annotated[
        list[str] | None,
        typer.Option("-m", "--metadata", metavar="KEY=VALUE", help="Metadata of the cancellation, for the agent."),
    ] = None,
) -> ExitCode:
    """Cancel a task."""
    entries = metadata_of(metadata or [])
    if session.as_grpcurl:
        return await session.grpcurl("CancelTask", cancel_request(task_id, entries))
    async with session.client() as client:
        task = await client.cancel(task_id, metadata=entries)
    if session.show.as_json:
        session.show.json(task)
    else:
        session.show.status(task.status, task.id)
    return ExitCode.OK
