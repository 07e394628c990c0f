"""`a2a-grpc keys`, which manages the file of API keys."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from a2a_grpc.auth import keyedits, keyfile
from a2a_grpc.auth.keyfile import Key
from a2a_grpc.cli.examples import with_examples
from a2a_grpc.cli.exits import exit_code_of, say_error
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.screen import Screen
from a2a_grpc.cli.usage import Command, Group
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line

T = TypeVar("T")

DAY_S = 86_400
COLUMNS = ("NAME", "ID", "CREATED (UTC)", "ENDS (UTC)", "TENANTS", "SCOPES")
EPILOG = "Exit codes: 0 ok, 2 usage, or a file that is wrong or cannot be written."

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the caller.")]
File = Annotated[
    str,
    typer.Option(
        "--file",
        envvar="A2A_GRPC_API_KEYS",
        metavar="FILE",
        help="The file of API keys, as for 'a2a-grpc serve --api-keys'. \\[default: keys.toml; env: A2A_GRPC_API_KEYS]",
        show_envvar=False,
        show_default=False,
    ),
]
Output = Annotated[
    OutputFormat, typer.Option("-o", "--output", help="Format of the output. 'json' prints one JSON object per line.")
]


def commands() -> typer.Typer:
    """Return the group of the `keys` commands."""
    app = typer.Typer(
        cls=Group, no_args_is_help=True, help="Manage API keys: the keys that a server accepts from its callers."
    )
    functions: dict[str, Callable[..., None]] = {"new": new, "list": list_keys, "revoke": revoke}
    for name, function in functions.items():
        about = with_examples(f"keys {name}", function.__doc__)
        app.command(name, cls=Command, help=about, epilog=EPILOG)(function)
    return app


def new(
    name: Name,
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            "--tenant",
            envvar="",  # the variable of callers must not limit the key
            metavar="TENANT",
            help="A tenant that the key is for; can be repeated. Without it: all tenants.",
        ),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", envvar="", metavar="SCOPE", help="A right of the caller; can be repeated."),
    ] = None,
    expires_days: Annotated[
        int | None,
        typer.Option("--expires-days", metavar="DAYS", min=1, max=36_500, help="Days after which the key ends."),
    ] = None,
    file: File = "keys.toml",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Make an API key, and print it once. The file gets its digest only, so the key cannot be shown again.

    A name may have several keys. To replace a key, make a new one, give it to the caller, and then revoke the old one.
    """
    now = int(time.time())
    secret = keyfile.new_secret()
    key = Key(
        name=name,
        digest=keyfile.digest_of(secret),
        tenants=frozenset(tenant) if tenant else None,
        scopes=frozenset(scope or ()),
        created=now,
        not_after=None if expires_days is None else now + expires_days * DAY_S,
    )

    def add() -> None:
        _check(key)
        keyedits.add(Path(file), key)

    _guarded(add)
    ends = f", ends {_day(key.not_after)}" if key.not_after is not None else ""
    if output is OutputFormat.JSON:
        _print(_json({"key": secret, **_fields(key), "file": file}))
        return
    _print(secret)
    _note(f"{file} has the key {key.id} of {_shown(name)}{ends}; the key is not shown again")


def list_keys(file: File = "keys.toml", output: Output = OutputFormat.TEXT) -> None:
    """List the API keys of a file, with their short ids, ends, tenants and scopes."""
    keys = _guarded(lambda: keyfile.read(Path(file)))
    if output is OutputFormat.JSON:
        for key in keys:
            _print(_json({**_fields(key), "expired": _is_over(key)}))
        return
    rows = [COLUMNS, *(_row(key) for key in keys)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for place, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if place:
            _print(line)
        elif keys:
            _note(line)
    _note({0: "no keys", 1: "1 key"}.get(len(keys), f"{len(keys)} keys"))


def revoke(
    name: Name,
    id: Annotated[
        str | None,
        typer.Option("--id", help="First digits of the key's id, to revoke one of several keys of the caller."),
    ] = None,
    file: File = "keys.toml",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Revoke API keys of a caller, by removing them from the file.

    A running server refuses them within two seconds.
    """

    def remove() -> list[Key]:
        if id == "":  # a script whose variable is empty must not revoke all keys of the caller
            raise ConfigurationError(
                "--id is empty; give the first digits of a key's id, or leave --id out for all keys"
            )
        if keyfile.is_key(name) or keyfile.is_key(id or ""):
            raise ConfigurationError(
                "this is a key itself; give the name of the caller, and --id with the id of the key"
            )
        return keyedits.remove(Path(file), name, id or "")

    for key in _guarded(remove):
        if output is OutputFormat.JSON:
            _print(_json(_fields(key)))
        else:
            _note(f"revoked the key {key.id} of {_shown(name)}")


def _check(key: Key) -> None:
    """Raise ConfigurationError for a name, tenant or scope that the file cannot have."""
    if problem := keyfile.name_problem(key.name):
        raise ConfigurationError(f"NAME {problem}")
    for scope in sorted(key.scopes):
        if problem := keyfile.scope_problem(scope):
            raise ConfigurationError(f"--scope is '{scope}', which {problem}")
    for tenant in sorted(key.tenants or ()):
        if problem := keyfile.tenant_problem(tenant):
            raise ConfigurationError(f"--tenant {problem}")


def _guarded(work: Callable[[], T]) -> T:
    """Return the result of a function. An error is printed in one line, and ends the command with an exit code."""
    try:
        return work()
    except ConfigurationError as error:
        say_error(error)
        raise typer.Exit(exit_code_of(error)) from None


def _fields(key: Key) -> dict[str, object]:
    return {
        "name": key.name,
        "id": key.id,
        "tenants": None if key.tenants is None else sorted(key.tenants),
        "scopes": sorted(key.scopes),
        "created": None if key.created is None else _time(key.created),
        "not_after": None if key.not_after is None else _time(key.not_after),
    }


def _row(key: Key) -> tuple[str, ...]:
    ends = "never" if key.not_after is None else _day(key.not_after) + (" (over)" if _is_over(key) else "")
    tenants = "all" if key.tenants is None else ",".join(tenant or "''" for tenant in sorted(key.tenants))
    created = "" if key.created is None else _day(key.created)
    cells = (key.name, key.id, created, ends, tenants, ",".join(sorted(key.scopes)) or "none")
    return tuple(map(one_line, cells))


def _is_over(key: Key) -> bool:
    return key.not_after is not None and key.not_after <= time.time()


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"


def _time(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _shown(name: str) -> str:
    return f"'{one_line(name)}'"


def _json(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _note(text: str) -> None:
    Screen.of_stderr().say(text, style="dim")
