"""Calls as commands for grpcurl."""

import re
import shlex
from collections.abc import Iterable

from google.protobuf import json_format
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.cli.trace import PLAIN
from a2a_grpc.client import ClientSettings
from a2a_grpc.client.target import Address
from a2a_grpc.protocol import PROTOCOL_VERSION, Key

PUSH_CREDENTIALS, PUSH_TOKEN, PUSH_URL = (
    "a2a-grpc-push-credentials",
    "a2a-grpc-push-token",
    "a2a-grpc-push-url",
)
"""Placeholders in a request, each for the variable of the shell that replaces it."""


def grpcurl_command(
    address: Address,
    tls: bool,
    settings: ClientSettings,
    headers: Iterable[tuple[str, str]],
    credentials: str,
    method: str,
    request: ProtobufMessage,
    *,
    timeout_s: float | None = None,
) -> str:
    """Return the grpcurl command for a POSIX shell that makes a call.

    The command holds no secrets, but variables of the shell. `credentials` is a header with such a variable. A header
    that may hold a secret gets a variable of its name.
    """
    words = ["grpcurl"]
    if not tls:
        words.append("-plaintext")
    certificates = (("-cacert", settings.ca_cert), ("-cert", settings.client_cert), ("-key", settings.client_key))
    for flag, path in (*certificates, ("-authority", settings.authority)):
        if path:
            words += [flag, shlex.quote(path)]
    entries = dict(headers)
    entries.setdefault(Key.VERSION, PROTOCOL_VERSION)
    for name, value in entries.items():
        variable = re.sub("[^A-Z0-9]", "_", name.upper())
        words += ["-H", shlex.quote(f"{name}: {value}") if name in PLAIN else f'"{name}: ${variable}"']
    if credentials:
        words += ["-H", f'"{credentials}"']
    body = json_format.MessageToJson(request, indent=None, ensure_ascii=False)
    if body != "{}":
        quoted = shlex.quote(body)
        for name in (PUSH_CREDENTIALS, PUSH_TOKEN, PUSH_URL):
            quoted = quoted.replace(name, f"'\"${name.upper().replace('-', '_')}\"'")
        words += ["-d", quoted]
    if timeout_s is not None:
        words += ["-max-time", f"{timeout_s:g}"]
    if not address.host:
        words.append("-unix")
    dial = address.dial.removeprefix("dns:///").removeprefix("unix:")
    return " ".join([*words, shlex.quote(dial), method])


def escaped(path: str) -> str:
    """Return a path for a place inside of double quotes and parentheses, with backslashes in place of quotes."""
    return re.sub(r"([^\w./~-])", r"\\\1", path)
