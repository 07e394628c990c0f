"""The tables of docs/client.md are complete: options of operations, settings, errors."""

import inspect
import re
from dataclasses import fields

from a2a_grpc import Client, ClientManager, RemoteAgent, connect, errors
from a2a_grpc.cli.exits import exit_code_of
from a2a_grpc.client import ClientSettings, SendOptions, TaskStream
from a2a_grpc.client import errors as client_errors
from a2a_grpc.errors import A2AError
from tests.harness import ROOT

PAGE = (ROOT / "docs" / "client.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]


def sections(heading: str) -> str:
    """Return the text below a heading, up to the next heading of its level."""
    return re.split(r"^## ", PAGE.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]


def test_each_option_of_a_message_is_in_the_table() -> None:
    table = sections("### Options of a message")
    for name in SendOptions.__annotations__:
        assert f"\n| `{name}` |" in table, name


def test_each_option_of_each_operation_is_in_a_table() -> None:
    for name in ("wait", "subscribe", "get", "list", "cancel"):
        table = PAGE.partition(f"| Option of `{name}` |")[2].partition("\n\n")[0]
        options = [option for option in inspect.signature(getattr(Client, name)).parameters if option != "self"]
        assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == options, name


def test_each_setting_is_in_a_table_with_its_default() -> None:
    table = {name: row[1] for row in ROWS for name in re.findall(r"`(\w+)`", row[0])}
    for item in fields(ClientSettings):
        shown = table[item.name]
        if isinstance(item.default, bool) or item.default is None:
            assert shown == "`False`" or item.default is None, item.name
        else:
            assert float(re.findall(r"[\d,.]+", shown)[0].replace(",", "").rstrip(".")) == item.default, item.name


def test_each_argument_of_connect_and_each_method_of_the_other_classes_is_named() -> None:
    for name in inspect.signature(connect).parameters:
        assert name in ("target", "settings") or f"\n| `{name}` |" in sections("## Settings"), name
    for kind in (Client, ClientManager, RemoteAgent, TaskStream):
        for name in vars(kind):
            public = not name.startswith("_") and name not in ("settings", "channel", "link", "metadata")
            known = not public or name in ("check_encryption", "explained", "public_card")
            assert known or re.search(rf"`[^`\n]*\b{name}\b", PAGE), f"{kind.__name__}.{name}"


def test_each_error_is_in_a_table_with_its_facts_and_its_exit_code() -> None:
    rows = {row[0].strip("`"): row for row in ROWS}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, A2AError) and kind is not A2AError:
            retryable = "yes" if kind.retryable else "no"
            assert rows[name][1:5] == [kind.code.name, kind.reason, retryable, str(int(exit_code_of(kind("text"))))]
    for name, kind in vars(client_errors).items():
        if isinstance(kind, type) and issubclass(kind, A2AError) and kind.__module__ == client_errors.__name__:
            assert rows[name][1] == f"`{kind.__mro__[1].__name__}`", name
            assert rows[name][3] == str(int(exit_code_of(kind.__new__(kind)))), name
