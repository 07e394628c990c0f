"""A server whose callers say who they are, and one client for each kind of caller."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from a2a_grpc import Agent, Server, ServerSettings
from a2a_grpc.auth import Authenticator, AuthSettings, CallCredentials, Refused
from a2a_grpc.engine import EngineSettings
from a2a_grpc.principal import Principal
from a2a_grpc.wire import A2AServiceStub
from tests.harness import V1

ISSUERS = {
    "jwt": ("jwt", "https://a.example"),
    "other": ("jwt", "https://b.example"),
    "key": ("key", ""),
    "certificate": ("certificate", ""),
}
"""Four kinds of callers that may have one subject: two issuers of tokens, a key's name, a certificate's name."""


@dataclass
class Named:
    """An authenticator that believes what a caller says: `authorization: KIND SUBJECT [OPTION=VALUE]…`.

    The options are `tenants` and `scopes` (lists with commas), `group`, and `ends_in`, seconds from now.
    """

    seen: list[CallCredentials] = field(default_factory=list)

    async def __call__(self, credentials: CallCredentials, /) -> Principal | None:
        self.seen.append(credentials)
        said = credentials.metadata.get("authorization")
        if said is None:
            return None
        kind, subject, *options = str(said[0]).split(" ")
        if kind not in ISSUERS:
            raise Refused("unknown kind")
        method, issuer = ISSUERS[kind]
        given = dict(option.split("=", 1) for option in options)
        ends_in = given.get("ends_in")
        return Principal(
            subject,
            method,
            issuer,
            tenants=frozenset(given["tenants"].split(",")) if "tenants" in given else None,
            scopes=frozenset(given.get("scopes", "").split(",")) - {""},
            group=given.get("group", ""),
            claims={"said": kind},
            expires_at=time.time() + float(ends_in) if ends_in else None,
        )

    def schemes(self) -> dict[str, Any]:
        return {}

    def challenge(self) -> str:
        return "Bearer"


def as_caller(kind: str, subject: str = "ann", **options: object) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a caller, with the protocol's version."""
    said = " ".join([kind, subject, *(f"{name}={value}" for name, value in options.items())])
    return (*V1, ("authorization", said))


@dataclass
class Site:
    """A server, a stub of it, and what its authenticator has seen."""

    server: Server
    channel: grpc.aio.Channel
    stub: A2AServiceStub
    named: Named


@asynccontextmanager
async def site(
    agent: Agent,
    *,
    auth: Sequence[Authenticator] = (),
    callers: AuthSettings | None = None,
    engine: EngineSettings | None = None,
    authorize: Any = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve an agent on a free port, for the callers that `Named` and the authenticators of `auth` know."""
    named = Named()
    options = ServerSettings(**{"listen": "127.0.0.1:0", "http_listen": "off", "drain_grace_s": 0.0, **settings})
    async with Server(
        agent,
        options,
        engine=engine,
        auth=[named, *auth],
        callers=callers,
        authorize=authorize,
        interceptors=interceptors,
    ) as server:
        async with grpc.aio.insecure_channel(
            server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield Site(server, channel, A2AServiceStub(channel), named)
