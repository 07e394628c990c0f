"""Serving as a program: until a signal comes, telling what happens."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from a2a_grpc.address import is_loopback, split_address
from a2a_grpc.agent import Agent
from a2a_grpc.config import load, refuse_unknown
from a2a_grpc.engine import EngineSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server.requests import RequestLimits
from a2a_grpc.server.server import Server
from a2a_grpc.server.settings import ServerSettings

Tell = Callable[[str, Mapping[str, Any]], None]
"""Takes an event's name with its values."""

LAST_WAIT_S = 1.0
"""How long background work has to end once the server has stopped."""

_served: ContextVar[list[Agent] | None] = ContextVar("a2a_grpc_served", default=None)


def serve(agent: Agent, **settings: Any) -> None:
    """Serves an agent until SIGTERM or SIGINT (Ctrl-C), then drains; prints where it listens.

    `settings` are fields of ServerSettings, EngineSettings, TransportSettings or RequestLimits; each can also be given
    as an environment variable `A2A_GRPC_<FIELD>`. Raises ConfigurationError or ListenError.

    In a file that `a2a-grpc serve FILE` loads, this call only names the agent: the command does the serving.
    """
    served = _served.get()
    if served is not None:
        served.append(agent)
        return
    run_to_end(run(make_server(agent, settings), tell=_print))


def make_server(agent: Agent, settings: Mapping[str, Any]) -> Server:
    """A server with its settings from one flat mapping, over the environment. Raises TypeError for a name that no
    setting has."""
    refuse_unknown(settings, ServerSettings, EngineSettings, TransportSettings, RequestLimits)
    return Server(
        agent,
        load(ServerSettings, settings),
        engine=load(EngineSettings, settings),
        transport=load(TransportSettings, settings),
        limits=load(RequestLimits, settings),
    )


async def run(server: Server, *, tell: Tell) -> None:
    """Starts a server, waits for a signal, drains; tells each step."""
    with signals() as told:
        await server.start()
        try:
            _announce(server, tell)
            name = await told
            with suppress(BrokenPipeError):  # whoever started this process may not listen any more
                tell("draining", {"signal": name})
        finally:
            await server.stop()
    with suppress(BrokenPipeError):
        tell("stopped", {})


def run_to_end(main: Coroutine[Any, Any, None]) -> None:
    """Like `asyncio.run`, but without waiting for handlers that ignore their cancellation: they were given up on."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
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
def signals() -> Iterator["asyncio.Future[str]"]:
    """The name of the first SIGTERM or SIGINT, once it comes; the next one ends the process at once."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def hear(name: str) -> None:
        told.set_result(name)
        for number in before:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in before:
        loop.add_signal_handler(number, hear, number.name)
    try:
        yield told
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _announce(server: Server, tell: Tell) -> None:
    settings = server.settings
    tell("listening", {"protocol": "grpc", "address": server.grpc_address, "tls": bool(settings.tls_cert)})
    if server.http_url:
        tell("listening", {"protocol": "http", "address": server.http_url})
    if settings.store.startswith("memory"):
        tell("note", {"text": "tasks are kept in memory and end with this process"})
    if not settings.lenient_version and is_loopback(split_address("listen", settings.listen)[0]):
        tell("note", {"text": "calls need the header 'a2a-version: 1.0' (grpcurl: -H 'a2a-version: 1.0')"})
    tell("ready", {"grpc": server.grpc_address, "http": server.http_url})


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
        case "listening" if values["protocol"] == "grpc":
            return f"gRPC  {values['address']}{' (TLS)' if values['tls'] else ''}"
        case "listening":
            return f"HTTP  {values['address']}/.well-known/agent-card.json"
        case "ready":
            return f"Ready grpc={values['grpc']} http={values['http'] or 'off'}"
        case "note":
            return f"Note  {values['text']}"
        case "draining":
            return f"{values['signal']}: draining; once more ends at once"
    return event.capitalize()


def _print(event: str, values: Mapping[str, Any]) -> None:
    print(describe(event, values), file=sys.stderr if event == "note" else sys.stdout, flush=True)
