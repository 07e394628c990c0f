"""Serving as a program: until a signal comes, in one process or several, telling what happens."""

import asyncio
import importlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from a2a_grpc.address import is_loopback, split_address
from a2a_grpc.agent import Agent, check_agent
from a2a_grpc.config import PREFIX, ConfigurationError, load, refuse_unknown
from a2a_grpc.engine import EngineSettings
from a2a_grpc.harmless import log_to_stderr
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.rpc.memory import return_large_blocks
from a2a_grpc.server.descriptors import raise_limit
from a2a_grpc.server.garbage import Garbage
from a2a_grpc.server.requests import RequestLimits
from a2a_grpc.server.server import Server, ServerFailedError
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.server.worker import Tell, Worker
from a2a_grpc.server.workers import NeverReadyError, Workers, check_workers
from a2a_grpc.signals import STOP, signals_to
from a2a_grpc.store import TaskStore

logger = logging.getLogger("a2a_grpc.server")

SETTINGS = (ServerSettings, EngineSettings, TransportSettings, RequestLimits)

LAST_WAIT_S = 1.0
"""How long background work has to end once the server has stopped."""

FAILED_GRACE_S = 5.0
"""How long runs may go on in a server that failed: as long as they do, no other process takes the port."""

_served: ContextVar[list[Agent] | None] = ContextVar("a2a_grpc_served", default=None)


def serve(agent: Agent, **settings: Any) -> None:
    """Serves an agent until SIGTERM or SIGINT (Ctrl-C), then drains; prints where it listens.

    `settings` are fields of ServerSettings, EngineSettings, TransportSettings or RequestLimits; each can also be given
    as an environment variable `A2A_GRPC_<FIELD>`. Warnings go to standard error, unless the program has arranged its
    log. Raises ConfigurationError or ListenError.

    In a file that `a2a-grpc serve FILE` loads, this call only names the agent: the command does the serving.
    """
    check_agent(agent, Agent)
    served = _served.get()
    if served is not None:
        served.append(agent)
        return
    log_to_stderr("WARNING")
    run_program(lambda: agent, settings, tell=_print)


def run_program(find_agent: Callable[[], Agent], settings: Mapping[str, Any], *, tell: Tell) -> None:
    """Serves an agent until a signal comes: in this process, or in as many others as `workers` says.

    Where others serve, the agent is looked for only there. Raises ConfigurationError, ListenError, and SystemExit if
    no worker can serve, or if this process can serve no longer.
    """
    refuse_unknown(settings, *SETTINGS)
    worker = Worker.of_environment()
    if worker is not None:
        settings, tell = {**settings, **worker.settings}, worker.tell
    raise_limit()
    server_settings = load(ServerSettings, settings)
    if server_settings.workers == 1:
        agent = find_agent()
        server, loop = make_server(agent, with_store(agent, settings)), event_loop(server_settings)
        try:
            run_to_end(run(server, tell=tell), loop)
        except ServerFailedError as error:
            sys.exit(f"Error: {error}")
        return
    check_workers(server_settings, store=server_settings.store if _names_store(settings) else "")
    try:
        run_to_end(_run_workers(server_settings, tell), asyncio.new_event_loop())
    except NeverReadyError as error:
        if error.code > 0:
            sys.exit(error.code)  # it has said why
        sys.exit(f"Error: {error}")


async def _run_workers(settings: ServerSettings, tell: Tell) -> None:
    workers = Workers(settings, tell=tell)
    with signals(last=workers.kill) as told:
        await workers.run(told)


def make_server(agent: Agent, settings: Mapping[str, Any], *, store: TaskStore | None = None) -> Server:
    """A server with its settings from one flat mapping, over the environment, and with a store of one's own if given.
    Raises TypeError for a name that no setting has."""
    refuse_unknown(settings, *SETTINGS)
    return Server(
        agent,
        load(ServerSettings, settings),
        engine=load(EngineSettings, settings),
        transport=load(TransportSettings, settings),
        limits=load(RequestLimits, settings),
        store=store,
    )


