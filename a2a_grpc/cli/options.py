"""Command line options made from the fields of settings dataclasses: nothing is said twice."""

import inspect
import typing
from dataclasses import Field, fields
from enum import StrEnum
from typing import Any

import typer

from a2a_grpc.config import PREFIX, plain_type


class OutputFormat(StrEnum):
    """What standard output holds."""

    TEXT = "text"
    JSON = "json"


def settings_parameters(*kinds: type) -> list[inspect.Parameter]:
    """One keyword parameter per field, None where the caller gave nothing; its help names default and variable."""
    parameters = []
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        parameters += [_parameter(item, plain_type(hints[item.name]), _panel(kind)) for item in fields(kind)]
    return parameters


def _parameter(item: Field[Any], kind: type, panel: str) -> inspect.Parameter:
    flag = "--" + item.name.replace("_", "-")
    declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    default = "none" if item.default in (None, "") else str(item.default).lower() if kind is bool else item.default
    option = typer.Option(
        None,
        declaration,
        help=f"{item.metadata['doc']} \\[default: {default}; env: {PREFIX}{item.name.upper()}]",
        rich_help_panel=panel,
        show_default=False,
        metavar=None if kind is bool else kind.__name__.upper(),
    )
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def _panel(kind: type) -> str:
    return (kind.__doc__ or kind.__name__).splitlines()[0].rstrip(".")
