"""The sentinel: gRPC ports at which agents attach, and at which clients call the attached agents."""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from a2a_grpc.arguments import checked
from a2a_grpc.auth import Authenticator, AuthSettings
from a2a_grpc.auth.described import schemes_of
from a2a_grpc.listening.admin import Admin
from a2a_grpc.listening.front import Front
from a2a_grpc.listening.noise import QuietGrpc
from a2a_grpc.listening.settings import check_credentials_are_encrypted
from a2a_grpc.registry import open_entries
from a2a_grpc.registry.wire import REGISTRY_SERVICE
from a2a_grpc.rpc import (
    CallLog,
    Methods,
    TransportSettings,
)
from a2a_grpc.sentinel.admission import Admission
from a2a_grpc.sentinel.attaching import Attaching
from a2a_grpc.sentinel.consistency import callers_of, check_consistency, names_of
from a2a_grpc.sentinel.direct import plain_routes
from a2a_grpc.sentinel.directory import Directory
from a2a_grpc.sentinel.heartbeats import Heartbeats
from a2a_grpc.sentinel.hop import Hops
from a2a_grpc.sentinel.membership import Membership
from a2a_grpc.sentinel.ports import look_after, made_ports
from a2a_grpc.sentinel.registry import RegistryService
from a2a_grpc.sentinel.relay import Relay
from a2a_grpc.sentinel.replacement import replacement_handlers
from a2a_grpc.sentinel.route_cards import RouteCards, places_of
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.settings import OFF, SentinelSettings
from a2a_grpc.sentinel.signing import Signer, welcome_of
from a2a_grpc.sentinel.streams import AgentStreams
from a2a_grpc.sentinel.telemetry import SentinelTelemetry
from a2a_grpc.sentinel.wire import SENTINEL_SERVICE
from a2a_grpc.wire import SERVICE_NAME