def with_store(agent: Agent, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a program: where nobody says otherwise, tasks are kept in a file named after the agent."""
    if _names_store(settings):
        return settings
    name = re.sub(r"\W+", "-", agent.name).strip("-").lower() or "agent"
    return {**settings, "store": f"sqlite:///{name}.tasks.db"}


def _names_store(settings: Mapping[str, Any]) -> bool:
    return settings.get("store") is not None or f"{PREFIX}STORE" in os.environ


def where_tasks_are(store: str) -> str:
    """A store's URL in words, without its password."""
    scheme, _, rest = store.partition(":")
    if scheme == "memory":
        return "tasks are kept in memory and end with this process"
    if scheme == "sqlite":
        return f"tasks are kept in {rest.removeprefix('///').partition('?')[0]}"
    return f"tasks are kept in {scheme}://{rest.removeprefix('//').rpartition('@')[2].partition('?')[0]}"


async def run(server: Server, *, tell: Tell) -> None:
    """Starts a server, waits for a signal, drains; tells each step."""
    return_large_blocks()
    with signals() as told:
        await server.start()
        garbage = Garbage(lambda: server.is_idle)
        try:
            garbage.start()
            _announce(server, tell)
            failing = asyncio.create_task(server.wait_failed(), name="a2a-grpc:failing")
            await asyncio.wait([told, failing], return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                await server.stop(min(server.settings.drain_grace_s, FAILED_GRACE_S))
                raise ServerFailedError(failing.result())
            failing.cancel()
            with suppress(OSError):  # whoever started this process may not listen any more
                tell("draining", {"signal": told.result()})
        finally:
            garbage.stop()
            await server.stop()
    with suppress(OSError):
        tell("stopped", {})


def event_loop(settings: ServerSettings) -> asyncio.AbstractEventLoop:
    """A new one, of the kind that is asked for. Raises ConfigurationError where that is not installed."""
    if not settings.uvloop:
        return asyncio.new_event_loop()
    try:
        made: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except ModuleNotFoundError as error:
        raise ConfigurationError('uvloop is not installed: pip install "a2a-grpc[uvloop]"') from error
    return made


def run_to_end(main: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    """Like `asyncio.run`, but without waiting for handlers that ignore their cancellation: they were given up on.

    SystemExit and KeyboardInterrupt of another task than `main` do not end the loop: `signals` hears of signals.
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
                logger.exception("a task of the agent tried to end the program; the server goes on")
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=LAST_WAIT_S))
        loop.set_exception_handler(lambda loop, context: None)  # it would tell of each that is still pending
        asyncio.set_event_loop(None)
        loop.close()


@contextmanager
def signals(last: Callable[[], None] | None = None) -> Iterator["asyncio.Future[str]"]:
    """The name of the first SIGTERM or SIGINT, once it comes; the next one ends the process at once: `last` is done
    before that, if the event loop is free to do it."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def hear(number: signal.Signals) -> None:
        if not told.done():
            told.set_result(number.name)
            if last is None:
                let_go()
            return
        if last is not None:
            last()
        let_go()
        signal.raise_signal(number)

    with signals_to(hear, STOP) as let_go:
        yield told


def _announce(server: Server, tell: Tell) -> None:
    settings = server.settings
    tell("listening", {"protocol": "grpc", "address": server.grpc_address, "tls": bool(settings.tls_cert)})
    if server.admin_address:
        tell("listening", {"protocol": "admin", "address": server.admin_address, "tls": bool(settings.tls_cert)})
    if server.http_url:
        tell("listening", {"protocol": "http", "address": server.http_url})
    if settings.names_asked_host and server.http_url:
        port = split_address("listen", server.grpc_address)[1]
        text = f"the card names the host that it is asked at, with port {port}; --advertise HOST:PORT names another"
        tell("note", {"text": text})
    tell("note", {"text": where_tasks_are(settings.store)})
    if not settings.lenient_version and is_loopback(split_address("listen", settings.listen)[0]):
        tell("note", {"text": "calls need the header 'a2a-version: 1.0' (grpcurl: -H 'a2a-version: 1.0')"})
    admin = {"admin": server.admin_address} if server.admin_address else {}
    tell("ready", {"grpc": server.grpc_address, "http": server.http_url, **admin})


@contextmanager
def loading() -> Iterator[list[Agent]]:
    """While the block runs, `serve` does not serve: it adds its agent to this list."""
    served: list[Agent] = []
    token = _served.set(served)
    try:
        yield served
    finally:
        _served.reset(token)


def describe(event: str, values: Mapping[str, Any]) -> str:
    """An event as a line for people."""
    match event:
        case "listening" if values["protocol"] == "http":
            return f"HTTP  {values['address']}/.well-known/agent-card.json"
        case "listening":
            port = "gRPC " if values["protocol"] == "grpc" else "Admin"
            return f"{port} {values['address']}{' (TLS)' if values['tls'] else ''}"
        case "ready":
            workers = f" workers={values['workers']}" if "workers" in values else ""
            return f"Ready grpc={values['grpc']} http={values['http'] or 'off'}{workers}"
        case "note":
            return f"Note  {values['text']}"
        case "restarted":
            return f"Worker {values['worker']} ended ({values['ended']}); started again"
        case "draining":
            return f"{values['signal']}: draining; once more ends at once"
    return event.capitalize()


def _print(event: str, values: Mapping[str, Any]) -> None:
    print(describe(event, values), file=sys.stderr if event == "note" else sys.stdout, flush=True)
