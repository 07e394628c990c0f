"""Serving as a program, in one process or several, until a signal comes."""

import asyncio
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import grpc.aio

from a2a_grpc.address import is_loopback, split_address
from a2a_grpc.agent import Agent, check_agent, check_card
from a2a_grpc.arguments import checking
from a2a_grpc.auth import Authenticator, AuthSettings, anonymous
from a2a_grpc.auth.file import accepted
from a2a_grpc.auth.protocol import Vouching
from a2a_grpc.config import (
    PREFIX,
    ConfigurationError,
    flag_of,
    load,
    refuse_unknown,
    said_of,
    unknown_variables,
    variable_of,
)
from a2a_grpc.engine import EngineSettings
from a2a_grpc.harmless import one_line
from a2a_grpc.listening.descriptors import raise_limit
from a2a_grpc.listening.ports import ListenError
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.loglines import log_to_stderr
from a2a_grpc.masking import mask_url
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.rpc.memory import return_large_blocks
from a2a_grpc.server.garbage import Garbage
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.pushing import problem
from a2a_grpc.server.server import Server, ServerFailedError
from a2a_grpc.server.settings import RequestLimits, ServerSettings
from a2a_grpc.server.stopping import signals
from a2a_grpc.server.worker import Reporter, Worker, report_if_read
from a2a_grpc.server.workers import NeverReadyError, Workers, check_workers
from a2a_grpc.store import StoreUnavailable, TaskStore

logger = logging.getLogger("a2a_grpc.server")

SETTINGS = (
    *(ServerSettings, EngineSettings, TransportSettings, RequestLimits, AuthSettings),
    *(PushSettings, WebhookSettings, CallbackSettings),
)

CREDENTIALS = frozenset(["auth", "api_keys", "jwt_issuer", "jwt_audience", "tls_client_ca"])
"""The settings that name the credentials that a server accepts."""

ENDING_S = 0.2
"""Seconds for tasks that end by themselves, such as those of calls that came while the server stopped."""
LAST_WAIT_S = 1.0
"""The time in seconds that background work has to end after the server has stopped."""


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


_served: ContextVar[list[Served] | None] = ContextVar("a2a_grpc_served", default=None)


@checking
def serve(
    agent: Agent,
    *,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    authenticators: Sequence[Authenticator] = (),
    authorize: Authorize | None = None,
    **settings: Any,
) -> None:
    """Serve an agent until SIGTERM or SIGINT (Ctrl-C) comes, then drain.

    The function prints the addresses of the server. It writes warnings to standard error, unless the program has
    configured logging. Tasks are kept in the file `AGENT.tasks.db`, unless the setting `store` says otherwise.

    If the server cannot start, the program ends with one line on standard error. The exit code is 2 if a setting or an
    address is wrong, and 3 if the store does not answer. A program that does more than to serve uses `Server`.

    In a file that `a2a-grpc serve FILE` loads, this function only names the agent, the interceptors and the functions
    for callers. The command serves the agent, with its own settings.

    Args:
        agent: The agent to serve.
        interceptors: Interceptors of gRPC, the outermost one first.
        authenticators: Authenticators of your own, which are asked before those of the settings.
        authorize: A function for policies of your own, as in `Server`.
        **settings: Fields of ServerSettings, EngineSettings, TransportSettings, RequestLimits, AuthSettings,
            PushSettings, WebhookSettings or CallbackSettings. Each has an environment variable, too, for example
            `A2A_GRPC_MAX_RUNS`. A setting that is given here counts before the variable.

    Raises:
        TypeError: `agent` is not an `Agent`, or no setting has a name that was given.
        SystemExit: The server could not start, or failed later.
    """
    check_agent(agent, Agent)
    served = _served.get()
    if served is not None:
        unused = [name for name, value in settings.items() if value is not None]
        served.append(Served(agent, interceptors, authenticators, authorize, unused))
        return
    try:
        log_to_stderr()
        run_program(lambda: Served(agent, interceptors, authenticators, authorize), settings, report=_print)
    except (ConfigurationError, ListenError, StoreUnavailable) as error:
        print(f"Error: {one_line(mask_url(str(error)))}", file=sys.stderr)  # noqa: T201
        sys.exit(3 if isinstance(error, StoreUnavailable) else 2)


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
    settings, _ = _with_callers(settings)  # before workers start, so that a wrong file is reported once
    server_settings = load(ServerSettings, settings)
    if server_settings.workers == 1:
        found = find()
        _check_unused(found.unused, settings, report=report if worker is None else None)
        settings, note = with_push(with_store(found.agent, settings))
        if worker is None:
            report = _noting(report, note)
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
    check_workers(server_settings, store=server_settings.store if _names_store(settings) else "")
    _, note = with_push(settings)
    try:
        run_to_end(_run_workers(server_settings, _noting(report, note)), asyncio.new_event_loop())
    except NeverReadyError as error:
        if error.code > 0:
            sys.exit(error.code)  # the worker has printed the reason
        sys.exit(f"Error: {error}")


