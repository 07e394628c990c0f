"""Options of the command line, made from the fields of settings classes."""

import inspect
import typing
from collections.abc import Mapping
from dataclasses import Field, fields
from enum import StrEnum
from typing import Annotated, Any

import typer

from a2a_grpc.config import flag_of, plain_type, variable_of
from a2a_grpc.loglines import LogFormat, log_to_stderr


class OutputFormat(StrEnum):
    """The formats of standard output."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The levels of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevelOption = Annotated[
    LogLevel,
    typer.Option("--log-level", help="Lowest level of messages in the log, which goes to standard error."),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Format of the log. 'json' writes one object per line.")
]


def log_parameters() -> list[inspect.Parameter]:
    """Return the parameters `log_level` and `log_format` of a command that runs until Ctrl-C."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter("log_level", kind, default=LogLevel.WARNING, annotation=LogLevelOption),
        inspect.Parameter("log_format", kind, default=LogFormat.TEXT, annotation=LogFormatOption),
    ]


def begin_log(options: dict[str, Any]) -> None:
    """Send the log to standard error, as the options of `log_parameters` say. Take them out of the options."""
    log_to_stderr(options.pop("log_level"), options.pop("log_format"))


def settings_parameters(*kinds: type, switches: bool = False) -> list[inspect.Parameter]:
    """Return a keyword parameter for each field. Its default is None, and its help names the default and the variable.

    A setting that is repeated gives a list of texts; `given_settings` joins them.

    With `switches` there is an option to turn off each flag, in case the environment has turned it on.
    """
    parameters = []
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        parameters += [_parameter(item, plain_type(hints[item.name]), _panel(kind), switches) for item in fields(kind)]
    return parameters


def given_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that options give: those with a value. A list becomes a text with commas."""
    given = {name: value for name, value in options.items() if value is not None and value != []}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in given.items()}


def _parameter(item: Field[Any], kind: type, panel: str, switches: bool) -> inspect.Parameter:
    flag = flag_of(item.name)
    off = f"--no-{flag[2:]}" if kind is bool and (switches or item.default is not False) else ""
    default = "none" if item.default in (None, "") else str(item.default).lower() if kind is bool else item.default
    known = f"default: {default}; env: {variable_of(item)}" + (f"; off: {off}" if off else "")
    option = typer.Option(
        None,
        f"{flag}/{off}" if off else flag,
        help=f"{item.metadata['doc']} \\[{known}]",
        rich_help_panel=panel,
        show_default=False,
        metavar=None if kind is bool else kind.__name__.upper(),
    )
    annotation = list[str] | None if item.metadata["repeated"] else kind | None
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)


def _panel(kind: type) -> str:
    return (kind.__doc__ or kind.__name__).splitlines()[0].rstrip(".")
