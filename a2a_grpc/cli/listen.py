"""`a2a-grpc push listen`, which prints the push notifications that arrive."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from a2a_grpc.address import is_wildcard
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.grpcurl import PUSH_TOKEN
from a2a_grpc.cli.options import LogFormatOption, LogLevel, LogLevelOption
from a2a_grpc.cli.session import Session
from a2a_grpc.client import Client
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.loglines import LogFormat, log_to_stderr
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import TaskPushNotificationConfig

if TYPE_CHECKING:
    from a2a_grpc.push import Notification

MAX_CONNECTIONS = 100
DELETE_TIMEOUT_S = 5.0
"""Seconds for deleting the configs at the end, for an agent that does not answer."""


async def listen(
    session: Session,
    task_ids: Annotated[
        list[str], typer.Option("--task", metavar="TASK", help="Id of a task whose notifications the agent is to send. "
                                "May be given several times.", show_default=False)
    ] = [],  # noqa: B006
    host: Annotated[str, typer.Option("--host", help="Host to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 chooses a free port.")
    ] = 0,
    url: Annotated[
        str, typer.Option("--url", help="URL at which the agent reaches this program. \\[default: http://HOST:PORT/]",
                          show_default=False)
    ] = "",
    push_token: Annotated[
        str,
        typer.Option("--push-token", envvar="A2A_GRPC_PUSH_TOKEN", help="Token that notifications must have. "
                     "\\[default: a new one]", show_default=False),
    ] = "",
    jwks_url: Annotated[
        str | None,
        typer.Option("--jwks-url", help="URL of the agent's key set; with it, notifications must be signed by a key.",
                     show_default=False),
    ] = None,
    log_level: LogLevelOption = LogLevel.WARNING,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> ExitCode:  # fmt: skip
    """Print push notifications as they arrive, each verified, until Ctrl-C.

    With --task, the agent is asked to send the notifications of this task here, and at the end to send no more.
    """
    log_to_stderr(log_level, log_format)
    if session.as_grpcurl:
        if not (task_ids and url):
            raise ConfigurationError("--as-grpcurl needs --task and --url, since nothing listens")
        for task_id in task_ids:
            config = TaskPushNotificationConfig(task_id=task_id, url=mask_url(url), token=PUSH_TOKEN)
            await session.grpcurl("CreateTaskPushNotificationConfig", config)
        return ExitCode.OK
    if is_wildcard(host) and task_ids and not url:
        raise ConfigurationError(f"--url is missing; --host {host} is not an address that an agent can call")
    if url:
        _check_url(url)
    token = push_token or secrets.token_urlsafe(32)
    if push_token or task_ids:
        session.show.hide([token])
    from a2a_grpc.listening.http import HttpPort  # aiohttp takes its time to import
    from a2a_grpc.push import PushReceiver

    receiver = PushReceiver(_printing(session), jwks_url=jwks_url)
    http = HttpPort(receiver.application("/{path:.*}"))
    address = await http.start(host, port, limit=MAX_CONNECTIONS)
    here = url or f"http://{address}/"
    configs = [TaskPushNotificationConfig(task_id=task_id, url=here, token=token) for task_id in task_ids or [""]]
    try:
        for config in configs:
            receiver.expect(config)
        async with _registered(session, configs if task_ids else []):
            session.show.note(f"listening at {mask_url(here)}")
            if not (push_token or task_ids):
                session.show.note(f"give it to an agent with: a2a-grpc push create TASK {here} --push-token {token}")
            await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        if not session.interrupted.is_set():
            raise
    finally:
        await http.stop()
    return ExitCode.OK


def _printing(session: Session) -> "Callable[[Notification], Awaitable[None]]":
    """Return the callback that prints a notification."""

    async def show(notification: "Notification") -> None:
        with session.show.following():
            session.show.event(notification.event)

    return show


@asynccontextmanager
async def _registered(session: Session, configs: list[TaskPushNotificationConfig]) -> AsyncIterator[None]:
    """Register configs at the agent, and delete them at the end of the block."""
    if not configs:
        yield
        return
    made: list[TaskPushNotificationConfig] = []
    async with session.client() as client:
        try:
            for config in configs:
                made.append(await client.create_push_config(config))
            yield
        finally:
            await _delete(session, client, made)


async def _delete(session: Session, client: Client, configs: list[TaskPushNotificationConfig]) -> None:
    for config in configs:
        named = f"push config {config.id} of task {config.task_id}"
        try:
            async with asyncio.timeout(DELETE_TIMEOUT_S):
                await client.delete_push_config(config.task_id, config.id)
        except (A2AError, TimeoutError) as error:
            reason = str(error) or f"no answer within {DELETE_TIMEOUT_S:g} s"
            session.show.note(f"{named} could not be deleted: {reason}")
        else:
            session.show.note(f"deleted {named}")


def _check_url(url: str) -> None:
    from a2a_grpc.push.place import PlaceError, read

    try:
        read(url)
    except PlaceError as error:
        raise ConfigurationError(f"--url is '{mask_url(url)}', which {error}") from None
