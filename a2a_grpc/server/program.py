"""Run the server of a program, in one process or several, until a signal comes."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import grpc.aio

from a2a_grpc.agent import Agent, check_card
from a2a_grpc.auth import Authenticator
from a2a_grpc.auth.protocol import Vouching
from a2a_grpc.config import ConfigurationError, flag_of, load, refuse_unknown, said_of, unknown_variables, variable_of
from a2a_grpc.listening.descriptors import raise_limit
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.rpc.memory import return_large_blocks
from a2a_grpc.server.events import announce, noting
from a2a_grpc.server.garbage import Garbage
from a2a_grpc.server.loaded import SETTINGS, make_server, names_store, with_callers, with_push, with_store
from a2a_grpc.server.loop import event_loop, run_to_end
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.server import Server, ServerFailedError
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.server.stopping import signals
from a2a_grpc.server.worker import Reporter, Worker, report_if_read
from a2a_grpc.server.workers import NeverReadyError, Workers, check_workers
from a2a_grpc.shortage import check_limits

logger = logging.getLogger("a2a_grpc.server")

CREDENTIALS = frozenset(["auth", "api_keys", "jwt_issuer", "jwt_audience", "tls_client_ca"])
"""The settings that name the credentials that a server accepts."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a program serves.

    Attributes:
        agent: The agent.
        interceptors: Interceptors of gRPC, the outermost one first.
        authenticators: Authenticators of the program, which are asked before those of the settings.
        authorize: The function for policies of the program, if there is one.
        unused: Settings that a call of `serve` in a loaded file gives, and that the command does not use.
    """

    agent: Agent
    interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
    authenticators: Sequence[Authenticator] = ()
    authorize: Authorize | None = None
    unused: Sequence[str] = ()


class Make(Protocol):
    """Makes the server of a program, perhaps with settings that were not known before, and a private socket."""

    def __call__(
        self,
        more: Mapping[str, Any] = ...,
        private_socket: Path | None = None,
        private_callers: Vouching | None = None,
    ) -> Server: ...


@dataclass(frozen=True, slots=True)
class Program:
    """What a function that runs the server of a program is given.

    Attributes:
        make: Makes the server.
        store: The URL of the store.
        callbacks: The settings of callbacks to other agents.
        report: A function that reports an event.
        is_worker: True if a supervisor looks after this process.
    """

    make: Make
    store: str
    callbacks: CallbackSettings
    report: Reporter
    is_worker: bool


def run_program(
    find: Callable[[], Served],
    settings: Mapping[str, Any],
    *,
    report: Reporter,
    around: Callable[[Program], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Serve until a signal comes, in this process or in as many others as the setting `workers` says.

    Args:
        find: A function that finds the agent. If other processes serve, they call it.
        settings: The settings, which count before the environment.
        report: A function that reports an event, such as "ready".
        around: A function that runs the server that it is to make; by default `run`.

    Raises:
        ConfigurationError: A setting is wrong, or the agent has no valid card.
        ListenError: An address cannot be listened on.
        StoreUnavailable: The store does not answer.
        SystemExit: No worker can serve, or this process cannot serve any longer.
    """
    refuse_unknown(settings, *SETTINGS, also=("authenticators", "authorize", "interceptors"))
    worker = Worker.of_environment()
    if worker is None:  # otherwise the supervisor has warned
        warn_of_variables()
    if worker is not None:
        settings, report = {**settings, **worker.settings}, worker.report
    raise_limit()
    check_limits()
    settings, _ = with_callers(settings)  # before workers start, so that a wrong file is reported once
    server_settings = load(ServerSettings, settings)
    if server_settings.workers == 1:
        found = find()
        check_unused(found.unused, settings, report=report if worker is None else None)
        settings, note = with_push(with_store(found.agent, settings))
        if worker is None:
            report = noting(report, note)
        if around is not None:  # before the agent attaches or registers
            for kind in SETTINGS:
                load(kind, settings)
            check_card(found.agent, offers_push=bool(load(PushSettings, settings).push))

        def make(
            more: Mapping[str, Any] = {},
            private_socket: Path | None = None,
            private_callers: Vouching | None = None,
        ) -> Server:
            return make_server(
                found.agent,
                {**settings, **more},
                interceptors=found.interceptors,
                authenticators=found.authenticators,
                authorize=found.authorize,
                private_socket=private_socket,
                private_callers=private_callers,
            )

        server = make() if around is None else None  # before the event loop, so that a wrong setting is reported early
        loop = event_loop(server_settings)
        try:
            if server is not None:
                run_to_end(run(server, report=report, is_worker=worker is not None), loop)
            elif around is not None:
                store = load(ServerSettings, settings).store
                run_to_end(
                    around(Program(make, store, load(CallbackSettings, settings), report, worker is not None)), loop
                )
        except ServerFailedError as error:
            sys.exit(f"Error: {error}")
        return
    check_workers(server_settings, store=server_settings.store if names_store(settings) else "")
    _, note = with_push(settings)
    try:
        run_to_end(_run_workers(server_settings, noting(report, note)), asyncio.new_event_loop())
    except NeverReadyError as error:
        if error.code > 0:
            sys.exit(error.code)  # the worker has printed the reason
        sys.exit(f"Error: {error}")


