"""The command with all its verbs. The module of a verb is imported only when the verb is used."""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
import typer.main

from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.screen import guard
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.shortage import ending_if_short

VERBS = (
    "init",
    "serve",
    "sentinel",
    "agents",
    "card",
    "chat",
    "send",
    "stream",
    "subscribe",
    "get",
    "list",
    "cancel",
    "wait",
    "health",
    "ping",
    "doctor",
    "top",
    "login",
    "logout",
    "completion",
    "keys",
    "db",
    "push",
)
"""All verbs, in the order of the help. Each is a module."""


class Commands(Mapping[str, object]):
    """The commands by name, each made when it is looked up."""

    def __getitem__(self, name: str) -> object:
        if name not in VERBS:
            raise KeyError(name)
        alone = typer.Typer()
        _add(alone, name)
        return typer.main.get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class TopLevel(Group):
    """The group of all verbs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": Commands()})

    def list_commands(self, ctx: object) -> list[str]:
        return list(self.commands)  # only the names, while Typer would also make the commands


def _add(app: typer.Typer, name: str) -> None:
    """Import a verb and add its command."""
    module = import_module(f"a2a_grpc.cli.{name}")
    match name:
        case "serve" | "sentinel":
            app.command(name, cls=Command, help=with_examples(name, module.HELP))(module.command())
        case "logout" | "top":
            function = getattr(module, name)
            app.command(name, cls=Command, help=with_examples(name, function.__doc__), epilog=module.EPILOG)(function)
        case "completion" | "init":
            function = getattr(module, name)
            app.command(name, cls=Command, help=with_examples(name, function.__doc__))(function)
        case "agents" | "db" | "keys" | "push":
            app.add_typer(module.commands(), name=name)
        case _:
            from a2a_grpc.cli.exits import EPILOG  # these import the client
            from a2a_grpc.cli.verb import verb

            function = getattr(module, "list_tasks" if name == "list" else name)
            about = with_examples(name, function.__doc__)
            command = verb(function, authenticates=name != "login", hears_interrupts=name == "chat")
            app.command(name, cls=Command, help=about, epilog=EPILOG)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # takes its time to import

        print(f"a2a-grpc {version('a2a-grpc')}", flush=True)  # noqa: T201
        raise typer.Exit


def app() -> typer.Typer:
    """Return the command line with all its verbs."""
    top_level = typer.Typer(
        name="a2a-grpc",
        cls=TopLevel,
        help="Serve and call A2A 1.0 agents over gRPC.",
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

    return top_level


def main() -> None:
    """Run the command line, as the console script `a2a-grpc`."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the command prints failures itself, in one line
    # Agents may start processes. With this on, grpcio 1.85 ends one forked process in four with SIGSEGV.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    guard()
    with ending_if_short():
        app()()
