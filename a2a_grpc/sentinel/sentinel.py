"""The sentinel: a gRPC port at which agents attach, and at which clients call the attached agents."""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from a2a_grpc.address import join_address, split_address
from a2a_grpc.arguments import checked
from a2a_grpc.auth import Authenticator, AuthSettings
from a2a_grpc.auth.audit import AuditLog
from a2a_grpc.auth.callers import AUTHORIZATION, Callers
from a2a_grpc.auth.described import schemes_of
from a2a_grpc.auth.keys import HEADER
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.listening.descriptors import shares
from a2a_grpc.rpc import (
    AcceptingServer,
    Admission,
    Arrivals,
    Calls,
    Methods,
    Responses,
    TransportSettings,
    invocation_metadata,
    server_options,
)
from a2a_grpc.rpc.elsewhere import UNKNOWN, other_versions, refusal
from a2a_grpc.rpc.limits import MetadataLimit
from a2a_grpc.rpc.traffic import Traffic
from a2a_grpc.sentinel.attaching import Attaching
from a2a_grpc.sentinel.direct import plain_routes
from a2a_grpc.sentinel.directory import AttachedAgents
from a2a_grpc.sentinel.relay import Relay
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.settings import OFF, SentinelSettings
from a2a_grpc.sentinel.signing import Signer
from a2a_grpc.sentinel.wire import Welcome
from a2a_grpc.wire import SERVICE, SERVICE_NAME, SecurityScheme

logger = logging.getLogger("a2a_grpc.sentinel")

REQUEST_BYTES = 256 << 20
"""The largest size of all requests in progress together."""
RESPONSE_BYTES = 32 << 20
"""The largest size of all responses that clients have not read yet."""
UNREAD_S = 5.0
REQUEST_S = 60.0
FORGET_EVERY_S = 30.0
CLOSE_S = 1.0


