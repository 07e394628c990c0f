"""Commands whose usage errors repeat no value of the user, since it may be a misplaced secret."""

import re
import sys
from contextlib import redirect_stdout
from datetime import datetime
from enum import Enum
from typing import Any, NoReturn, TextIO, cast

import typer
import typer.core

from a2a_grpc.cli.output import OutputError
from a2a_grpc.cli.screen import Guarded, Screen
from a2a_grpc.config import PREFIX, number_for

# Typer has its own copy of click, or uses the installed one. So the classes are reached from one that it exports.
UsageError: type[Any] = typer.BadParameter.__mro__[1]
ClickException: type[Any] = typer.BadParameter.__mro__[2]

_PLAIN_OPTION = re.compile(r"--?[a-z][a-z-]{0,23}|-\w")
"""A text that looks like the name of an option, such as `--tokn`, and not like a secret."""

_PLAIN_VALUE = re.compile(r"[-+\w.,: ]{0,16}|[-+\d.,:TZ ]{0,32}", re.ASCII)
"""A text that looks like a mistyped number, time or word, such as `4MiB`, and not like a secret."""

INSTEAD = {
    "--port": ("--listen", "--listen HOST:PORT"),
    "--host": ("--listen", "--listen HOST:PORT"),
    "--bind": ("--listen", "--listen HOST:PORT"),
    "--skill": ("--metadata", "-m skill=NAME"),
    "--url": ("--agent", "--agent TARGET"),
    "--address": ("--agent", "--agent TARGET"),
}
"""Options that people look for: the option of this package that does the same, and how to write it."""

EXAMPLES = {"after": 10, "history": 10, "poll": 2, "timeout": 60}
"""Values of options that have no default."""

ONCE_A_TIME = "a day or a time in UTC, for example 2026-11-29 or 2026-11-29T08:00:00"


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

    The variable of an option that may be given several times has one value in each line. An option with an empty name
    of a variable has none.
    """
    if parameter.envvar == "":
        return
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


def explain(parameter: Any) -> None:
    """Let the error about a value of a number, a time, a switch or a choice say what is possible, with an example."""
    process = parameter.process_value

    def process_value(context: Any, value: Any) -> Any:
        try:
            return process(context, value)
        except typer.BadParameter as error:
            wanted = _wanted(parameter)
            if type(error) is not typer.BadParameter or not wanted:
                raise
            explained = UsageError(_said(context, parameter, value, wanted), ctx=context)
            explained.has_no_secret = True
            raise explained from error

    parameter.process_value = process_value


def _wanted(parameter: Any) -> str:
    """Return what a parameter takes, in words, or "" for texts and files."""
    kind, choices, minimum = _type_of(parameter)
    name = parameter.name
    if choices:
        return f"one of {', '.join(choices)}"
    if kind is datetime:
        return ONCE_A_TIME
    if kind is bool:
        return "true or false"
    if kind not in (int, float):
        return ""
    known = re.search(r"default: ([\d.]+);", parameter.help or "")
    default = float(known[1]) if known else parameter.default
    if parameter.metavar == "SECONDS" or (parameter.help or "").startswith("Seconds"):
        name = "_s"
    wanted = number_for(name, kind, default or EXAMPLES.get(parameter.name))
    return wanted if minimum is None else wanted.replace(", for", f", at least {minimum}, for")


def _type_of(parameter: Any) -> tuple[type, list[str], float | None]:
    """Return the type of a parameter, its choices and its minimum. Versions of Typer keep them in different places."""
    described = getattr(parameter, "type_descriptor", None)
    if described is not None:
        choices = [str(item.value if isinstance(item, Enum) else item) for item in described.choices or ()]
        return described.annotation, choices, described.parameter_info.min
    names = {"integer": int, "float": float, "boolean": bool, "datetime": datetime}
    kind = names.get(parameter.type.name.partition(" ")[0], str)
    return (
        kind,
        [str(choice) for choice in getattr(parameter.type, "choices", ())],
        getattr(parameter.type, "min", None),
    )


def _said(context: Any, parameter: Any, value: Any, wanted: str) -> str:
    """Return the message about a value. The value of an option is shown if it cannot be a secret."""
    if parameter.param_type_name != "option":
        return f"{(parameter.metavar or parameter.name).upper()} has a value that is not possible; give {wanted}"
    option = max(parameter.opts, key=len)
    source = context.get_parameter_source(parameter.name)
    given = f" (from {parameter.envvar})" if source is not None and source.name == "ENVIRONMENT" else ""
    if not _PLAIN_VALUE.fullmatch(str(value)):
        return (
            f"{option} has a value{given} that is not possible, and is not shown, as it may be a secret; give {wanted}"
        )
    return f"{option} is '{value}'{given}; give {wanted}"


class Command(_Command, typer.core.TyperCommand):
    """A verb."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        for parameter in self.params:
            give_variable(parameter)
            explain(parameter)


class Group(_Command, typer.core.TyperGroup):
    """A verb that has verbs itself."""


def _say(error: Any) -> None:
    """Print what is wrong with the command line. A group without a verb has shown its help already."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return
    screen = Screen.of_stderr()
    if context := getattr(error, "ctx", None):
        screen.say(f"{context.get_usage()}; '{context.help_option_names[0]}' shows all options", style="yellow")
    screen.say(("Error:", "bold red"), " ", without_values(error))


def without_values(error: Any) -> str:
    """Return the message of a usage error, without any value that was given.

    The names of options stay if they are known, or near to a known one. Nothing of an unknown message stays.
    """
    text: str = error.format_message()
    kind = type(error).__name__
    if getattr(error, "has_no_secret", False):
        return text
    if kind == "NoSuchOption":
        if not _PLAIN_OPTION.fullmatch(error.option_name):
            return "No such option; its name is not shown, as it may be a secret"
        known, written = INSTEAD.get(error.option_name, ("", ""))
        is_known = error.ctx is not None and any(known in parameter.opts for parameter in error.ctx.command.params)
        return f"No such option: {error.option_name}; use {written}" if is_known else text
    if kind in ("MissingParameter", "BadOptionUsage", "BadArgumentUsage") or text == "Missing command.":
        return text
    if kind == "BadParameter":
        return text.removesuffix(error.message) + _reason(error.message)
    if text.startswith("Got unexpected extra argument"):
        taken = _arguments(error.ctx)
        return f"Got unexpected extra argument(s); {taken}; the others are not shown, as they may be secrets"
    if text.startswith("No such command") and "Did you mean" in text:
        return text
    if text.startswith("No such command"):
        return "No such command; its name is not shown, as it may be a secret"
    return "The command line cannot be read"


def _arguments(context: Any) -> str:
    """Return which arguments a command takes."""
    names = [
        re.sub(r"^\[(.*)\]$", r"\1", parameter.metavar or parameter.name).upper()
        for parameter in context.command.params
        if parameter.param_type_name == "argument"
    ]
    return f"'{context.command_path}' takes " + (f"only {' '.join(names)}" if names else "no arguments")


def _reason(message: str) -> str:
    """Return what is wrong with the value of a parameter, without the quoted value before these words."""
    for words in (" is not ", " does not "):
        if words in message:
            return f"the value{words}{message.rpartition(words)[2]}"
    return message if message.startswith("Input should ") else "the value cannot be read"
