"""`a2a-grpc list`, which lists the caller's tasks."""

from datetime import UTC, datetime
from typing import Annotated, cast

import typer

from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.rows import show_rows
from a2a_grpc.cli.session import Session
from a2a_grpc.client.pages import list_request
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import TaskState


async def list_tasks(
    session: Session,
    state: Annotated[str, typer.Option("--state", help="Only tasks in this state, such as WORKING.")] = "",
    context: Annotated[str, typer.Option("--context", help="Only tasks of this conversation (context id).")] = "",
    since: Annotated[
        datetime | None, typer.Option("--since", help="Only tasks whose state changed at this time or later (UTC).")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of tasks to show, at most.")] = 50,
    artifacts: Annotated[bool, typer.Option("--artifacts", help="Include artifacts. Only with '-o json'.")] = False,
) -> ExitCode:
    """List your tasks, the most recently changed first."""
    wanted = _state(state) if state else TaskState.TASK_STATE_UNSPECIFIED
    moment = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
    page_size = min(limit, 100)
    if session.as_grpcurl:
        request = list_request(
            context_id=context, status=wanted, since=moment, page_size=page_size, include_artifacts=artifacts
        )
        return await session.grpcurl("ListTasks", request)
    async with session.client() as client:
        tasks = client.list(
            context_id=context, status=wanted, since=moment, page_size=page_size, include_artifacts=artifacts
        )
        shown, is_all = await show_rows(session.show, tasks, limit)
    if not (is_all and shown and session.show.as_json):
        session.show.note(_counted(shown, tasks.total or 0, is_all=is_all))
    return ExitCode.OK


def _counted(shown: int, total: int, *, is_all: bool) -> str:
    """Return how many tasks there are, in words. The `total` of an agent that does not count them is 0."""
    if is_all:
        return {0: "no tasks", 1: "1 task"}.get(shown, f"{shown} tasks")
    return f"{shown} of {total if total > shown else 'more'} tasks; --limit shows more"


def _state(name: str) -> TaskState:
    full = f"TASK_STATE_{name.upper().removeprefix('TASK_STATE_').replace('-', '_')}"
    value = TaskState.DESCRIPTOR.values_by_name.get(full)
    if value is None or not value.number:
        known = ", ".join(item.removeprefix("TASK_STATE_") for item in TaskState.keys()[1:])
        raise ConfigurationError(f"--state is '{name}'; it must be one of {known}")
    return cast(TaskState, value.number)
