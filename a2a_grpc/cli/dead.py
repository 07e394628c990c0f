"""`a2a-grpc push dead`, which shows and repeats what could not be delivered to push configs."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from a2a_grpc.cli.database import Output, Url, ask_store, say
from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import TaskPushNotificationConfig

if TYPE_CHECKING:
    from a2a_grpc.store import DeadPush
    from a2a_grpc.store.sql import SqlStore

PAGE = 500
EPILOG = "Exit codes: 0 ok, 1 no such config is dead, 2 usage, 3 unreachable."

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.", show_default=False)]
ConfigId = Annotated[str, typer.Argument(metavar="CONFIG", help="Id of the push config.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="Take all dead configs, or all of the task.")]


def commands() -> typer.Typer:
    """Return the group of the `push dead` commands."""
    of_group = "Manage push configs to which deliveries were given up."
    app = typer.Typer(cls=Group, no_args_is_help=True, help=of_group)
    functions: dict[str, Callable[..., None]] = {"list": list_dead, "show": show, "replay": replay, "drop": drop}
    for name, function in functions.items():
        about = with_examples(f"push dead {name}", function.__doc__)
        app.command(name, cls=Command, help=about, epilog=EPILOG)(function)
    return app


def list_dead(store: Url, output: Output = OutputFormat.TEXT) -> None:
    """List the configs to which deliveries were given up, with the reason."""
    found = ask_store(lambda url: _dead(url, "", ""), store)
    for dead in found:
        _show(dead, output, is_long=False)
    if not found and output is OutputFormat.TEXT:
        say("no dead push configs")


def show(task: TaskId, config: ConfigId, store: Url, output: Output = OutputFormat.TEXT) -> None:
    """Show one of these configs."""
    for dead in _found(ask_store(lambda url: _dead(url, task, config), store)):
        _show(dead, output, is_long=True)


def replay(
    store: Url, task: TaskId = "", config: ConfigId = "", every: All = False, output: Output = OutputFormat.TEXT
) -> None:
    """Make configs due again. A running server sends the task as it is now, with all attempts."""
    _check_names(task, config, every)
    count = ask_store(lambda url: _each(url, task, config, lambda opened, dead: opened.revive_push(dead.name)), store)
    _say_count(count, "due again", output)


def drop(
    store: Url, task: TaskId = "", config: ConfigId = "", every: All = False, output: Output = OutputFormat.TEXT
) -> None:
    """Delete configs to which deliveries were given up."""
    _check_names(task, config, every)
    count = ask_store(lambda url: _each(url, task, config, lambda opened, dead: opened.drop_push(dead.name)), store)
    _say_count(count, "deleted", output)


def _check_names(task: str, config: str, every: bool) -> None:
    if not every and not (task and config):
        raise typer.BadParameter("the value is not complete: give TASK and CONFIG, or --all")


@asynccontextmanager
async def _opened(url: str) -> "AsyncIterator[SqlStore]":
    from a2a_grpc.database.urls import DatabaseUrl
    from a2a_grpc.database.usable import check_there
    from a2a_grpc.store.sql import SqlStore

    check_there(DatabaseUrl.parse(url))
    store = SqlStore(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _dead(url: str, task: str, config: str) -> "list[DeadPush]":
    async with _opened(url) as store:
        return [dead async for dead in _pages(store, task, config)]


async def _each(url: str, task: str, config: str, change: "Callable[[SqlStore, DeadPush], Awaitable[bool]]") -> int:
    async with _opened(url) as store:
        return sum([await change(store, dead) async for dead in _pages(store, task, config)])


async def _pages(store: "SqlStore", task: str, config: str) -> "AsyncIterator[DeadPush]":
    after = None
    while page := await store.dead_pushes(after, PAGE):
        for dead in page:
            if task in ("", dead.name.key.id) and config in ("", dead.name.id):
                yield dead
        after = page[-1].name


def _found(dead: "list[DeadPush]") -> "list[DeadPush]":
    if not dead:
        say("no such push config is dead")
        raise typer.Exit(1)
    return dead


def _say_count(count: int, what: str, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        say(json.dumps({"count": count}))
    elif count:
        say(f"{count} push config{'' if count == 1 else 's'} {what}")
    else:
        say("no such push config is dead")
    raise typer.Exit(0 if count else 1)


def _show(dead: "DeadPush", output: OutputFormat, *, is_long: bool) -> None:
    config = TaskPushNotificationConfig.FromString(dead.push.config)
    key, at = dead.name.key, datetime.fromtimestamp(dead.at_us / 1e6, UTC).isoformat(timespec="seconds")
    fields = {
        "task": key.id,
        "config": dead.name.id,
        "url": mask_url(config.url),
        "attempts": dead.attempts,
        "seq": dead.seq,
        "at": at,
        "error": dead.error,
        "tenant": key.tenant,
        "owner": key.owner,
    }
    if output is OutputFormat.JSON:
        say(json.dumps(fields, ensure_ascii=False))
    elif is_long:
        for name, value in fields.items():
            say(f"{name}: {one_line(str(value))}")
    else:
        say(one_line(f"{key.id}  {dead.name.id}  {fields['url']}  {dead.attempts} attempts  {at}  {dead.error}"))
