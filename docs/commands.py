"""The page of all commands: what `a2a-grpc COMMAND --help` says about each of them."""

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from a2a_grpc.cli.app import app

START = """\
# Reference: the command line

This page lists every command of `a2a-grpc` with its arguments and options, as `a2a-grpc COMMAND --help` does. The
[guide to the command line](cli.md) shows how the commands are used, and explains their output and their exit codes.

An option can also be given as an environment variable, whose name is in the last column. The option wins over the
variable. Options that are settings of a server, a sentinel or a client are on the [page of settings](settings.md).
"""

SHARED_START = """\
## Options of the commands that call an agent

These options belong to every command whose entry says that it calls an agent. `--help` also lists the
[settings of a client](settings.md#client) there, such as `--timeout` and `--plaintext`.
"""

SHARED = ("Calling", "OAuth 2.0", "Output")
"""The groups of options that the commands share that call an agent."""


def commands_page() -> str:
    """Return the page of all commands."""
    commands = dict(_commands(typer.main.get_command(app())))
    table = "".join(
        f"| [`{name}`](#a2a-grpc-{name.replace(' ', '-')}) | {_first(one)} |\n" for name, one in commands.items()
    )
    entries = [line for name, command in commands.items() for line in _entry(name, command)]
    shared = [line for group in SHARED for line in _group(group, commands["send"])]
    return "\n".join([START, f"| Command | What it does |\n| --- | --- |\n{table}", *entries, SHARED_START, *shared])


def _commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands of a group and of its groups, each with its name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def _entry(name: str, command: Any) -> Iterator[str]:
    yield f"## `a2a-grpc {name}`\n"
    about, _, examples = command.help.partition("\n\n\b\nExamples:\n")
    yield about + "\n"
    commands = "\n".join(line.strip() for line in examples.splitlines())
    yield f"<!-- parsed: they are examples -->\n```sh\n{commands}\n```\n"
    own = [one for one in command.params if _is_own(one)]
    if own:
        yield _table([_row(one) for one in own])
    if any(_panel(one) in SHARED for one in command.params):
        yield "It calls an agent, so it also has the [shared options](#options-of-the-commands-that-call-an-agent).\n"
    elif any(_is_setting(one) for one in command.params):
        yield "Its other options are [settings](settings.md).\n"


def _group(group: str, command: Any) -> Iterator[str]:
    yield f"### {group}\n"
    yield _table([_row(one) for one in command.params if _panel(one) == group])


def _panel(parameter: Any) -> str:
    return getattr(parameter, "rich_help_panel", None) or ""


def _is_setting(parameter: Any) -> bool:
    return "ettings of" in _panel(parameter) or "Limits" in _panel(parameter)


def _is_own(parameter: Any) -> bool:
    return parameter.name != "help" and _panel(parameter) not in SHARED and not _is_setting(parameter)


def _first(command: Any) -> str:
    """Return the first sentence of a help text."""
    return re.split(r"(?<=\.)\s", command.help, maxsplit=1)[0]


def _row(parameter: Any) -> str:
    value = parameter.metavar or parameter.name.upper()
    names = [f"`{value}`"]
    if parameter.param_type_name == "option":
        names = [f"`{name}`" for name in reversed(parameter.opts)]
        if not parameter.is_flag:
            names[0] = f"`{parameter.opts[-1]} {value}`"
    text, _, variable = (parameter.help or "").rstrip("]").partition("env: ")
    about = text.rstrip(" \\[;").replace("\\[", "[")
    about += "]" * (about.count("[") - about.count("]"))
    cells = [", ".join(names), about, f"`{variable}`" if variable else ""]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _table(rows: list[str]) -> str:
    return f"| Argument or option | Meaning | Variable |\n| --- | --- | --- |\n{''.join(rows)}"
