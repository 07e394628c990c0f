"""The verbs, put together."""

import os
import sys
from importlib.metadata import version
from io import TextIOWrapper

import typer

from a2a_grpc.cli import serve
from a2a_grpc.cli.cancel import cancel
from a2a_grpc.cli.card import card
from a2a_grpc.cli.completion import completion
from a2a_grpc.cli.db import commands as db_commands
from a2a_grpc.cli.doctor import doctor
from a2a_grpc.cli.exits import EPILOG
from a2a_grpc.cli.get import get
from a2a_grpc.cli.health import health
from a2a_grpc.cli.list import list_tasks
from a2a_grpc.cli.ping import ping
from a2a_grpc.cli.push import commands as push_commands
from a2a_grpc.cli.send import send
from a2a_grpc.cli.stream import stream
from a2a_grpc.cli.subscribe import subscribe
from a2a_grpc.cli.verb import Verb, verb
from a2a_grpc.cli.wait import wait

VERBS: dict[str, Verb] = {
    "card": card,
    "send": send,
    "stream": stream,
    "subscribe": subscribe,
    "get": get,
    "list": list_tasks,
    "cancel": cancel,
    "wait": wait,
    "health": health,
    "ping": ping,
    "doctor": doctor,
}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"a2a-grpc {version('a2a-grpc')}")
        raise typer.Exit


def app() -> typer.Typer:
    """The command line, with all its verbs."""
    top_level = typer.Typer(
        name="a2a-grpc",
        help="A2A v1.0 agents over gRPC.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @top_level.callback()
    def top(
        show_version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        pass

    top_level.command("serve", help=serve.HELP)(serve.command())
    for name, function in VERBS.items():
        top_level.command(name, epilog=EPILOG)(verb(function))
    top_level.add_typer(db_commands(), name="db")
    top_level.add_typer(push_commands(), name="push")
    top_level.command("completion")(completion)
    return top_level


def main() -> None:
    """The console script."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what fails is told here, in one line
    for output in (sys.stdout, sys.stderr):  # what an encoding does not have is told by its number
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    app()()