@checked()
class Sentinel:
    """Serves the calls of clients by the agents that are attached to it.

    An agent opens a stream to the sentinel and gets a logical address such as `cancellable@fame.fabric`. A request
    whose tenant is this address is passed to the agent. Use the sentinel as a context manager; it serves while the
    block runs.

    Guarantees:

    - Requests, responses, metadata and statuses are those of the agent and its caller, byte for byte.
    - A caller cannot tell an address that has no agent from one that it may not call.
    - With authenticators, each call that reaches an agent names its caller, signed by the sentinel. The credentials of
      the caller stay here, unless `pass_credentials` is set.
    - Of a request, nothing is read except its tenant.

    Example:
        async with Sentinel(SentinelSettings(listen="127.0.0.1:8000")) as sentinel:
            print(sentinel.address)
            await asyncio.Event().wait()

    Args:
        settings: The settings; by default the defaults of the class.
        auth: Authenticators, for clients and agents. With at least one, each call needs valid credentials, and an
            address belongs to the principal that was the first to attach there.
        rules: Who may attach at which addresses, and who may call which agents; by default each authenticated caller.
        callers: The limits of callers, and the audit log. The credentials that they name are not read.
        transport: The limits and times of HTTP/2 connections.

    Raises:
        ConfigurationError: The signing key cannot be used, a package is missing, there are rules and no
            authenticators, or a plain route is wrong, or its agent could not tell its callers apart.

    Attributes:
        address: HOST:PORT, once the sentinel listens.
        http_url: The URL of HTTP, without a path, once the sentinel listens; None if HTTP is off.
    """

    def __init__(
        self,
        settings: SentinelSettings | None = None,
        *,
        auth: Sequence[Authenticator] = (),
        rules: Rules | None = None,
        callers: AuthSettings | None = None,
        transport: TransportSettings | None = None,
    ) -> None:
        self.settings = settings or SentinelSettings()
        # An agent keeps its connection: if its age were limited, the calls of the agent would be cut.
        self._transport = transport or TransportSettings(max_connection_age_s=0)
        if not auth and (rules is not None or self.settings.signing_key):
            given = "signing_key" if rules is None else "rules"
            raise ConfigurationError(f"{given}: the sentinel has no authenticators, so that it knows no callers")
        if auth and self.settings.route and not self.settings.pass_credentials:
            raise ConfigurationError(
                f"route is '{self.settings.route}': an agent believes the sentinel on its own tunnel only, so that all "
                "callers would be the same one to it; attach the agent, or set pass_credentials"
            )
        self._rules = (rules or Rules()) if auth else Rules.open_to_all()
        self._schemes = schemes_of(auth)
        self._signer = Signer(self.settings.signing_key) if auth and not self.settings.pass_credentials else None
        self._auth_settings = callers or AuthSettings()
        self._callers = Callers(
            auth,
            failures_per_minute=self._auth_settings.auth_failures_per_minute,
            calls_per_second=self._auth_settings.calls_per_second,
            calls_burst=self._auth_settings.calls_burst,
        )
        self._audit: AuditLog | None = None
        self._server: AcceptingServer | None = None
        self._routes = Routes(
            max_agents=self.settings.max_agents, hold_s=self.settings.hold_s, plain=plain_routes(self.settings)
        )
        self._traffic = Traffic()
        self._undo = AsyncExitStack()
        self._attaching: Attaching
        self._calls: Calls
        self.address = ""
        self.http_url: str | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen. `async with` calls this.

        Raises:
            ConfigurationError: An authenticator cannot be used.
            OSError: The address cannot be listened on.
        """
        settings = self.settings
        async with AsyncExitStack() as undo:
            folder = Path(tempfile.mkdtemp(prefix="a2a-grpc-sentinel-"))  # with mode 0700
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            server = self._bound()
            undo.push_async_callback(server.stop, CLOSE_S)
            undo.push_async_callback(self._callers.close)
            await self._callers.open()
            if self._auth_settings.audit_log:
                self._audit = AuditLog(self._auth_settings.audit_log)
                undo.callback(self._audit.close)
            self._attaching = Attaching(
                self._routes,
                self._rules,
                settings,
                folder,
                self._said(),
                max_age_s=self._transport.max_connection_age_s,
            )
            self._routes.open()
            undo.push_async_callback(self._routes.close)
            undo.push_async_callback(self._attaching.close)
            server.serve(self._methods())
            await self._listen_http(undo)  # `/readyz` answers 503 until the sentinel is ready
            await server.start()
            self._server = server
            forgetting = asyncio.create_task(self._forget(), name="a2a-grpc:forget")
            undo.callback(forgetting.cancel)
            self._undo = undo.pop_all()

    async def stop(self) -> None:
        """Have the agents attach to another sentinel, let calls finish for `drain_grace_s`, and close."""
        if self._server is None:
            return
        self._server = None
        self._attaching.is_draining = True
        for tunnel in self._routes.all():
            tunnel.renew()
        await self._calls.end_streams()
        if ways := self._routes.ways():
            grace_s = self.settings.drain_grace_s
            await asyncio.wait([asyncio.create_task(way.finish(grace_s), name="a2a-grpc:finish") for way in ways])
        await self._calls.wait(CLOSE_S)
        await self._undo.aclose()

    async def wait_failed(self) -> None:
        """Wait until gRPC accepts no calls any more, although the sentinel was not stopped."""
        assert self._server is not None
        await asyncio.shield(self._server.ended)

    def _bound(self) -> AcceptingServer:
        host, port = split_address("listen", self.settings.listen)
        server = AcceptingServer(
            [
                *server_options(self._transport),
                ("grpc.max_allowed_incoming_connections", self.settings.max_connections),
            ],
            traffic=self._traffic,
            max_streams=self._transport.max_streams_per_connection,
        )
        try:
            port = server.add_insecure_port(join_address(host, port))
        except RuntimeError as error:
            raise OSError(
                f"cannot listen on {join_address(host, port)}: the port is taken, or not this machine's"
            ) from error
        self.address = join_address(host, port)
        return server

    async def _listen_http(self, undo: AsyncExitStack) -> None:
        settings = self.settings
        if settings.http_listen == OFF:
            return
        from a2a_grpc.sentinel.http import (  # aiohttp takes longer to import than the rest together
            SentinelHttp,
            Visitors,
        )

        async def is_ready() -> bool:
            return self._server is not None and not self._server.ended.done()

        http = SentinelHttp(
            AttachedAgents(self._routes, self._rules.may_call),
            visitors=Visitors(self._callers, self._audit),
            public_url=settings.public_url,
            is_tls=False,
            card_max_age_s=settings.card_max_age_s,
            is_alive=lambda: self._server is None or not self._server.ended.done(),
            is_ready=is_ready,
        )
        host, port = split_address("http_listen", settings.http_listen)
        address = await http.start(host, port, limit=shares(1, settings.max_connections).http)
        undo.push_async_callback(http.stop)
        self.http_url = f"http://{address}"

    def _methods(self) -> Methods:
        """Return the handlers of the agents' service, and of the service that agents call."""
        settings, transport = self.settings, self._transport
        self._calls = calls = Calls(
            max_calls=settings.max_calls,
            max_streams=settings.max_streams,
            max_bytes=REQUEST_BYTES,
            responses=Responses(max_bytes=RESPONSE_BYTES, unread_s=UNREAD_S),
        )
        arrivals = Arrivals(
            places=max(4, REQUEST_BYTES // (2 * transport.max_receive_bytes)),
            timeout_s=REQUEST_S,
            refuse=self._refuse,
            traffic=self._traffic,
        )
        admission = Admission(self._callers, self._refuse, invocation_metadata, audit=self._audit)
        relay = Relay(
            self._routes,
            calls,
            self._rules,
            () if settings.pass_credentials else _names(self._schemes),
            self._signer.sign if self._signer else None,
        )

        def admitted(name: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
            handler = arrivals.asked_for(handler)
            return admission.guarded(name, handler) if admission.is_needed else handler

        handlers = {
            f"/{SERVICE_NAME}/{method.name}": calls.handler(method, relay.behavior(method))
            for method in SERVICE.methods
        }
        handlers |= {**self._attaching.handlers(), **other_versions()}
        limit = MetadataLimit(transport.max_call_metadata_bytes, self._traffic)
        return Methods({name: admitted(name, one) for name, one in handlers.items()}, refusal(UNKNOWN), limit)

    def _said(self) -> Welcome:
        """Return what agents get to know of the callers that they will have."""
        if self._signer is None:
            return Welcome()
        schemes = {name: scheme.SerializeToString() for name, scheme in self._schemes.items()}
        return Welcome(principal_key=self._signer.public, security_schemes=schemes)

    async def _refuse(self, context: Any, error: A2AError) -> None:
        await self._calls.refuse(context, error)

    async def _forget(self) -> None:
        """Forget connections that have gone, from time to time."""
        while True:
            await asyncio.sleep(FORGET_EVERY_S)
            self._traffic.forget_idle()


def _names(schemes: Mapping[str, SecurityScheme]) -> set[str]:
    """Return the names of the metadata that carry credentials."""
    keys = (scheme.api_key_security_scheme for scheme in schemes.values())
    return {AUTHORIZATION, HEADER, *(key.name.lower() for key in keys if key.location == "header")}
