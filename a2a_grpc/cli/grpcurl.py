"""The same call as a grpcurl command."""

import shlex
from collections.abc import Iterable

from google.protobuf import json_format
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.client import ClientSettings
from a2a_grpc.client.target import Address
from a2a_grpc.protocol import PROTOCOL_VERSION, Key
from a2a_grpc.wire import SERVICE_NAME


def grpcurl_command(
    address: Address,
    tls: bool,
    settings: ClientSettings,
    headers: Iterable[tuple[str, str]],
    credentials: str,
    method: str,
    request: ProtobufMessage,
) -> str:
    """A command for a POSIX shell. `credentials` is a header in which the shell puts the secret: it is not printed."""
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
        words += ["-H", shlex.quote(f"{name}: {value}")]
    if credentials:
        words += ["-H", f'"{credentials}"']
    body = json_format.MessageToJson(request, indent=None, ensure_ascii=False)
    if body != "{}":
        words += ["-d", shlex.quote(body)]
    dial = address.dial if address.host else f"-unix {address.dial.removeprefix('unix:')}"
    return " ".join([*words, dial.removeprefix("dns:///"), f"{SERVICE_NAME}/{method}"])
