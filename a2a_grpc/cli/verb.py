"""The command of a verb that calls an agent: its options, its run, and its exit code."""

import asyncio
import inspect
import signal
import traceback
import typing
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import typer

from a2a_grpc.cli.content import decoded
from a2a_grpc.cli.credentials import parameters as credential_parameters
from a2a_grpc.cli.exits import ExitCode, exit_code_of, say_error, say_failure
from a2a_grpc.cli.options import OutputFormat, settings_parameters
from a2a_grpc.cli.output import OutputError
from a2a_grpc.cli.session import CONNECT_TIMEOUT_S, DEFAULT_TARGET, Session, session_of
from a2a_grpc.client import ClientSettings
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.signals import INTERRUPT, signals_to

TEXTS = {"header", "extension"}
"""Shared options that are texts of the protocol. Settings say of themselves whether they are."""

OWN_OPTIONS = {"timeout_s", "connect_timeout_s"}
"""Settings for which the command line has another option."""


Verb = Callable[..., Awaitable[ExitCode | None]]


def verb(function: Verb, *, authenticates: bool = True, hears_interrupts: bool = False) -> Callable[..., None]:
    """Return a command for a coroutine function that takes a Session and options. The shared options are added.

    Those for credentials are left out if the command does not authenticate. A parameter that is a dataclass stands for
    an option for each of its fields.

    An error of the function is printed in one line and ends the command with an exit code. Ctrl-C sets
    `session.interrupted` and cancels the function, unless the function hears interrupts itself.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    own: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "session":
            continue
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            own += options_of(hints[name])
        else:
            own.append(parameter.replace(annotation=hints[name]))
    own_names = {parameter.name for parameter in own}
    shared = [parameter for parameter in shared_parameters(authenticates) if parameter.name not in own_names]

    def command(**given: Any) -> None:
        arguments = {parameter.name: given.pop(parameter.name) for parameter in own}
        if "target" in arguments:
            target = arguments["target"]
            given["agent"] = given["agent"] if target is None else target
        raise typer.Exit(_run(run, arguments, given, hears_interrupts))

    def run(session: Session, **arguments: Any) -> Awaitable[ExitCode | None]:
        for name, kind in groups.items():
            arguments[name] = kind(**{item.name: arguments.pop(item.name) for item in fields(kind)})
        return function(session, **arguments)

    parameters = sorted([*own, *shared], key=lambda parameter: parameter.kind)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    return command


def options_of(kind: Any) -> list[inspect.Parameter]:
    """Return an option for each field of a dataclass."""
    hints = typing.get_type_hints(kind, include_extras=True)
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [inspect.Parameter(one.name, place, default=one.default, annotation=hints[one.name]) for one in fields(kind)]


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
        session = session_of(given)
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
