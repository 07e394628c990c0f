"""`a2a-grpc completion`, which prints a script that completes words in a shell."""

import os
from enum import StrEnum
from typing import Annotated

import typer

VARIABLE = "_A2A_GRPC_COMPLETE"
"""The variable with which a shell, and this verb, ask the program for completions."""


class Shell(StrEnum):
    """The shells for which there is a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell to complete for.")]
) -> None:
    """Print a script that completes this command in a shell."""
    os.environ[VARIABLE] = f"source_{shell}"
    context.find_root().command.main(prog_name="a2a-grpc")
