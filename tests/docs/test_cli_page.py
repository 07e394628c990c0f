"""The tables of docs/cli.md are complete: commands, their options, exit codes."""

import re
from typing import Any

import typer.main

from a2a_grpc.cli.app import VERBS, app
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.client import ClientSettings
from tests.harness import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()

SHARED = ("Calling", "Output", str(ClientSettings.__doc__).splitlines()[0].rstrip("."))
"""Groups of options that each command has which calls an agent."""


def commands() -> dict[str, Any]:
    """Return the commands that call an agent, except those with commands of their own."""
    top: Any = typer.main.get_command(app())
    return {name: top.commands[name] for name in VERBS if name not in ("serve", "sentinel", "completion", "db", "push")}


def test_each_command_is_in_the_table() -> None:
    table = PAGE.partition("## Commands")[2].partition("\n## ")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(VERBS)


def test_each_option_of_each_command_is_named() -> None:
    for verb, command in commands().items():
        for parameter in command.params:
            panel = getattr(parameter, "rich_help_panel", None)
            if panel not in SHARED and parameter.opts[0].startswith("-") and parameter.name != "help":
                flag = next(flag for flag in parameter.opts if flag.startswith("--"))
                assert f"`{flag}" in PAGE, f"{verb} {flag}"


def test_each_exit_code_is_in_the_table() -> None:
    table = PAGE.partition("## Exit codes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(int(code)) for code in ExitCode]
