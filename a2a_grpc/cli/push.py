"""`a2a-grpc push`, which manages the push configs of a task."""

from typing import Annotated

import typer

from a2a_grpc.cli import dead
from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.exits import EPILOG, ExitCode
from a2a_grpc.cli.grpcurl import PUSH_CREDENTIALS, PUSH_TOKEN, PUSH_URL
from a2a_grpc.cli.listen import listen
from a2a_grpc.cli.session import Session
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.cli.verb import Verb, verb
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import (
    AuthenticationInfo,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    TaskPushNotificationConfig,
)

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")]
ConfigId = Annotated[str, typer.Argument(metavar="CONFIG", help="Id of the push config.")]


def commands() -> typer.Typer:
    """Return the group of the `push` commands."""
    of_group = "Manage push configs: URLs that an agent calls with the events of a task."
    app = typer.Typer(cls=Group, no_args_is_help=True, help=of_group)
    functions: dict[str, Verb] = {
        "create": create,
        "get": get,
        "list": list_configs,
        "delete": delete,
        "listen": listen,
    }
    for name, function in functions.items():
        about = with_examples(f"push {name}", function.__doc__)
        app.command(name, cls=Command, help=about, epilog=EPILOG)(verb(function))
    app.add_typer(dead.commands(), name="dead")
    return app


async def create(
    session: Session,
    task_id: TaskId,
    url: Annotated[str, typer.Argument(metavar="URL", help="URL that the agent is to call.")],
    config_id: Annotated[
        str, typer.Option("--id", help="Id of the config. A config with the same id is replaced.")
    ] = "",
    push_token: Annotated[
        str,
        typer.Option("--push-token", envvar="A2A_GRPC_PUSH_TOKEN", help="Token that the agent sends with its calls."),
    ] = "",
    scheme: Annotated[
        str, typer.Option("--auth-scheme", help="Authentication scheme of the agent's calls, such as Bearer.")
    ] = "",
    secret: Annotated[
        str, typer.Option("--auth-credentials", envvar="A2A_GRPC_PUSH_CREDENTIALS", help="Credentials for that scheme.")
    ] = "",
) -> ExitCode:
    """Have the agent call a URL with the events of a task."""
    session.show.hide([push_token, secret])
    if session.as_grpcurl:
        url = PUSH_URL if mask_url(url) != url else url
        push_token, secret = PUSH_TOKEN if push_token else "", PUSH_CREDENTIALS if secret else ""
    config = TaskPushNotificationConfig(task_id=task_id, id=config_id, url=url, token=push_token)
    if scheme:
        config.authentication.CopyFrom(AuthenticationInfo(scheme=scheme, credentials=secret))
    if session.as_grpcurl:
        return await session.grpcurl("CreateTaskPushNotificationConfig", config)
    async with session.client() as client:
        _show(session, await client.create_push_config(config))
    return ExitCode.OK


async def get(session: Session, task_id: TaskId, config_id: ConfigId) -> ExitCode:
    """Show a push config."""
    if session.as_grpcurl:
        request = GetTaskPushNotificationConfigRequest(task_id=task_id, id=config_id)
        return await session.grpcurl("GetTaskPushNotificationConfig", request)
    async with session.client() as client:
        _show(session, await client.get_push_config(task_id, config_id))
    return ExitCode.OK


async def list_configs(session: Session, task_id: TaskId) -> ExitCode:
    """List the push configs of a task."""
    if session.as_grpcurl:
        return await session.grpcurl(
            "ListTaskPushNotificationConfigs", ListTaskPushNotificationConfigsRequest(task_id=task_id)
        )
    shown = 0
    async with session.client() as client:
        async for config in client.list_push_configs(task_id):
            shown += 1
            _show(session, config)
    if not shown:
        session.show.note("no push configs")
    return ExitCode.OK


async def delete(session: Session, task_id: TaskId, config_id: ConfigId) -> ExitCode:
    """Delete a push config."""
    if session.as_grpcurl:
        request = DeleteTaskPushNotificationConfigRequest(task_id=task_id, id=config_id)
        return await session.grpcurl("DeleteTaskPushNotificationConfig", request)
    async with session.client() as client:
        await client.delete_push_config(task_id, config_id)
    session.show.note(f"push config {config_id} of task {task_id} is deleted")
    return ExitCode.OK


def _show(session: Session, config: TaskPushNotificationConfig) -> None:
    if session.show.as_json:
        session.show.json(config)
    else:
        session.show.fields(config.id, "  ", mask_url(config.url))
