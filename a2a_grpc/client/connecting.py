"""Make a client with settings by name: `connect`."""

from collections.abc import Mapping, Sequence

import grpc.aio

from a2a_grpc.agent import Agent
from a2a_grpc.arguments import checking
from a2a_grpc.client.client import Client
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.headers import Metadata
from a2a_grpc.client.security import Given
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.config import load, refuse_unknown

CONNECT_ARGUMENTS = ("credentials", "headers", "extensions", "interceptors", "cards", "callback")
"""The arguments of `connect` that are no settings."""


@checking
def connect(
    target: str,
    *,
    credentials: Given | None = None,
    headers: Metadata = (),
    extensions: Sequence[str] = (),
    interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
    cards: Cards | None = None,
    callback: Agent | None = None,
    **settings: object,
) -> Client:
    """Return a client of an agent. Use it in an `async with` block, which opens and closes the connection.

    Addresses of this machine are called in plaintext, all others with TLS, unless `plaintext` is set.

    Example:
        async with connect("https://agents.example") as agent:
            task = await agent.send("Translate 'hello' to French")

    Args:
        target: The agent. An address is `HOST:PORT`, `grpc://…`, `grpcs://…` (with TLS), `dns:///…` or `unix:PATH`. An
            agent card is a URL `https://…` or `http://…`, or a path.
        credentials: Credentials for each call, such as `bearer(…)`, `api_key(…)` or `oauth2(…)`; by default none. They
            may be a list, or a dict from the names of security schemes to credentials. If the agent's card asks for
            credentials, the client sends those for the first of the card's requirements that they meet. A server that
            asks for credentials when the card is fetched gets all of them.
        headers: gRPC metadata of every call.
        extensions: The URIs of the A2A extensions to ask for in every call (spec §3.2.6).
        interceptors: Client interceptors of `grpc.aio`, for example for tracing. They see every call.
        cards: Agent cards that several clients share; by default each client fetches the card itself.
        callback: An agent that this process serves, and that has a function under `@agent.on_callback`. `wait` then has
            the other agent call it back, instead of following the task.
        **settings: Fields of ClientSettings. Each has an environment variable, too, for example `A2A_GRPC_TIMEOUT_S`. A
            setting that is given here counts before the variable.

    Raises:
        ConfigurationError: The target is none of these forms, or a setting has a value that is not possible.
        TypeError: No setting has a name that was given, or an argument has a wrong type.
    """
    return Client(
        target,
        load_settings(settings),
        credentials=credentials,
        headers=headers,
        extensions=extensions,
        interceptors=interceptors,
        cards=cards,
        callback=callback,
    )


def load_settings(settings: Mapping[str, object]) -> ClientSettings:
    """Return settings that count before the environment. Raise TypeError for a name that no setting has."""
    refuse_unknown(settings, ClientSettings, also=CONNECT_ARGUMENTS)
    return load(ClientSettings, settings)