logger = logging.getLogger("a2a_grpc.sentinel")

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
        rules: The rules that say which callers may attach at which addresses, and which may call which agents; by
            default each authenticated caller may do both.
        callers: The limits of callers, and the logs of calls. The credentials that they name are not read.
        transport: The limits and times of HTTP/2 connections.

    Raises:
        ConfigurationError: The signing key cannot be used, a package is missing, or there are rules and no
            authenticators. A plain route is wrong, or its agent could not tell its callers apart. Credentials would be
            sent in plaintext beyond this machine.

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
        check_consistency(self.settings, auth, rules)
        self._rules = (rules or Rules()) if auth else Rules.open_to_all()
        self._schemes = schemes_of(auth)
        self._signer = Signer(self.settings.signing_key) if auth and not self.settings.pass_credentials else None
        self._auth_settings = callers or AuthSettings()
        self._hops = Hops()
        self._callers = callers_of(self.settings, auth, self._auth_settings, self._hops)
        if self._callers.authenticates:
            check_credentials_are_encrypted(self.settings, ("listen", "http_listen"))
        self._call_log: CallLog | None = None
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
        self._membership = Membership(self.entries, self._routes, self.settings, self._hops)
        self._admission: Admission
        self._attaching: Attaching
        self._heartbeats: Heartbeats
        self._streams: AgentStreams
        self._telemetry: SentinelTelemetry
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
            self._admission = Admission(settings, self._transport)
            self._telemetry = SentinelTelemetry(
                self._admission.calls, self._routes, self._callers, serves_metrics=settings.metrics
            )
            undo.callback(self._telemetry.close)
            undo.push_async_callback(self._callers.close)  # after the ports: calls that still come are identified
            if (call_log := CallLog.opened(self._auth_settings)) is not None:
                self._call_log = call_log
                undo.callback(call_log.close)
            front = made_ports(settings, self._transport, on_failure=self._fail, on_bound_again=self._renew)
            undo.push_async_callback(self._close_front, front)
            front.bind()
            self.addresses = front.addresses("listen")
            self.address = self.addresses[0]
            await self._callers.open()
            await self._membership.open(self.address)
            undo.push_async_callback(self._membership.close)
            self._streams = AgentStreams()
            self._heartbeats = Heartbeats(self.entries, self._streams, max_streams=settings.max_streams)
            undo.push_async_callback(self._heartbeats.close)
            self._attaching = Attaching(
                self._routes,
                self._rules,
                settings,
                folder,
                welcome_of(self._signer, self._schemes, passes_credentials=settings.pass_credentials),
                front.traffic,
                self._streams,
                max_age_s=self._transport.max_connection_age_s,
                peers=self._membership.peers,
            )
            self._routes.open()
            undo.push_async_callback(self._routes.close)
            public = settings.public_address or self.address
            cards = RouteCards(self._routes, self._cards, public, ca_cert=settings.route_ca_cert)
            undo.push_async_callback(cards.close)
            undo.push_async_callback(self._streams.close)
            methods = self._methods(front)
            undo.enter_context(QuietGrpc())
            await self._listen_http(undo, front)  # `/readyz` answers 503 until the sentinel is ready
            await front.start(lambda listener: methods)
            self._front = front
            self._admin.set_ready(True)
            looking = asyncio.create_task(look_after(front, self._rules), name="a2a-grpc:look")
            undo.callback(looking.cancel)
            self._undo = undo.pop_all()

    async def stop(self) -> None:
        """Have the agents attach to another sentinel, let calls finish for `drain_grace_s`, and close."""
        if self._front is None:
            return
        self._front = None
        self._admin.leave()
        self._streams.is_draining = True
        self._renew()
        self._heartbeats.drain()
        await self._membership.leave()  # first, so that other sentinels pass no more calls on
        await self._admission.calls.end_streams()
        if upstreams := self._routes.upstreams():
            grace_s = self.settings.drain_grace_s
            finishing = [asyncio.create_task(one.finish(grace_s), name="a2a-grpc:finish") for one in upstreams]
            await asyncio.wait(finishing)
        await asyncio.gather(self._admission.calls.wait(CLOSE_S), self._admin.end())
        await self._undo.aclose()

    @property
    def is_idle(self) -> bool:
        """True while no call of a client is open."""
        return self._admission.calls.is_idle

    async def wait_failed(self) -> str:
        """Wait until a port is lost for good, although the sentinel was not stopped. Return the reason."""
        assert self._failed is not None
        return await asyncio.shield(self._failed)

    def _renew(self) -> None:
        """Have the agents attach again. Their streams are calls of a port that was lost, which end some time later."""
        for tunnel in self._routes.all():
            tunnel.renew()

    async def _listen_http(self, undo: AsyncExitStack, front: Front) -> None:
        if self.settings.http_listen == OFF:
            return
        from a2a_grpc.sentinel import http  # aiohttp takes longer to import than the rest together

        async def is_ready() -> bool:
            return self._front is not None and self._front.is_accepting

        self.http_url, port = await http.served(
            Directory(self.entries, self._routes, self._rules),
            http.HttpCallers(self._callers, self._call_log),
            self.settings,
            front.tls,
            is_alive=lambda: self._failed is None or not self._failed.done(),
            is_ready=is_ready,
            scrape=self._telemetry.scrape,
        )
        undo.push_async_callback(port.stop)

    async def _close_front(self, front: Front) -> None:
        """Close the ports. Let clients that have not read their answers still read them."""
        await front.close(self._admission.calls.unread_by)

    def _fail(self, reason: str) -> None:
        """Record that a port is lost for good, and why."""
        assert self._failed is not None
        if not self._failed.done():
            logger.error("the sentinel failed reason=%s", reason)
            self._failed.set_result(reason)
            self._admin.set_ready(False)

    def _methods(self, front: Front) -> Methods:
        """Return the handlers of the agents' service, of the service that agents call, and of those for operators."""
        calls, peers = self._admission.calls, self._membership.peers
        relay = Relay(
            self._routes,
            calls,
            self._rules,
            () if self.settings.pass_credentials else names_of(self._schemes),
            self._signer.sign if self._signer else None,
            peers,
        )
        handlers = relay.handlers() | RegistryService(self.entries, self._rules).handlers(calls)
        if peers is not None:
            handlers |= replacement_handlers(calls, self._hops, self._membership.look)
        handlers |= {**self._attaching.handlers(), **self._heartbeats.handlers(), **self._admin.handlers()}
        return self._admission.methods(
            handlers,
            relay.named,
            front=front,
            callers=self._callers,
            log=self._call_log,
            spans=self._telemetry.spans,
        )
