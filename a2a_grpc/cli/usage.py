"""Commands whose usage errors repeat no value of the user, since it may be a misplaced secret."""

import re
import sys
from contextlib import redirect_stdout
from typing import Any, NoReturn, TextIO, cast

import typer
import typer.core

from a2a_grpc.cli.output import OutputError
from a2a_grpc.cli.screen import Guarded, Screen
from a2a_grpc.config import PREFIX

# Typer has its own copy of click, or uses the installed one. So the classes are reached from one that it exports.
UsageError: type[Any] = typer.BadParameter.__mro__[1]
ClickException: type[Any] = typer.BadParameter.__mro__[2]

_PLAIN_OPTION = re.compile(r"--?[a-z][a-z-]{0,23}|-\w")
"""A text that looks like the name of an option, such as `--tokn`, and not like a secret."""


class _Command:
    """The base of `Command` and `Group`. It prints their usage errors, and keeps the styles of their help."""

    def main(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run the command line to its end, as Typer does, but print usage errors in another way."""
        try:
            code = super().main(*arguments, **{**options, "standalone_mode": False})  # type: ignore[misc]
        except ClickException as error:
            _say(error)
            sys.exit(error.exit_code)
        except OutputError as error:
            _end_without_output(error)
        except typer.Abort:
            Screen.of_stderr().say("Aborted.")
            sys.exit(1)
        sys.exit(code or 0)

    def format_help(self, *arguments: Any) -> None:
        """Print the help. All its words and styles come from this package.

        Typer prints flags that turn a setting off in another column, which leaves too little of 80 columns for the
        longest flags. The help of a setting names these flags, so the column is left out.
        """
        from typer import rich_utils  # takes its time to import

        for parameter in self.params:  # type: ignore[attr-defined]
            if all(flag in (getattr(parameter, "help", "") or "") for flag in parameter.secondary_opts):
                parameter.secondary_opts = []
        stream = sys.stdout
        rich_utils.FORCE_TERMINAL = stream.isatty()  # Typer reads FORCE_COLOR and similar variables
        with redirect_stdout(cast(TextIO, stream.plain) if isinstance(stream, Guarded) else stream):
            super().format_help(*arguments)  # type: ignore[misc]


def _end_without_output(error: OutputError) -> NoReturn:
    """End after standard output failed. Print nothing if its reader closed it, and one line otherwise."""
    from a2a_grpc.cli.exits import ExitCode, say_failure  # these import the client

    if error.is_closed:
        sys.exit(ExitCode.OK)
    say_failure(str(error))
    sys.exit(ExitCode.OUTPUT)


def give_variable(parameter: Any) -> None:
    """Let an option be given as an environment variable, `A2A_GRPC_<OPTION>`, if the option names no variable itself.

    The variable of an option that may be given several times has one value in each line.
    """
    flag = next((flag for flag in parameter.opts if flag.startswith("--")), "")
    if parameter.param_type_name != "option" or parameter.is_eager or f"env: {PREFIX}" in (parameter.help or ""):
        return
    name = parameter.envvar or PREFIX + flag[2:].replace("-", "_").upper()
    parameter.envvar, parameter.show_envvar = name, False
    parameter.help = f"{parameter.help or ''} \\[env: {name}]"
    if parameter.multiple:
        parameter.value_from_envvar = lambda context: _lines(parameter.resolve_envvar_value(context))


def _lines(text: str | None) -> list[str] | None:
    """Return the lines of a variable; None if the variable is not set."""
    return None if text is None else [line for line in text.split("\n") if line]


class Command(_Command, typer.core.TyperCommand):
    """A verb."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for parameter in self.params:
            give_variable(parameter)


class Group(_Command, typer.core.TyperGroup):
    """A verb that has verbs itself."""


def _say(error: Any) -> None:
    """Print what is wrong with the command line. A group without a verb has shown its help already."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return
    screen = Screen.of_stderr()
    if context := getattr(error, "ctx", None):
        screen.say(context.get_usage(), style="yellow")
        screen.say(f"Try '{context.command_path} {context.help_option_names[0]}' for help.", style="dim")
    screen.say(("Error:", "bold red"), " ", without_values(error))


def without_values(error: Any) -> str:
    """Return the message of a usage error, without any value that was given.

    The names of options stay if they are known, or near to a known one. Nothing of an unknown message stays.
    """
    text: str = error.format_message()
    kind = type(error).__name__
    if kind == "NoSuchOption":
        is_plain = _PLAIN_OPTION.fullmatch(error.option_name)
        return text if is_plain else "No such option; its name is not shown, as it may be a secret"
    if kind in ("MissingParameter", "BadOptionUsage", "BadArgumentUsage") or text == "Missing command.":
        return text
    if kind == "BadParameter":
        return text.removesuffix(error.message) + _reason(error.message)
    if text.startswith("Got unexpected extra argument"):
        return text.partition(" (")[0] + "; they are not shown, as they may be secrets"
    if text.startswith("No such command") and "Did you mean" in text:
        return text
    if text.startswith("No such command"):
        return "No such command; its name is not shown, as it may be a secret"
    return "The command line cannot be read"


def _reason(message: str) -> str:
    """Return what is wrong with the value of a parameter, without the quoted value before these words."""
    for words in (" is not ", " does not "):
        if words in message:
            return f"the value{words}{message.rpartition(words)[2]}"
    return message if message.startswith("Input should ") else "the value cannot be read"