def _noting(report: Reporter, note: str) -> Reporter:
    """Return a function that reports the note before "ready", so that a failed start says only why it failed."""

    def reporting(event: str, values: Mapping[str, Any]) -> None:
        if note and event == "ready":
            report("note", {"text": note})
        report(event, values)

    return reporting


def _check_unused(names: Sequence[str], settings: Mapping[str, Any], *, report: Reporter | None) -> None:
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
    with signals(last=workers.kill) as told:
        await workers.run(told)


def warn_of_variables() -> None:
    """Log a warning for each environment variable that begins with `A2A_GRPC_` and has no meaning."""
    if not unknown_variables(SETTINGS):
        return
    from a2a_grpc.client import ClientSettings  # takes its time to import

    for name, nearest in unknown_variables((*SETTINGS, ClientSettings)).items():
        logger.warning("%s", said_of(name, nearest))


def make_server(
    agent: Agent,
    settings: Mapping[str, Any],
    *,
    store: TaskStore | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    authenticators: Sequence[Authenticator] = (),
    authorize: Authorize | None = None,
    private_socket: Path | None = None,
    private_callers: Vouching | None = None,
) -> Server:
    """Return a server whose settings come from one mapping and the environment.

    Args:
        agent: The agent to serve.
        settings: Values by name, of all classes of settings. They count before the environment.
        store: Your own task store; by default the one that the settings name.
        interceptors: Interceptors of gRPC, the outermost one first.
        authenticators: Authenticators of your own, which are asked before those of the settings.
        authorize: A function for policies of your own.
        private_socket: The path of a Unix socket on which the server listens as well.
        private_callers: The authenticator of this socket.

    Raises:
        TypeError: No setting has a name that was given.
        ConfigurationError: A setting has a value that is not possible.
    """
    refuse_unknown(settings, *SETTINGS)
    settings, authenticators_of_settings = _with_callers(settings)
    return Server(
        agent,
        load(ServerSettings, settings),
        engine=load(EngineSettings, settings),
        transport=load(TransportSettings, settings),
        limits=load(RequestLimits, settings),
        store=store,
        interceptors=interceptors,
        auth=(*authenticators, *authenticators_of_settings),
        authorize=authorize,
        callers=load(AuthSettings, settings),
        push=load(PushSettings, settings),
        webhooks=load(WebhookSettings, settings),
        callbacks=load(CallbackSettings, settings),
        private_socket=private_socket,
        private_callers=private_callers,
    )


def _with_callers(settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Authenticator]]:
    """Return the authenticators that settings name. Return the settings as well, with the client CA of the file."""
    found = accepted(load(AuthSettings, settings), client_ca=client_ca_of(settings))
    return {**settings, "tls_client_ca": found.client_ca}, found.authenticators


def client_ca_of(settings: Mapping[str, Any]) -> str | None:
    """Return the file with the CAs of client certificates that settings, or the environment, name; None if neither.

    Raises:
        ConfigurationError: The name is empty: an unset variable of a shell must not turn client certificates off.
    """
    client_ca: str | None = settings.get("tls_client_ca")
    if client_ca is None:
        client_ca = os.environ.get(f"{PREFIX}TLS_CLIENT_CA")
    if client_ca == "":
        raise ConfigurationError("tls_client_ca is empty")
    return client_ca


def with_store(agent: Agent, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a program. If no setting names a store, it is a file named after the agent."""
    if _names_store(settings):
        return settings
    name = re.sub(r"\W+", "-", agent.name).strip("-").lower() or "agent"
    return {**settings, "store": f"sqlite:///{name}.tasks.db"}


def with_push(settings: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the settings of a program with push notifications on, if it can offer them and no setting says whether.

    Return a sentence for the user as well, if it cannot.
    """
    found = load(PushSettings, settings)
    if found.push is not None:
        return settings, ""
    why = problem(found, load(ServerSettings, settings).store)
    return {**settings, "push": not why}, f"push notifications are off: {why}" if why else ""


def _names_store(settings: Mapping[str, Any]) -> bool:
    return settings.get("store") is not None or f"{PREFIX}STORE" in os.environ


def where_tasks_are(store: str) -> str:
    """Return a sentence that says where a store keeps tasks, without its password."""
    if store.partition(":")[0] == "memory":
        return "tasks are kept in memory and end with this process"
    from a2a_grpc.database.urls import DatabaseUrl  # imports SQLAlchemy

    return f"tasks are kept in {DatabaseUrl.parse(store).location}"


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
    with signals(is_worker=is_worker) as told:
        if not await _started(server, told):
            report_if_read(report, "stopped", {})
            return
        garbage = Garbage(lambda: server.is_idle)
        try:
            garbage.start()
            _announce(server, report)
            await server.serve_until(told, draining=lambda name: report_if_read(report, "draining", {"signal": name}))
        finally:
            garbage.stop()
            await server.stop()
    report_if_read(report, "stopped", {})


async def _started(server: Server, told: "asyncio.Future[str]") -> bool:
    """Start a server. Return False if a signal came first, since a store that does not answer delays the start."""
    starting = asyncio.create_task(server.start(), name="a2a-grpc:start")
    both: list[asyncio.Future[Any]] = [starting, told]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    return True


def event_loop(settings: ServerSettings) -> asyncio.AbstractEventLoop:
    """Return a new event loop, of uvloop if the settings ask for it. Raise ConfigurationError if it is missing."""
    if not settings.uvloop:
        return asyncio.new_event_loop()
    try:
        made: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except ModuleNotFoundError as error:
        raise ConfigurationError('uvloop is not installed: pip install "a2a-grpc[uvloop]"') from error
    return made


def run_to_end(main: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    """Run a coroutine in an event loop to its end, then close the loop.

    This differs from `asyncio.run` in two ways. It does not wait for handlers that ignore their cancellation. And a
    SystemExit or KeyboardInterrupt that another task than `main` raises does not end the loop.
    """
    asyncio.set_event_loop(loop)
    running = loop.create_task(main)
    try:
        while not running.done():
            try:
                loop.run_until_complete(running)
            except (SystemExit, KeyboardInterrupt):
                if running.done():
                    raise
                logger.exception("agent code tried to end the program; the server continues")
    finally:
        if left := asyncio.all_tasks(loop):  # gRPC logs an error for each call of its own that is canceled here
            _, left = loop.run_until_complete(asyncio.wait(left, timeout=ENDING_S))
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LAST_WAIT_S))
        loop.set_exception_handler(lambda loop, context: None)  # it would log each task that is still pending
        asyncio.set_event_loop(None)
        loop.close()


