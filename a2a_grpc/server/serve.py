"""Serve an agent as a program: `serve`."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import grpc.aio

from a2a_grpc.agent import Agent, check_agent
from a2a_grpc.arguments import checking
from a2a_grpc.auth import Authenticator
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.listening.ports import ListenError
from a2a_grpc.loglines import log_to_stderr
from a2a_grpc.masking import mask_url
from a2a_grpc.server.events import describe
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.program import Served, run_program
from a2a_grpc.shortage import ending_if_short
from a2a_grpc.store import StoreUnavailable

logger = logging.getLogger("a2a_grpc.server")

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
        with ending_if_short():
            run_program(lambda: Served(agent, interceptors, authenticators, authorize), settings, report=_print)
    except (ConfigurationError, ListenError, StoreUnavailable) as error:
        print(f"Error: {one_line(mask_url(str(error)))}", file=sys.stderr)  # noqa: T201
        sys.exit(3 if isinstance(error, StoreUnavailable) else 2)


@contextmanager
def loading() -> Iterator[list[Served]]:
    """Have `serve` add what it would serve to a list, in place of serving, while the block runs. Yield the list."""
    served: list[Served] = []
    token = _served.set(served)
    try:
        yield served
    finally:
        _served.reset(token)


def _print(event: str, values: Mapping[str, Any]) -> None:
    try:
        print(describe(event, values), file=sys.stderr if event == "note" else sys.stdout, flush=True)
    except OSError as error:
        logger.warning("an event could not be printed; the server continues event=%s error=%s", event, error.strerror)
