"""The base of all verbs that call an agent: options for the agent, credentials, time limits and output."""

import asyncio
import inspect
import os
import re
import signal
import traceback
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.cli.content import decoded
from a2a_grpc.cli.credentials import TOKEN_HEADER, Hiding, Shown, of_options
from a2a_grpc.cli.credentials import parameters as credential_parameters
from a2a_grpc.cli.exits import ExitCode, exit_code_of, say_error, say_failure
from a2a_grpc.cli.grpcurl import grpcurl_command
from a2a_grpc.cli.options import OutputFormat, settings_parameters
from a2a_grpc.cli.outage import Outage, WatchedClient
from a2a_grpc.cli.output import OutputError
from a2a_grpc.cli.screen import Screen
from a2a_grpc.cli.show import Show
from a2a_grpc.cli.trace import PLAIN, Trace
from a2a_grpc.client import Client, ClientSettings
from a2a_grpc.client.connecting import load_settings
from a2a_grpc.client.credentials import AUTHORIZATION
from a2a_grpc.client.target import origin_of
from a2a_grpc.config import ConfigurationError, said_of, unknown_variables
from a2a_grpc.errors import A2AError
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import mask_url
from a2a_grpc.signals import INTERRUPT, signals_to
from a2a_grpc.wire import SERVICE_NAME

DEFAULT_TARGET = "127.0.0.1:50051"
"""The default address of `a2a-grpc serve`."""

CONNECT_TIMEOUT_S = 2.0
"""The time in seconds to reach an agent. It is short, since a person at a terminal waits."""

TEXTS = {"header", "extension", "tenant"}
"""Shared options that are texts of the protocol. The others are paths, or are checked as addresses and credentials."""

OWN_OPTIONS = {"timeout_s", "connect_timeout_s"}
"""Settings for which the command line has another option."""


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


Verb = Callable[..., Awaitable[ExitCode | None]]


def verb(function: Verb, *, authenticates: bool = True, hears_interrupts: bool = False) -> Callable[..., None]:
    """Return a command for a coroutine function that takes a Session and options. The shared options are added.

    Those for credentials are left out if the command does not authenticate.

    An error of the function is printed in one line and ends the command with an exit code. Ctrl-C sets
    `session.interrupted` and cancels the function, unless the function hears interrupts itself.
    """
    own = [parameter for name, parameter in inspect.signature(function).parameters.items() if name != "session"]
    hints = typing.get_type_hints(function, include_extras=True)
    own = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    own_names = {parameter.name for parameter in own}
    shared = [parameter for parameter in shared_parameters(authenticates) if parameter.name not in own_names]

    def command(**given: Any) -> None:
        arguments = {parameter.name: given.pop(parameter.name) for parameter in own}
        if "target" in arguments:
            target = arguments["target"]
            given["agent"] = given["agent"] if target is None else target
        raise typer.Exit(_run(function, arguments, given, hears_interrupts))

    parameters = sorted([*own, *shared], key=lambda parameter: parameter.kind)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    return command


def shared_parameters(authenticates: bool = True) -> list[inspect.Parameter]:
    """Return the options of each verb that calls an agent."""

    def option(name: str, kind: Any, default: Any, *declarations: str, **words: Any) -> inspect.Parameter:
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=typer.Option(default, *declarations, **words), annotation=kind
        )

    calling = {"rich_help_panel": "Calling"}
    telling = {"rich_help_panel": "Output"}
    return [
        option("agent", str | None, None, "-a", "--agent", envvar="A2A_GRPC_AGENT", metavar="TARGET",
               help="Address of the agent (HOST:PORT, grpc://, grpcs://, dns:///, unix:), or URL or file of its card. "
               f"\\[default: {DEFAULT_TARGET}]", **calling),
        option("header", list[str], [], "-H", "--header", metavar="'NAME: VALUE'",
               help="Metadata to send with each call. May be given several times.",
               show_default=False, **calling),
        option("extension", list[str], [], "--extension", metavar="URI",
               help="Protocol extension to ask for. May be given several times.",
               show_default=False, **calling),
        *(credential_parameters() if authenticates else ()),
        option("timeout", float | None, None, "--timeout", metavar="SECONDS", min=0.001,
               help="End the command after SECONDS; the task continues. Default: 30 for each unary call.", **calling),
        option("connect_timeout_s", float | None, None, "--connect-timeout-s", metavar="SECONDS", min=0.001,
               help="Seconds to reach the agent for the first time. "
               f"\\[default: {CONNECT_TIMEOUT_S}; env: A2A_GRPC_CONNECT_TIMEOUT_S]", **calling),
        option("output", OutputFormat, OutputFormat.TEXT, "-o", "--output",
               help="Format of the output. 'json' prints one JSON object per line.", **telling),
        option("as_grpcurl", bool, False, "--as-grpcurl",
               help="Print the equivalent grpcurl command instead of calling.", **telling),
        option("verbose", bool, False, "-v", "--verbose",
               help="Show metadata, trailers and status details. Secrets are masked.", **telling),
        *(item for item in settings_parameters(ClientSettings, switches=True) if item.name not in OWN_OPTIONS),
    ]  # fmt: skip


def _run(function: Verb, arguments: dict[str, Any], given: dict[str, Any], hears_interrupts: bool) -> int:
    try:
        arguments = decoded(arguments)
        given |= decoded({name: given[name] for name in TEXTS & given.keys()})
        session = _session(given)
        return asyncio.run(_main(function, session, arguments, hears_interrupts))
    except (A2AError, ConfigurationError, TimeoutError) as error:
        say_error(error)
        return exit_code_of(error)
    except OutputError:
        raise
    except Exception as error:  # an answer of an agent that no code of this package expects
        if given["verbose"]:
            traceback.print_exc()
        *_, frame = traceback.extract_tb(error.__traceback__)
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        say_failure(f"the answer cannot be handled: {type(error).__name__}: {error}", f"in {where}; -v shows more")
        return ExitCode.PROTOCOL
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


async def _main(function: Verb, session: Session, arguments: dict[str, Any], hears_interrupts: bool) -> int:
    with nullcontext() if hears_interrupts else _interrupting(session.interrupted):
        try:
            async with asyncio.timeout(session.timeout_s):
                code = await function(session, **arguments)
        except asyncio.CancelledError:
            if session.interrupted.is_set():
                return ExitCode.INTERRUPTED
            raise
        except TimeoutError:
            reason = f"; {session.outage.reason}" if session.outage.reason else ""
            raise TimeoutError(f"not done within {session.timeout_s:g} s{reason}") from None
    return ExitCode.OK if code is None else code


@contextmanager
def _interrupting(interrupted: asyncio.Event) -> Iterator[None]:
    """Have the first Ctrl-C cancel the current task and set the event, and the next one end the process."""
    task = asyncio.current_task()
    assert task is not None

    def hear(number: signal.Signals) -> None:
        interrupted.set()
        task.cancel()
        let_go()

    with signals_to(hear, INTERRUPT) as let_go:
        yield


def _session(given: dict[str, Any]) -> Session:
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
    value = value.strip()
    if name.endswith("-bin") or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"--header '{name}' must have a value in printable ASCII, and a name without '-bin'")
    return name, value