def _announce(server: Server, report: Reporter) -> None:
    settings = server.settings
    report_listeners(settings, server.grpc_addresses, report)
    if server.admin_address:
        report("listening", {"protocol": "admin", "address": server.admin_address, "tls": bool(settings.tls_cert)})
    if server.http_url:
        report("listening", {"protocol": "http", "address": server.http_url})
    if settings.names_asked_host and server.http_url:
        port = split_address("listen", server.grpc_address)[1]
        text = f"the card names the host that it is asked at, with port {port}; --advertise HOST:PORT names another"
        report("note", {"text": text})
    report("note", {"text": where_tasks_are(settings.store)})
    if server.auth and anonymous not in server.auth:
        schemes = ", ".join(sorted(server.card.security_schemes))
        report("note", {"text": f"callers need credentials{f': {schemes}' if schemes else ''}"})
    if not settings.lenient_version and is_loopback(settings.listening[0].host):
        report("note", {"text": "calls need the header 'a2a-version: 1.0' (grpcurl: -H 'a2a-version: 1.0')"})
    admin = {"admin": server.admin_address} if server.admin_address else {}
    report("ready", {**ready_at(server.grpc_addresses), "http": server.http_url, **admin})


def report_listeners(settings: ListenSettings, addresses: Sequence[str], report: Reporter) -> None:
    """Report the addresses of gRPC ports, with port numbers that were chosen, and which of them use TLS."""
    for listener, address in zip(settings.public_listeners, addresses, strict=True):
        mutual = {"mtls": True} if listener.is_mutual else {}
        report("listening", {"protocol": "grpc", "address": address, "tls": bool(settings.tls_cert), **mutual})


def ready_at(addresses: Sequence[str]) -> dict[str, Any]:
    """Return what the event "ready" says of the addresses of gRPC ports."""
    first, *others = addresses
    return {"grpc": first, **({"grpc_more": others} if others else {})}


@contextmanager
def loading() -> Iterator[list[Served]]:
    """Have `serve` add what it would serve to a list, in place of serving, while the block runs. Yield the list."""
    served: list[Served] = []
    token = _served.set(served)
    try:
        yield served
    finally:
        _served.reset(token)


def describe(event: str, values: Mapping[str, Any]) -> str:
    """Return an event as a line for people."""
    match event:
        case "listening" if values["protocol"] == "http":
            return f"HTTP  {values['address']}/.well-known/agent-card.json"
        case "listening":
            port = "gRPC " if values["protocol"] == "grpc" else "Admin"
            encrypted = " (mTLS)" if values.get("mtls") else " (TLS)" if values["tls"] else ""
            return f"{port} {values['address']}{encrypted}"
        case "ready":
            workers = f" workers={values['workers']}" if "workers" in values else ""
            grpc_addresses = ",".join([values["grpc"], *values.get("grpc_more", ())])
            return f"Ready grpc={grpc_addresses} http={values['http'] or 'off'}{workers}"
        case "note":
            return f"Note  {values['text']}"
        case "restarted":
            return f"Worker {values['worker']} ended ({values['ended']}); started again"
        case "draining":
            return f"{values['signal']}: draining; once more ends at once"
    return event.capitalize()


def _print(event: str, values: Mapping[str, Any]) -> None:
    try:
        print(describe(event, values), file=sys.stderr if event == "note" else sys.stdout, flush=True)
    except OSError as error:
        logger.warning("the event '%s' could not be printed: %s; the server continues", event, error.strerror)
