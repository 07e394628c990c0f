"""One run of a verb that calls an agent: the agent, its client, time limits and output, as the options say."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.cli.credentials import TOKEN_HEADER, Hiding, Shown, of_options
from a2a_grpc.cli.exits import ExitCode
from a2a_grpc.cli.grpcurl import grpcurl_command
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.outage import Outage, WatchedClient
from a2a_grpc.cli.screen import Screen
from a2a_grpc.cli.show import Show
from a2a_grpc.cli.trace import PLAIN, Trace
from a2a_grpc.client import Client, ClientSettings
from a2a_grpc.client.connecting import load_settings
from a2a_grpc.client.credentials import AUTHORIZATION, why_reserved
from a2a_grpc.client.target import origin_of
from a2a_grpc.config import ConfigurationError, said_of, unknown_variables
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import SERVICE_NAME

DEFAULT_TARGET = "127.0.0.1:50051"
"""The default address of `a2a-grpc serve`."""

CONNECT_TIMEOUT_S = 2.0
"""The time in seconds to reach an agent. It is short, since a person at a terminal waits."""

Target = Annotated[
    str | None, typer.Argument(metavar="[TARGET]", help="Address of the agent, or URL of its card.", show_default=False)
]
"""The argument of a verb that takes the place of `--agent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of a verb."""

    target: str
    is_default: bool
    """True if the user named no target."""
    settings: ClientSettings
    credentials: Shown
    headers: tuple[tuple[str, str], ...]
    extensions: tuple[str, ...]
    timeout_s: float | None
    as_grpcurl: bool
    show: Show
    trace: Trace | None
    interrupted: asyncio.Event
    outage: Outage

    @property
    def shown(self) -> str:
        """The target as it is printed, without secrets."""
        return mask_url(self.target)

    @asynccontextmanager
    async def client(self, *, look_ahead: bool = True) -> AsyncIterator[Client]:
        """Open a client of the agent. Check its encryption before the first call, unless `look_ahead` is False."""
        interceptors = self.trace.interceptors if self.trace else ()
        client = WatchedClient(
            self.outage,
            self.target,
            self.settings,
            credentials=self.credentials.credentials,
            headers=self.headers,
            extensions=self.extensions,
            interceptors=interceptors,
        )
        try:
            async with client:
                if look_ahead:
                    await client.check_encryption()
                yield client
        finally:
            self.outage.close()
            if self.trace:
                await self.trace.close()

    async def grpcurl(
        self, method: str, request: ProtobufMessage, *more: tuple[str, str], service: str = SERVICE_NAME
    ) -> ExitCode:
        """Print the grpcurl command that makes the same call, with `more` metadata."""
        async with self.client(look_ahead=False) as client:
            link = await client.link(request if service == SERVICE_NAME else None)
        headers = [*more, *self.headers, *((("a2a-extensions", ",".join(self.extensions)),) if self.extensions else ())]
        self.show.line(
            grpcurl_command(
                link.address,
                link.tls,
                self.settings,
                headers,
                self.credentials.header(link.card),
                f"{service}/{method}",
                request,
                timeout_s=self.timeout_s,
            )
        )
        return ExitCode.OK


def session_of(given: dict[str, Any]) -> Session:
    """Return the run of a verb with the shared options that were given."""
    timeout_s = given["timeout"]
    values = {name: given.get(name) for name in ClientSettings.__dataclass_fields__ if given.get(name) is not None}
    settings = load_settings(values)
    if "connect_timeout_s" not in values and "A2A_GRPC_CONNECT_TIMEOUT_S" not in os.environ:
        settings = replace(settings, connect_timeout_s=CONNECT_TIMEOUT_S)
    if timeout_s is not None:
        settings = replace(settings, timeout_s=timeout_s)
    for name, nearest in _unknown_variables().items():
        Screen.of_stderr().say(("Warning:", "bold yellow"), " ", one_line(said_of(name, nearest)))
    show = Show(as_json=given["output"] is OutputFormat.JSON)
    headers = tuple(_header(text) for text in given["header"])
    target = DEFAULT_TARGET if given["agent"] is None else given["agent"]
    credentials = of_options(given, ca_cert=settings.ca_cert, hide=show.hide) if "token" in given else Shown()
    is_named = credentials.credentials is not None or any(name == AUTHORIZATION for name, _ in headers)
    if "token" in given and not is_named and origin_of(target):
        credentials = _stored(target, settings, show)
    show.hide(credentials.secrets)
    for value in (value for name, value in headers if name not in PLAIN):
        show.hide([value, *(word for word in re.split(r"[\s=,;]+", value) if len(word) > len("negotiate"))])
    return Session(
        target=target,
        is_default=given["agent"] is None,
        settings=settings,
        credentials=credentials,
        headers=headers,
        extensions=tuple(given["extension"]),
        timeout_s=timeout_s,
        as_grpcurl=given["as_grpcurl"],
        show=show,
        trace=Trace(show.about) if given["verbose"] else None,
        interrupted=asyncio.Event(),
        outage=Outage(show.note, timeout_s),
    )


def _stored(target: str, settings: ClientSettings, show: Show) -> Shown:
    """Return the credentials of the login for a target, if there is one."""
    from a2a_grpc.cli.stored import stored_for  # logins are rare

    found = stored_for(target, ca_cert=settings.ca_cert)
    if found is None:
        return Shown()
    credentials, secrets = found
    return Shown(Hiding(credentials, show.hide), "the login", lambda card: TOKEN_HEADER, tuple(secrets))


def _unknown_variables() -> dict[str, str]:
    if not unknown_variables([ClientSettings]):
        return {}
    from a2a_grpc.server.loaded import SETTINGS  # takes its time to import

    return unknown_variables([ClientSettings, *SETTINGS])


def _header(text: str) -> tuple[str, str]:
    """Return the name and the value of a header. Errors do not repeat the value, which may be a secret."""
    name, colon, value = text.partition(":")
    name = name.strip().lower()
    if not colon or not name or not all(sign.isalnum() or sign in "-_." for sign in name) or not name.isascii():
        raise ConfigurationError("--header must be 'NAME: VALUE', the name of a-z, 0-9, '-', '_' and '.'")
    if reason := why_reserved(name):
        raise ConfigurationError(f"--header '{name}' cannot be sent; {reason}")
    value = value.strip()
    if name.endswith("-bin") or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"--header '{name}' must have a value in printable ASCII, and a name without '-bin'")
    return name, value
