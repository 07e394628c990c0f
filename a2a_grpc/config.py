"""Settings as frozen dataclasses: each field has a default, a range and one line of documentation, said once.

The value of a field is its default, overridden by the environment variable `A2A_GRPC_<FIELD>`, overridden by what the
caller gives (a keyword, a command line flag). The command line makes its options from the same fields.
"""

import difflib
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

PREFIX = "A2A_GRPC_"

OPTIONS = frozenset([
    "accept", "after", "agent", "api_key", "artifacts", "as_grpcurl", "auth_scheme", "cancel_on_interrupt",
    "context", "count", "data", "extended", "extension", "file", "header", "history", "id", "idempotency_key",
    "interval", "limit", "log_level", "metadata", "no_artifacts", "no_wait", "output", "poll", "push_credentials",
    "push_token", "reference", "service", "since", "state", "task", "timeout", "token", "token_file", "validate",
    "verbose", "watch", "worker",
])  # fmt: skip
"""Options of the command line that are no settings, and `worker`, which a supervisor sets: each has a variable, too."""

Settings = TypeVar("Settings")


class ConfigurationError(ValueError):
    """A setting that cannot be; the text names the setting and the value."""


def setting(default: Any, doc: str, *, minimum: float | None = None, maximum: float | None = None) -> Any:
    """A field of a settings dataclass. `minimum` and `maximum` are inclusive."""
    return field(default=default, metadata={"doc": doc, "minimum": minimum, "maximum": maximum})


def check_ranges(settings: Any) -> None:
    """Raises ConfigurationError for the first field out of its range, or not finite. For `__post_init__`."""
    for item in fields(settings):
        minimum, value = item.metadata.get("minimum"), getattr(settings, item.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"{item.name} is {value}; it must be a finite number")
        if minimum is not None and value is not None and value < minimum:
            raise ConfigurationError(f"{item.name} is {value}; it must be at least {minimum}")
        maximum = item.metadata.get("maximum")
        if maximum is not None and value is not None and value > maximum:
            raise ConfigurationError(f"{item.name} is {value}; it must be at most {maximum}")


def load(
    cls: type[Settings], overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings from the environment, then from `overrides`; overrides that are None, or of another class, do not count.

    Raises ConfigurationError for a variable that cannot be read as its field's type, or a value out of range.
    """
    environ = os.environ if environ is None else environ
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]
        variable = PREFIX + item.name.upper()
        given = (overrides or {}).get(item.name)
        if given is not None:
            values[item.name] = given
        elif variable in environ:
            values[item.name] = _parse(variable, environ[variable], plain_type(hints[item.name]))
    return cls(**values)


def refuse_unknown(names: Iterable[str], *kinds: type, also: Iterable[str] = ()) -> None:
    """Raise TypeError for names that no setting of these classes has, with the nearest name: a setting's, or one of
    `also`."""
    known = {item.name for kind in kinds for item in fields(kind)}
    if unknown := sorted(set(names) - known):
        raise TypeError(f"{', '.join(unknown)}: no such setting{hint_at(unknown[0], {*known, *also})}")


def hint_at(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean '…'?" with the known name that is nearest to a misspelt one, "" if none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_variables(kinds: Iterable[type], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that begin like those of this project and mean nothing, each with the nearest name that
    does, or "" if none is near."""
    known = {name.upper() for name in (*OPTIONS, *(item.name for kind in kinds for item in fields(kind)))}
    names = os.environ if environ is None else environ
    given = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    unknown: dict[str, str] = {}
    for name in sorted(given - known):
        if not name.startswith("TEST_"):  # those are for this project's own tests
            near = difflib.get_close_matches(name, known, 1, 0.75)
            unknown[PREFIX + name] = PREFIX + near[0] if near else ""
    return unknown


def said_of(name: str, nearest: str) -> str:
    """Return the warning of a variable that means nothing."""
    return f"the variable {name} means nothing to a2a-grpc{f'; did you mean {nearest}?' if nearest else ''}"


def plain_type(hint: Any) -> type:
    """The type a value is parsed as: `int` for `int` and for `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    return typing.cast(type, hint)


def _parse(variable: str, text: str, kind: type) -> Any:
    if kind is bool:
        truths = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }
        if text.lower() not in truths:
            raise ConfigurationError(f"{variable} is '{text}'; it must be true or false")
        return truths[text.lower()]
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable} is '{text}'; it must be of type {kind.__name__}") from error
