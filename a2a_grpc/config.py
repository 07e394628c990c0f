"""Settings as frozen dataclasses: each field has a default, a range and one sentence of documentation.

The value of a field is its default. The environment variable `A2A_GRPC_<FIELD>` overrides the default. A keyword of a
function or an option of the command line overrides both. The options of the command line, the docstrings of the classes
and the page of all settings are made from the same fields.
"""

import difflib
import math
import os
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import Field, field, fields
from typing import Any, TypeVar

PREFIX = "A2A_GRPC_"

OPTIONS = frozenset([
    "accept", "after", "agent", "api_key", "artifacts", "as_grpcurl", "auth_scheme",
    "cancel_on_interrupt", "context", "count", "data", "expires_days", "extended", "extension", "file", "header",
    "history", "id", "idempotency_key", "interval", "limit", "log_format", "log_key", "log_level", "metadata",
    "from", "no_artifacts", "no_wait", "older_than", "once", "save", "skip_existing", "sql", "with_secrets",
    "output", "poll", "priority", "push_credentials", "push_token", "reference", "scope", "service", "since", "state",
    "strategy", "task", "timeout", "token", "token_file", "validate", "verbose", "watch", "worker",
    "all", "client_id", "issuer", "oauth2_audience", "oauth2_client_id", "oauth2_client_secret",
    "oauth2_client_secret_file", "oauth2_issuer", "oauth2_scope", "oauth2_token_url", "token_command",
    "address", "attach", "attach_ca_cert", "attach_cert", "attach_key", "attach_max_age_s", "attach_plaintext",
    "attach_token_file", "fail_fast", "replace",
    "max_entries", "registry", "registry_lease_s", "skill", "tag",
    "register", "register_as", "register_ca_cert", "register_cert", "register_key", "register_plaintext",
    "register_token_file", "register_url",
    "heartbeat_s", "hold_s", "max_agent_calls", "max_agents", "pass_credentials", "public_address", "public_url",
    "host", "jwks_url", "port", "url",
    "peer_address", "peer_ca_cert", "peer_cert", "peer_key", "peer_plaintext",
    "route", "route_ca_cert", "route_card", "route_connect_timeout_s", "route_plaintext", "shared_store",
    "signing_key",
])  # fmt: skip
"""Options of the command line that are no settings, each of which has a variable, too. There are variables without an
option: `worker`, which a supervisor sets, and `log_key`."""

GRPC_MOST = (1 << 31) - 1
"""The largest number that gRPC takes as an argument. As a time in milliseconds it is "never"."""
MOST_S = 1e12
"""The largest time in seconds of a setting, 30,000 years. A call with a much later deadline ends at once."""

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
"""The values of variables for settings that are on or off."""
Settings = TypeVar("Settings")


class ConfigurationError(ValueError):
    """A setting has a value that is not possible. The message names the setting and the value."""


def setting(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    repeated: bool = False,
    is_text: bool = False,
    variable: str | None = None,
) -> Any:
    """Return a field of a settings class.

    Args:
        default: The value if no other is given.
        doc: What the setting does, in one sentence, with its unit.
        minimum: The smallest possible value.
        maximum: The largest possible value.
        repeated: True for a text of parts with commas between them. The option may be given once for each part.
        is_text: True if the value is sent, and so has to be UTF-8. The name of a file may have other bytes.
        variable: The environment variable, if another setting has the variable of this name.
    """
    limits = {"minimum": minimum, "maximum": maximum}
    facts = {"doc": doc, "repeated": repeated, "is_text": is_text, "variable": variable}
    return field(default=default, metadata=limits | facts)


def variable_of(item: Field[Any]) -> str:
    """Return the environment variable of a setting."""
    return item.metadata.get("variable") or PREFIX + item.name.upper()


def flag_of(name: str) -> str:
    """Return the option of the command line for the name of a setting, for example `--tls-cert`."""
    return "--" + name.replace("_", "-")


def documented(kind: type[Settings]) -> type[Settings]:
    """Add an `Attributes:` section to the docstring of a settings class, made from its fields. Return the class."""
    lines = [
        textwrap.fill(f"{item.name}: {item.metadata['doc']}", 112, initial_indent=" " * 8, subsequent_indent=" " * 12)
        for item in fields(kind)  # type: ignore[arg-type]
    ]
    kind.__doc__ = "\n".join([(kind.__doc__ or "").rstrip(), "", "    Attributes:", *lines, "    "])
    return kind


