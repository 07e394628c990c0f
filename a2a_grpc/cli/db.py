"""`a2a-grpc db`, which manages the database of a store."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.exits import ExitCode, exit_code_of, say_error
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.harmless import one_line

T = TypeVar("T")

Url = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="A2A_GRPC_STORE",
        metavar="URL",
        help="URL of the task store: sqlite:///FILE, postgresql://…, mysql://… \\[env: A2A_GRPC_STORE]",
        show_envvar=False,
    ),
]
Output = Annotated[
    OutputFormat, typer.Option("-o", "--output", help="Format of the output. 'json' prints one JSON object per line.")
]

EPILOG = "Exit codes: 0 ok, 1 the schema is not what this version needs, 2 usage, 3 unreachable."


def commands() -> typer.Typer:
    """Return the group of the `db` commands."""
    app = typer.Typer(
        cls=Group, no_args_is_help=True, help="Look after the database that stores tasks: its schema and its agent."
    )
    for function in (upgrade, current, rename):
        about = with_examples(f"db {function.__name__}", function.__doc__)
        app.command(cls=Command, help=about, epilog=EPILOG)(function)
    return app


def upgrade(store: Url, output: Output = OutputFormat.TEXT) -> None:
    """Upgrade a database to the schema that this version needs. A server upgrades SQLite files by itself."""
    from a2a_grpc.store.sql import migrations  # SQLAlchemy takes its time to import

    before, after = ask_store(migrations.upgrade, store)
    if output is OutputFormat.JSON:
        say(json.dumps({"from": before, "to": after}))
    elif before == after:
        say(f"{_shown(store)}: the schema is up to date, at {after}")
    elif before == migrations.NONE:
        say(f"{_shown(store)}: the tables were created, the schema is at {after}")
    else:
        say(f"{_shown(store)}: the schema was upgraded from {before} to {after}")


def current(store: Url, output: Output = OutputFormat.TEXT) -> None:
    """Show the schema version of a database. The exit code is 0 if this version needs no upgrade, else 1."""
    from a2a_grpc.store.command import db_command
    from a2a_grpc.store.sql import migrations

    at, needed = ask_store(migrations.current, store)
    if output is OutputFormat.JSON:
        say(json.dumps({"at": at, "needed": needed}))
    elif at == needed:
        say(f"{_shown(store)}: the schema is at {at}, as this version needs it")
    elif at > needed and at != migrations.NONE:
        newer = f"which is newer than this version of a2a-grpc knows ({needed}); install a newer version"
        say(f"{_shown(store)}: the schema is at {at}, {newer}")
    else:
        say(f"{_shown(store)}: {migrations.lacks(at)}; {db_command('upgrade', _shown(store))}")
    raise typer.Exit(0 if at == needed else 1)


def rename(
    name: Annotated[str, typer.Argument(metavar="NAME", help="New name of the agent, as in its card.")],
    store: Url,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Rename the agent that owns a database. Running servers continue; new servers need the new name."""
    from a2a_grpc.store.sql.owner import rename_at

    before = ask_store(lambda url: rename_at(url, name), store)
    if output is OutputFormat.JSON:
        say(json.dumps({"from": before, "to": name}, ensure_ascii=False))
    else:
        then = f"; before, of '{one_line(before)}'" if before else ""
        say(f"{_shown(store)}: the tasks are those of the agent '{one_line(name)}' now{then}")


def ask_store(question: Callable[[str], Awaitable[T]], store: str) -> T:
    """Return the answer of a store's database. An error is printed in one line, and ends the command with a code."""

    async def ask() -> T:
        return await question(store)

    try:
        _check_database(store)
        return asyncio.run(ask())
    except StoreUnavailable as error:
        say_error(error)
        raise typer.Exit(ExitCode.UNREACHABLE) from None
    except ConfigurationError as error:
        say_error(error)
        raise typer.Exit(exit_code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _check_database(store: str) -> None:
    """Raise ConfigurationError for a store that has no database."""
    if store.partition(":")[0] == "memory":
        raise ConfigurationError(
            f"store is '{store}'; it keeps tasks in the memory of the server and has no database; "
            "give sqlite:///FILE, postgresql://…, mysql://… or mariadb://…"
        )


def say(line: str) -> None:
    """Print a line to standard output."""
    print(line, flush=True)  # noqa: T201


def _shown(store: str) -> str:
    """Return the URL of a database without its password."""
    from a2a_grpc.database.urls import DatabaseUrl

    return DatabaseUrl.parse(store).shown
