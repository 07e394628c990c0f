"""Write the generated pages of the documentation (`make docs`). With `--check`, only name the pages that are stale.

Each function in `PAGES` returns the whole text of one page. The facts come from the package, so these pages are never
edited by hand. `tests/docs/test_generated.py` checks that they are fresh.
"""

import sys
import typing
from collections.abc import Callable
from dataclasses import Field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from a2a_grpc.auth import AuthSettings  # noqa: E402
from a2a_grpc.cli.app import app  # noqa: E402
from a2a_grpc.client import ClientSettings  # noqa: E402
from a2a_grpc.config import PREFIX, plain_type, variable_of  # noqa: E402
from a2a_grpc.engine import EngineSettings  # noqa: E402
from a2a_grpc.push.callback_settings import CallbackSettings  # noqa: E402
from a2a_grpc.push.offered import PushSettings  # noqa: E402
from a2a_grpc.push.settings import WebhookSettings  # noqa: E402
from a2a_grpc.rpc import TransportSettings  # noqa: E402
from a2a_grpc.sentinel import AttachSettings, RegisterSettings, SentinelSettings  # noqa: E402
from a2a_grpc.server import RequestLimits, ServerSettings  # noqa: E402
from tools.traceability import traceability_page  # noqa: E402

sys.path.insert(0, str(FOLDER))

from commands import commands_page  # noqa: E402
from messages import messages_page  # noqa: E402
from reference import PAGES as REFERENCE_PAGES  # noqa: E402
from telemetry_names import names_page  # noqa: E402

SETTINGS_START = """\
# All settings

This page lists every setting of a server and of a client, with its default. The [operations guide](operations.md)
explains which of them belong together.

A setting has one name in three places. A later place in this list overrides an earlier one:

1. the default in the table;
2. the environment variable, for example `A2A_GRPC_MAX_RUNS=10`;
3. the option of the command (`--max-runs 10`), or the keyword in a program (`serve(agent, max_runs=10)`).

One variable has another name. The tenant that a card names is `--tenant`, or `A2A_GRPC_CARD_TENANT` in the environment,
because `A2A_GRPC_TENANT` is the tenant of the requests of clients.

An on/off setting is an option without a value, for example `--insecure`. If its default is on, the table shows the
option that turns it off, for example `--no-health`. In the environment `true`, `yes`, `on` and `1` mean on, and
`false`, `no`, `off` and `0` mean off.

A value that cannot be read, or is out of range, ends the program with exit code 2. The line that begins with `Error:`
names the setting and the value, and says what is possible. A variable that begins with `A2A_GRPC_` and has no meaning
is reported in a warning, with the nearest name.

## Server

Options of `a2a-grpc serve`, and keywords of `serve(agent, …)`. A program that uses `Server` gives them as fields of the
classes that are named below.
"""

SENTINEL_START = """\
## Sentinel

Options of `a2a-grpc sentinel`, and fields of `SentinelSettings`. The [page of the sentinel](sentinel.md) explains them.
The command also has the options of the fields of `AuthSettings`, which are in the section of callers.
"""

ATTACH_START = """\
### Agents that attach to a sentinel

Further options of `a2a-grpc serve`, and fields of `AttachSettings`.
"""

REGISTER_START = """\
### Agents that register

Further options of `a2a-grpc serve`, and fields of `RegisterSettings`.
"""

CLIENT_START = """\
## Client

Keywords of `connect(…)`, `RemoteAgent(…)` and `BlockingClient(…)`, and options of every command of `a2a-grpc` that
calls an agent. They are the fields of `ClientSettings`.
"""

SETTINGS = {
    "Addresses, TLS, store, admission and shutdown": ServerSettings,
    "Tasks: how many, how large, how long they are kept": EngineSettings,
    "HTTP/2 connections": TransportSettings,
    "Size of a request": RequestLimits,
    "Callers: credentials, limits, the audit log": AuthSettings,
    "Push notifications": PushSettings,
    "Webhooks: which urls are allowed, times, signatures": WebhookSettings,
    "Callbacks to agents: the sentinel, certificates, tokens": CallbackSettings,
}
"""The settings of a server: each class with its heading."""

OTHER_DEFAULTS = {
    "store": "a file named after the agent, `sqlite:///NAME.tasks.db`; for `Server(…)` `memory:`",
    "connect_timeout_s": "`5`; for commands `2`",
}
"""Defaults that depend on who asks."""

OTHER_OPTIONS = {"timeout_s": "none; `--timeout` (`A2A_GRPC_TIMEOUT`) limits the whole command"}
"""What the table says for settings that have no option of the same name."""