def check_unused(names: Sequence[str], settings: Mapping[str, Any], *, report: Reporter | None) -> None:
    """Report the settings of a loaded file that have no effect, except those that the command has been given, too.

    Raise ConfigurationError if one of them names credentials: without it the server would accept every call.
    """
    given = {name for name, value in settings.items() if value is not None}
    variables = {item.name: variable_of(item) for kind in SETTINGS for item in fields(kind)}
    unused = [name for name in names if name not in given and variables.get(name) not in os.environ]
    if credentials := [flag_of(name) for name in unused if name in CREDENTIALS]:
        raise ConfigurationError(
            "this command ignores settings of serve(…) in the file, and these name the credentials that the server "
            f"accepts: give {', '.join(credentials)} as well"
        )
    if unused and report is not None:
        text = f"this command ignores settings of serve(…) in the file: {', '.join(unused)}; give them as options"
        report("note", {"text": text})


async def _run_workers(settings: ServerSettings, report: Reporter) -> None:
    workers = Workers(settings, report=report)
    with signals(last=workers.kill) as signaled:
        await workers.run(signaled)


def warn_of_variables() -> None:
    """Log a warning for each environment variable that begins with `A2A_GRPC_` and has no meaning."""
    if not unknown_variables(SETTINGS):
        return
    from a2a_grpc.client import ClientSettings  # takes its time to import

    for name, nearest in unknown_variables((*SETTINGS, ClientSettings)).items():
        logger.warning("%s", said_of(name, nearest))


async def run(server: Server, *, report: Reporter, is_worker: bool = False) -> None:
    """Start a server, wait for a signal, and drain. A signal that comes during the start ends the start.

    Args:
        server: A server that was not started yet.
        report: A function that reports each step, such as "ready", with its values.
        is_worker: True if a supervisor looks after this process. Only the first signal counts then.

    Raises:
        ServerFailedError: The server failed and cannot serve any longer.
    """
    return_large_blocks()
    with signals(is_worker=is_worker) as signaled:
        if not await _started(server, signaled):
            report_if_read(report, "stopped", {})
            return
        garbage = Garbage(lambda: server.is_idle)
        try:
            garbage.start()
            announce(server, report)
            await server.serve_until(
                signaled, draining=lambda name: report_if_read(report, "draining", {"signal": name})
            )
        finally:
            garbage.stop()
            await server.stop()
    report_if_read(report, "stopped", {})


async def _started(server: Server, signaled: "asyncio.Future[str]") -> bool:
    """Start a server. Return False if a signal came first, since a store that does not answer delays the start."""
    starting = asyncio.create_task(server.start(), name="a2a-grpc:start")
    both: list[asyncio.Future[Any]] = [starting, signaled]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    return True