def check_ranges(settings: Any) -> None:
    """Check that each field is finite and in its range, for `__post_init__`.

    Args:
        settings: An instance of a settings class.

    Raises:
        ConfigurationError: A field is not. The first such field is named.
    """
    for item in fields(settings):
        minimum, value = item.metadata.get("minimum"), getattr(settings, item.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigurationError(f"{item.name} is {value}; it must be a finite number")
        if isinstance(value, float) and value > MOST_S:
            raise ConfigurationError(f"{item.name} is {value}; it must be at most {MOST_S:.0f}")
        if minimum is not None and value is not None and value < minimum:
            raise ConfigurationError(f"{item.name} is {value}; it must be at least {minimum}")
        maximum = item.metadata.get("maximum")
        if maximum is not None and value is not None and value > maximum:
            raise ConfigurationError(f"{item.name} is {value}; it must be at most {maximum}")


def check_belonging(settings: Any, main: str, names: Iterable[str] | None = None) -> None:
    """Check that no setting is given that has no effect because another one is missing.

    Args:
        settings: An instance of a settings class.
        main: The name of the setting that the others need.
        names: The names of the others; by default those of all other settings of the class.

    Raises:
        ConfigurationError: There is one. The first is named.
    """
    if getattr(settings, main):
        return
    for item in fields(settings):
        if (names is None or item.name in names) and getattr(settings, item.name) != item.default:
            raise ConfigurationError(f"{flag_of(main)} is missing; {flag_of(item.name)} has no effect without it")


def for_grpc(value: float) -> int:
    """Return a number as an argument of gRPC. A larger number than gRPC takes becomes the largest, `GRPC_MOST`."""
    return int(min(value, GRPC_MOST))


def utf8(text: str, name: str) -> str:
    """Return a text of the command line or the environment as UTF-8. Raise ConfigurationError if that is not possible.

    In a locale such as C, Python keeps the bytes of such texts undecoded.
    """
    try:
        return os.fsencode(text).decode() if any("\ud800" <= sign <= "\udfff" for sign in text) else text
    except UnicodeError:
        raise ConfigurationError(f"the {name} is not UTF-8") from None


def load(
    cls: type[Settings], overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Return settings from the defaults, the environment and overrides.

    Args:
        cls: The settings class.
        overrides: Values by field name, which replace those of the environment. A value of None has no effect, nor has
            a name that the class does not have.
        environ: The environment variables; by default those of the process.

    Raises:
        ConfigurationError: A variable cannot be read as the type of its field, or a value is out of range.
    """
    environ = os.environ if environ is None else environ
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]
        variable = variable_of(item)
        given = (overrides or {}).get(item.name)
        if given is not None:
            values[item.name] = given
        elif variable in environ:
            values[item.name] = _parse(variable, environ[variable], plain_type(hints[item.name]), item.default)
        if item.metadata.get("is_text") and isinstance(values.get(item.name), str):
            values[item.name] = utf8(values[item.name], item.name.replace("_", " "))
    return cls(**values)


def refuse_unknown(names: Iterable[str], *kinds: type, also: Iterable[str] = ()) -> None:
    """Raise TypeError for names that no setting of these classes has.

    The message has the nearest name: that of a setting, or one of `also`.
    """
    known = {item.name for kind in kinds for item in fields(kind)}
    if unknown := sorted(set(names) - known):
        raise TypeError(f"{', '.join(unknown)}: no such setting{hint_at(unknown[0], {*known, *also})}")


def hint_at(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean '…'?" with the known name that is nearest to a misspelt one, "" if none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown_variables(kinds: Iterable[type], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables that begin with `A2A_GRPC_` and have no meaning.

    Each comes with the nearest name that has a meaning, or "" if none is near.
    """
    settings = {variable_of(item).removeprefix(PREFIX) for kind in kinds for item in fields(kind)}
    known = settings | {name.upper() for name in OPTIONS}
    given = {
        name.removeprefix(PREFIX) for name in (os.environ if environ is None else environ) if name.startswith(PREFIX)
    }
    unknown: dict[str, str] = {}
    for name in sorted(given - known):
        if not name.startswith("TEST_"):  # those are for this project's own tests
            near = difflib.get_close_matches(name, known, 1, 0.75)
            unknown[PREFIX + name] = PREFIX + near[0] if near else ""
    return unknown


def said_of(name: str, nearest: str) -> str:
    """Return the warning about a variable that has no meaning."""
    return f"the variable {name} means nothing to a2a-grpc{f'; did you mean {nearest}?' if nearest else ''}"


def plain_type(hint: Any) -> type:
    """Return the type as which a value is parsed, which is `int` for `int` and for `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    return typing.cast(type, hint)


def number_for(name: str, kind: type, default: Any = None) -> str:
    """Return what a numeric setting wants, in words, with an example, which is the default if there is one."""
    ends = {"_s": "seconds", "chars": "characters"}
    unit = "bytes" if "bytes" in name else next((ends[end] for end in ends if name.endswith(end)), "")
    number = "a whole number" if kind is int else "a number"
    example = 10 if default is None or isinstance(default, bool) else default
    return f"{number}{f' of {unit}' if unit else ''}, for example {example:.15g}"


def _parse(variable: str, text: str, kind: type, default: Any) -> Any:
    if kind is bool:
        if text.lower() not in (*TRUE, *FALSE):
            raise ConfigurationError(f"{variable} is '{text}'; it must be true or false")
        return text.lower() in TRUE
    try:
        return kind(text)
    except ValueError as error:
        wanted = number_for(variable.lower(), kind, default)
        raise ConfigurationError(f"{variable} is '{text}'; it must be {wanted}") from error