def settings_page() -> str:
    """Return the page of all settings."""
    sections = [SETTINGS_START]
    for heading, kind in SETTINGS.items():
        table = _table(["Option", *SETTING_COLUMNS], [[_option(item), *_setting(item, kind)] for item in fields(kind)])
        sections += [f"### {heading}\n", f"Fields of `{kind.__name__}`.\n", table]
    rows = [[f"`{item.name}`", _option(item), *_setting(item, ClientSettings)] for item in fields(ClientSettings)]
    sections += [
        "### Options that are not settings\n",
        _table(["Option", "Environment variable", "Default", "Meaning"], _options_of("serve")),
        *_of_sentinel(),
        CLIENT_START,
        _table(["Keyword", "Option", *SETTING_COLUMNS], rows),
    ]
    return "\n".join(sections)


def _of_sentinel() -> list[str]:
    """Return the sections of a sentinel, and of agents that attach to one or register."""
    return [
        section
        for about, kind in (
            (SENTINEL_START, SentinelSettings),
            (ATTACH_START, AttachSettings),
            (REGISTER_START, RegisterSettings),
        )
        for section in (
            about,
            _table(["Option", *SETTING_COLUMNS], [[_option(item), *_setting(item, kind)] for item in fields(kind)]),
        )
    ]


SETTING_COLUMNS = ["Environment variable", "Default", "Value", "Meaning"]


def _setting(item: Field[Any], kind: type) -> list[str]:
    value_type = plain_type(typing.get_type_hints(kind)[item.name])
    default = _default(item.name, item.default)
    if kind is not SentinelSettings:
        default = OTHER_DEFAULTS.get(item.name, default)
    return [f"`{variable_of(item)}`", default, _value(item, value_type), item.metadata["doc"]]


def _option(item: Field[Any]) -> str:
    name = item.name.replace("_", "-")
    return OTHER_OPTIONS.get(item.name) or (f"`--no-{name}`" if item.default is True else f"`--{name}`")


def _default(name: str, value: Any) -> str:
    if value in (None, ""):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return f"`{value}`"
    exact = f"`{value:.15g}`" if isinstance(value, float) else f"`{value}`"
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")) if name.endswith("_s") else ():
        if value > size and value % size == 0:
            return f"{exact} ({value / size:g} {unit})"
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")) if "bytes" in name else ():
        if value >= size and value % size == 0:
            return f"{exact} ({value // size:,} {unit})"
    return exact


def _value(item: Field[Any], value_type: type) -> str:
    """Return the unit of a setting and its range."""
    if value_type is bool:
        return "on or off"
    if value_type is str:
        return "text"
    ends = {"_s": "seconds", "chars": "characters"}
    unit = "bytes" if "bytes" in item.name else next((ends[end] for end in ends if item.name.endswith(end)), "number")
    minimum, maximum = item.metadata["minimum"], item.metadata["maximum"]
    if maximum is not None:
        return f"{unit}, {minimum:g} to {maximum:g}"
    return unit if minimum is None else f"{unit}, at least {minimum:g}"


def _options_of(verb: str) -> list[list[str]]:
    """Return a row for each option of a command that is no setting."""
    settings = {
        name for kind in (*SETTINGS.values(), AttachSettings, RegisterSettings) for name in kind.__dataclass_fields__
    } | {"help"}
    command = typer.main.get_command(app()).commands[verb]  # type: ignore[attr-defined]
    return [
        [
            ", ".join(f"`{option}`" for option in reversed(parameter.opts)),
            f"`{PREFIX}{parameter.name.upper()}`" if parameter.envvar else "none",
            f"`{parameter.default.value}`" if isinstance(parameter.default, Enum) else "off",
            f"{parameter.help.partition(ENVIRONMENT)[0]} {_one_of(parameter.default)}".rstrip(),
        ]
        for parameter in command.params
        if parameter.name not in settings and parameter.param_type_name == "option"
    ]


ENVIRONMENT = " \\[env: "
"""Begins what the command line adds to a help text."""


def _one_of(default: object) -> str:
    """Return the values that an option may have, for the end of its text; "" for a switch."""
    choices = type(default)
    if not issubclass(choices, Enum):
        return ""
    return f"One of {', '.join(f'`{choice.value}`' for choice in choices)}."


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


PAGES: dict[str, Callable[[], str]] = {
    "messages.md": messages_page,
    "reference-cli.md": commands_page,
    **REFERENCE_PAGES,
    "settings.md": settings_page,
    "telemetry-names.md": names_page,
    "traceability.md": traceability_page,
}
"""The generated pages of this folder."""

HEAD = "<!-- Generated by `make docs`. Edit docs/generate.py or what it reads, not this page. -->\n\n"


def text_of_page(name: str) -> str:
    """Return the whole text of a generated page."""
    return HEAD + PAGES[name]()


def is_fresh(name: str) -> bool:
    """Return True if a generated page is as it should be."""
    path = FOLDER / name
    return path.exists() and path.read_text() == text_of_page(name)


def main() -> None:
    """Write the pages that are stale, or name them."""
    stale = [name for name in PAGES if not is_fresh(name)]
    if "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(stale)}; run 'make docs' and commit" if stale else 0)
    for name in stale:
        (FOLDER / name).write_text(text_of_page(name))
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
