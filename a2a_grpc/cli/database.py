"""What the commands about the database of a store share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from a2a_grpc.cli.exits import ExitCode, exit_code_of, say_error
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.output import OutputError
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreUnavailable

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


def ask_store(question: Callable[[str], Awaitable[T]], store: str) -> T:
    """Return the answer of a store's database. An error is printed in one line, and ends the command with a code."""

    async def ask() -> T:
        return await question(store)

    try:
        check_database(store)
        return asyncio.run(ask())
    except StoreUnavailable as error:
        if isinstance(error.__cause__, OutputError):  # standard output failed, not the database
            raise error.__cause__ from None
        say_error(error)
        raise typer.Exit(ExitCode.UNREACHABLE) from None
    except ConfigurationError as error:
        say_error(error)
        raise typer.Exit(exit_code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def check_database(store: str) -> None:
    """Raise ConfigurationError for a store that has no database."""
    if store.partition(":")[0] == "memory":
        raise ConfigurationError(
            f"store is '{store}'; it keeps tasks in the memory of the server and has no database; "
            "give sqlite:///FILE, postgresql://…, mysql://… or mariadb://…"
        )


def say(line: str) -> None:
    """Print a line to standard output."""
    print(line, flush=True)  # noqa: T201


def shown(store: str) -> str:
    """Return the URL of a database without its password."""
    from a2a_grpc.database.urls import DatabaseUrl

    return DatabaseUrl.parse(store).shown
