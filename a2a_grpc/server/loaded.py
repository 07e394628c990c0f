"""Make a server of settings by name: those of a program, then the environment, then the defaults."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from a2a_grpc.agent import Agent
from a2a_grpc.auth import Authenticator, AuthSettings
from a2a_grpc.auth.file import accepted
from a2a_grpc.auth.protocol import Vouching
from a2a_grpc.config import PREFIX, ConfigurationError, load, refuse_unknown
from a2a_grpc.engine import EngineSettings
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.pushing import problem
from a2a_grpc.server.server import Server
from a2a_grpc.server.settings import RequestLimits, ServerSettings
from a2a_grpc.store import TaskStore

SETTINGS = (
    *(ServerSettings, EngineSettings, TransportSettings, RequestLimits, AuthSettings),
    *(PushSettings, WebhookSettings, CallbackSettings),
)


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
    environ: Mapping[str, str] | None = None,
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
        environ: The environment variables; by default those of the process.

    Raises:
        TypeError: No setting has a name that was given.
        ConfigurationError: A setting has a value that is not possible.
    """
    refuse_unknown(settings, *SETTINGS)
    settings, authenticators_of_settings = with_callers(settings, environ)
    return Server(
        agent,
        load(ServerSettings, settings, environ),
        engine=load(EngineSettings, settings, environ),
        transport=load(TransportSettings, settings, environ),
        limits=load(RequestLimits, settings, environ),
        store=store,
        interceptors=interceptors,
        auth=(*authenticators, *authenticators_of_settings),
        authorize=authorize,
        callers=load(AuthSettings, settings, environ),
        push=load(PushSettings, settings, environ),
        webhooks=load(WebhookSettings, settings, environ),
        callbacks=load(CallbackSettings, settings, environ),
        private_socket=private_socket,
        private_callers=private_callers,
    )


def with_callers(
    settings: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> tuple[Mapping[str, Any], Sequence[Authenticator]]:
    """Return the authenticators that settings name. Return the settings as well, with the client CA of the file."""
    found = accepted(load(AuthSettings, settings, environ), client_ca=client_ca_of(settings, environ))
    return {**settings, "tls_client_ca": found.client_ca}, found.authenticators


def client_ca_of(settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> str | None:
    """Return the file with the CAs of client certificates that settings, or the environment, name; None if neither.

    Raises:
        ConfigurationError: The name is empty: an unset variable of a shell must not turn client certificates off.
    """
    client_ca: str | None = settings.get("tls_client_ca")
    if client_ca is None:
        client_ca = (os.environ if environ is None else environ).get(f"{PREFIX}TLS_CLIENT_CA")
    if client_ca == "":
        raise ConfigurationError("tls_client_ca is empty")
    return client_ca


def with_store(agent: Agent, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of a program. If no setting names a store, it is a file named after the agent."""
    if names_store(settings):
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


def names_store(settings: Mapping[str, Any]) -> bool:
    return settings.get("store") is not None or f"{PREFIX}STORE" in os.environ
