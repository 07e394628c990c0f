"""The same call as a grpcurl command."""

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
"""Each stands in a request for what the shell is to put there, from the variable of that name."""


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
    """A command for a POSIX shell.

    What may be a secret is left to the shell: `credentials` is a header with the variable that holds them, and headers
    that are not known to be harmless get a variable of their name.
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
    """A path inside double quotes and parentheses, where quotes of its own would confuse a reader."""
    return re.sub(r"([^\w./~-])", r"\\\1", path)
