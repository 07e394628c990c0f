"""The sentinel: gRPC ports at which agents attach, and at which clients call the attached agents."""

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

from a2a_grpc.address import split_address
from a2a_grpc.arguments import checked
from a2a_grpc.auth import Authenticator, AuthSettings
from a2a_grpc.auth.audit import AuditLog
from a2a_grpc.auth.callers import AUTHORIZATION, Callers
from a2a_grpc.auth.described import schemes_of
from a2a_grpc.auth.keys import HEADER
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.listening.admin import HEALTH_METHODS, Admin
from a2a_grpc.listening.descriptors import shares
from a2a_grpc.listening.front import Front
from a2a_grpc.listening.noise import QuietGrpc
from a2a_grpc.listening.settings import check_credentials_are_encrypted
from a2a_grpc.listening.tls import LOOK_EVERY_S
from a2a_grpc.registry import open_entries
from a2a_grpc.registry.wire import REGISTRY_SERVICE
from a2a_grpc.rpc import (
    Admission,
    Arrivals,
    Calls,
    Methods,
    Responses,
    TransportSettings,
    invocation_metadata,
)
from a2a_grpc.rpc.elsewhere import UNKNOWN, other_versions, refusal
from a2a_grpc.rpc.limits import MetadataLimit
from a2a_grpc.sentinel.attaching import Attaching
from a2a_grpc.sentinel.direct import plain_routes
from a2a_grpc.sentinel.directory import Directory
from a2a_grpc.sentinel.hop import HoppedCallers, Hops
from a2a_grpc.sentinel.looking import looking
from a2a_grpc.sentinel.peers import Peers, opened_peers
from a2a_grpc.sentinel.presence import Presence
from a2a_grpc.sentinel.registry import RegistryService
from a2a_grpc.sentinel.relay import Relay
from a2a_grpc.sentinel.route_cards import RouteCards, places_of
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.settings import OFF, SentinelSettings
from a2a_grpc.sentinel.signing import Signer
from a2a_grpc.sentinel.wire import SENTINEL_SERVICE, Welcome
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
    - Connections that flood the sentinel are ended. If a port is lost, it is bound again.

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
            authenticators, or a plain route is wrong, or its agent could not tell its callers apart. Or credentials
            would be sent in plaintext beyond this machine.

    Attributes:
        address: HOST:PORT, once the sentinel listens. The first one, if `listen` names several.
        addresses: All such addresses, in the order of `listen`.
        entries: The store of the registry.
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
        self._transport = transport or TransportSettings(
            max_connection_age_s=0,
            max_receive_bytes=self.settings.max_receive_bytes,
            max_send_bytes=self.settings.max_send_bytes,
        )
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
        self._hops = Hops()
        # Callers of other sentinels are asked about there. Their calls have no credentials.
        hopped = (HoppedCallers(self._hops),) if auth and self.settings.has_peers else ()
        self._callers = Callers(
            (*hopped, *auth),
            failures_per_minute=self._auth_settings.auth_failures_per_minute,
            calls_per_second=self._auth_settings.calls_per_second,
            calls_burst=self._auth_settings.calls_burst,
        )
        if self._callers.authenticates:
            check_credentials_are_encrypted(self.settings, ("listen", "http_listen"))
        self._audit: AuditLog | None = None
        self._front: Front | None = None
        self._failed: asyncio.Future[str] | None = None
        plain = plain_routes(self.settings)
        self._cards = places_of(self.settings.route_card, plain)
        self._routes = Routes(max_agents=self.settings.max_agents, hold_s=self.settings.hold_s, plain=plain)
        self._admin = Admin(self.settings, (SERVICE_NAME, SENTINEL_SERVICE, REGISTRY_SERVICE))
        self.entries = open_entries(
            self.settings.store, lease_s=self.settings.registry_lease_s, max_entries=self.settings.max_entries
        )
        self._undo = AsyncExitStack()
        self._peers: Peers | None = None
        self._presence: Presence
        self._attaching: Attaching
        self._calls: Calls
        self.address = ""
        self.addresses: tuple[str, ...] = ()
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
            ConfigurationError: An authenticator, a TLS file or the store cannot be used.
            StoreUnavailable: The store does not answer.
            ListenError: An address cannot be listened on, for example because the port is taken.
        """
        settings = self.settings
        async with AsyncExitStack() as undo:
            folder = Path(tempfile.mkdtemp(prefix="a2a-grpc-"))  # with mode 0700
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            self._failed = asyncio.get_running_loop().create_future()
            self._calls = Calls(
                max_calls=settings.max_calls,
                max_streams=settings.max_streams,
                max_bytes=REQUEST_BYTES,
                responses=Responses(max_bytes=RESPONSE_BYTES, unread_s=UNREAD_S),
            )
            front = self._made_front()
            undo.push_async_callback(self._close_front, front)
            front.bind()
            self.addresses = front.addresses("listen")
            self.address = self.addresses[0]
            undo.push_async_callback(self._callers.close)
            await self._callers.open()
            if self._auth_settings.audit_log:
                self._audit = AuditLog(self._auth_settings.audit_log)
                undo.callback(self._audit.close)
            await self.entries.open()
            undo.push_async_callback(self.entries.close)
            peer_address = settings.peer_address or settings.public_address or self.address
            if settings.has_peers:
                self._peers = await opened_peers(self.entries, self._hops, peer_address, settings)
                undo.push_async_callback(self._peers.close)
            self._attaching = Attaching(
                self._routes,
                self._rules,
                settings,
                folder,
                self._said(),
                front.traffic,
                max_age_s=self._transport.max_connection_age_s,
                peers=self._peers,
            )
            self._presence = Presence(self.entries, self._routes, peer_address, self._peers)
            undo.push_async_callback(self._presence.close)
            self._routes.open()
            undo.push_async_callback(self._routes.close)
            public = settings.public_address or self.address
            cards = RouteCards(self._routes, self._cards, public, ca_cert=settings.route_ca_cert)
            undo.push_async_callback(cards.close)
            undo.push_async_callback(self._attaching.close)
            methods = self._methods(front)
            undo.enter_context(QuietGrpc())
            await self._listen_http(undo, front)  # `/readyz` answers 503 until the sentinel is ready
            await front.start(lambda listener: methods)
            self._front = front
            self._admin.tell(True)
            looking = asyncio.create_task(self._look(front), name="a2a-grpc:look")
            undo.callback(looking.cancel)
            self._undo = undo.pop_all()

    async def stop(self) -> None:
        """Have the agents attach to another sentinel, let calls finish for `drain_grace_s`, and close."""
        if self._front is None:
            return
        self._front = None
        self._admin.leave()
        self._attaching.is_draining = True
        self._renew()
        await self._presence.close()  # first, so that other sentinels pass no more calls on
        await self._calls.end_streams()
        if ways := self._routes.ways():
            grace_s = self.settings.drain_grace_s
            await asyncio.wait([asyncio.create_task(way.finish(grace_s), name="a2a-grpc:finish") for way in ways])
        await asyncio.gather(self._calls.wait(CLOSE_S), self._admin.end())
        await self._undo.aclose()

    async def wait_failed(self) -> str:
        """Wait until a port is lost for good, although the sentinel was not stopped. Return the reason."""
        assert self._failed is not None
        return await asyncio.shield(self._failed)

    def _made_front(self) -> Front:
        """Return the ports, which are not bound yet."""
        settings = self.settings
        listeners = settings.public_listeners
        # The other half is for the sockets of tunnels.
        room = max(1, shares(len(listeners), 2 * settings.max_connections).grpc // 2)
        return Front(
            settings,
            self._transport,
            listeners,
            max_connections=room,
            on_failure=self._fail,
            on_bound_again=self._renew,
        )

    def _renew(self) -> None:
        """Have the agents attach again. Their streams are calls of a port that was lost, which end some time later."""
        for tunnel in self._routes.all():
            tunnel.renew()

    async def _listen_http(self, undo: AsyncExitStack, front: Front) -> None:
        settings, tls = self.settings, front.tls
        if settings.http_listen == OFF:
            return
        from a2a_grpc.sentinel import http as served  # aiohttp takes longer to import than the rest together

        async def is_ready() -> bool:
            return self._front is not None and self._front.is_accepting

        http = served.SentinelHttp(
            Directory(self.entries, self._routes, self._rules),
            visitors=served.Visitors(self._callers, self._audit),
            public_url=settings.public_url,
            is_tls=tls is not None,
            card_max_age_s=settings.card_max_age_s,
            is_alive=lambda: self._failed is None or not self._failed.done(),
            is_ready=is_ready,
        )
        host, port = split_address("http_listen", settings.http_listen)
        limit = shares(1, settings.max_connections).http
        address = await http.start(host, port, limit=limit, tls=(lambda: tls.http_asking) if tls else None)
        undo.push_async_callback(http.stop)
        self.http_url = f"{'https' if tls else 'http'}://{address}"

    async def _close_front(self, front: Front) -> None:
        """Close the ports. Let clients that have not read their answers still read them."""
        await front.close(self._calls.unread_by)

    def _fail(self, reason: str) -> None:
        """Record that a port is lost for good, and why."""
        assert self._failed is not None
        if not self._failed.done():
            logger.error("the sentinel failed: %s", reason)
            self._failed.set_result(reason)
            self._admin.tell(False)

    def _methods(self, front: Front) -> Methods:
        """Return the handlers of the agents' service, of the service that agents call, and of those for operators."""
        settings, transport = self.settings, self._transport
        calls = self._calls
        arrivals = Arrivals(
            places=max(4, REQUEST_BYTES // (2 * transport.max_receive_bytes)),
            timeout_s=REQUEST_S,
            refuse=self._refuse,
            traffic=front.traffic,
        )
        admission = Admission(
            self._callers, self._refuse, invocation_metadata, certificate=front.certificate, audit=self._audit
        )
        relay = Relay(
            self._routes,
            calls,
            self._rules,
            () if settings.pass_credentials else _names(self._schemes),
            self._signer.sign if self._signer else None,
            self._peers,
        )

        def admitted(name: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
            handler = arrivals.asked_for(handler)
            is_guarded = admission.is_needed and name not in HEALTH_METHODS
            return admission.guarded(name, handler) if is_guarded else handler

        handlers = {
            f"/{SERVICE_NAME}/{method.name}": calls.handler(method, relay.behavior(method))
            for method in SERVICE.methods
        }
        handlers |= RegistryService(self.entries, self._rules).handlers(self._calls)
        if self._peers is not None:
            handlers |= looking(calls, self._hops, self._presence.look)
        handlers |= {**self._attaching.handlers(), **self._admin.handlers(), **other_versions()}
        limit = MetadataLimit(transport.max_call_metadata_bytes, front.traffic)

        def named(name: str) -> "grpc.RpcMethodHandler[Any, Any] | None":
            handler = relay.named(name)
            return handler and admitted(name, handler)

        known = {name: admitted(name, one) for name, one in handlers.items()}
        return Methods(known, refusal(UNKNOWN), limit, named)

    def _said(self) -> Welcome:
        """Return what agents get to know of the callers that they will have."""
        if self._signer is None:
            return Welcome(passes_credentials=self.settings.pass_credentials)
        schemes = {name: scheme.SerializeToString() for name, scheme in self._schemes.items()}
        return Welcome(principal_key=self._signer.public, security_schemes=schemes)

    async def _refuse(self, context: Any, error: A2AError) -> None:
        await self._calls.refuse(context, error)

    async def _look(self, front: Front) -> None:
        """Read files again if they have changed, and forget connections that have gone, from time to time."""
        loop = asyncio.get_running_loop()
        forget_at = loop.time() + FORGET_EVERY_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await front.look_at_files()
            await self._rules.look()
            if not front.is_guarded and loop.time() >= forget_at:  # a guard does so itself
                front.traffic.forget_idle()
                forget_at = loop.time() + FORGET_EVERY_S


def _names(schemes: Mapping[str, SecurityScheme]) -> set[str]:
    """Return the names of the metadata that carry credentials."""
    keys = (scheme.api_key_security_scheme for scheme in schemes.values())
    return {AUTHORIZATION, HEADER, *(key.name.lower() for key in keys if key.location == "header")}
