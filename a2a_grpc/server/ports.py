"""The ports of a server: gRPC, HTTP, and the socket of a tunnel."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio

from a2a_grpc.auth.callers import Callers
from a2a_grpc.auth.protocol import Certificate
from a2a_grpc.listening.admin import Admin
from a2a_grpc.listening.descriptors import shares
from a2a_grpc.listening.front import Front
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.port import CALLS_S, CLOSE_S
from a2a_grpc.rpc import (
    AcceptingServer,
    Arrivals,
    Authentication,
    CallLog,
    Calls,
    Methods,
    TransportSettings,
    invocation_metadata,
    server_options,
)
from a2a_grpc.rpc.traffic import Traffic
from a2a_grpc.server.handlers import Handlers
from a2a_grpc.server.methods import PortMethods
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.telemetry.prometheus import Scrape
from a2a_grpc.wire import AgentCard

if TYPE_CHECKING:
    from a2a_grpc.server.http import CardPort
    from a2a_grpc.telemetry.calls import ServedCalls

VOUCHED_BYTES = 33 * 1024
"""Room for what a sentinel says of a caller, besides the metadata that the caller sends."""

LAST_CALLS_S = 1.0
"""Seconds that unary calls have to end before the ports close."""


class Ports:
    """Binds the ports of a server, serves handlers on them, and closes them.

    A port for operators (`admin_listen`) takes the services for operators away from the other ports, and asks for no
    credentials.

    Args:
        settings: The settings of the server.
        transport: The limits and times of connections.
        calls: The calls of the server.
        interceptors: Interceptors of gRPC, the outermost one first.
        callers: Says who calls, and what each caller may do.
        call_log: The log of calls, if there is one.
        spans: Begins the spans of calls; None for none.
        on_failure: Called with the reason if a port is lost for good.

    Raises:
        ConfigurationError: A TLS file cannot be used, or channelz is wanted and not installed.
    """

    def __init__(
        self,
        settings: ServerSettings,
        transport: TransportSettings,
        calls: Calls,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        callers: Callers,
        call_log: CallLog | None,
        spans: "ServedCalls | None",
        on_failure: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._spans = spans
        self._transport = transport
        self._calls = calls
        self._interceptors = interceptors
        self._call_log = call_log
        self._traffic = Traffic()
        self._arrivals = Arrivals(
            places=max(4, settings.max_bytes_in_flight // (2 * transport.max_receive_bytes)),
            timeout_s=settings.request_timeout_s,
            max_bytes=transport.max_receive_bytes,
            refuse=calls.refuse,
            traffic=self._traffic,
        )
        self._methods = self._methods_for(callers, self._certificate)
        listeners = [listener for listener in settings.listening if listener.setting != "http_listen"]
        self._shares = shares(len(listeners), settings.max_connections)
        self._front = Front(
            settings,
            transport,
            listeners,
            max_connections=self._shares.grpc,
            on_failure=on_failure,
            interceptors=self._methods.interceptors,
            reuse_port=settings.reuse_port,
            traffic=self._traffic,
        )
        self._http: CardPort | None = None
        self._private: AcceptingServer | None = None
        self.health = Admin(settings)
        """The services for operators, of which the health service says whether the server is ready."""
        self.grpc_addresses: tuple[str, ...] = ()
        """HOST:PORT of each gRPC port, in the order of `listen`."""
        self.admin_address: str | None = None
        """HOST:PORT of the port for operators; None if it is off."""
        self.http_url: str | None = None
        """The URL of HTTP, without a path; None if it is off."""

    @property
    def is_accepting(self) -> bool:
        """True while gRPC accepts calls on all ports."""
        return self._front.is_accepting

    @property
    def has_tls_files(self) -> bool:
        """True if `look_at_files` has files to look at."""
        return self._front.tls is not None

    async def look_at_files(self) -> None:
        """Read the TLS files again if they have changed."""
        await self._front.look_at_files()

    def bind(self) -> None:
        """Take the gRPC ports. Raise ListenError if one cannot be had; `close` then frees the others."""
        self._front.bind()
        self.grpc_addresses = self._front.addresses("listen")
        self.admin_address = next(iter(self._front.addresses("admin_listen")), None)

    async def listen_http(
        self,
        card: AgentCard,
        *,
        is_alive: Callable[[], bool],
        is_ready: Callable[[], Awaitable[bool]],
        jwks: bytes | None,
        scrape: Scrape | None = None,
    ) -> None:
        """Serve the card and the probes over HTTP, unless HTTP is off.

        Args:
            card: The public card.
            is_alive: Says whether the server can serve.
            is_ready: Says whether the server accepts messages.
            jwks: The public keys of push notifications; None without such keys.
            scrape: The metrics; None if they are not shown.
        """
        settings, tls = self._settings, self._front.tls
        listener = next((one for one in settings.listening if one.setting == "http_listen"), None)
        if listener is None:
            return
        from a2a_grpc.server.http import CardPort  # aiohttp takes longer to import than the rest together

        http = CardPort(
            card,
            max_age_s=settings.card_max_age_s,
            is_alive=is_alive,
            is_ready=is_ready,
            names_asked_host=settings.names_asked_host,
            jwks=jwks,
            scrape=scrape,
        )
        address = await http.start(
            listener.host,
            listener.port,
            tls=(lambda: tls.http) if tls else None,
            reuse_port=settings.reuse_port,
            limit=self._shares.http,
        )
        self._http = http
        self.http_url = f"{'https' if tls else 'http'}://{address}"

    async def serve(self, handlers: Handlers) -> Handlers:
        """Begin to accept calls on the gRPC ports. Return the handlers that they have."""
        admin_handlers = self.health.handlers()
        if self.admin_address is None:
            handlers = {**handlers, **admin_handlers}

        def methods_of(listener: Listener) -> Methods:
            if listener.setting == "admin_listen":
                return self._methods.of(admin_handlers, is_open_to_all=True)
            return self._methods.of(handlers)

        await self._front.start(methods_of)
        return handlers

    async def serve_privately(self, path: Path, handlers: Handlers, callers: Callers) -> None:
        """Serve handlers on a Unix socket as well. Its connections have no largest age: a sentinel keeps them."""
        max_metadata_bytes = self._transport.max_call_metadata_bytes + VOUCHED_BYTES
        transport = replace(
            self._transport,
            max_connection_age_s=0,
            max_connection_idle_s=0,
            max_call_metadata_bytes=max_metadata_bytes,
        )
        methods = self._methods_for(callers, _no_certificate, max_metadata_bytes)
        # There is no limit of waiting calls, since gRPC gives all connections of the socket one name.
        server = AcceptingServer(server_options(transport), methods.interceptors, traffic=self._traffic)
        server.add_insecure_port(f"unix:{path}")
        server.serve(methods.of(handlers))
        await server.start()
        self._private = server

    async def close(self) -> None:
        """End streams and further calls with UNAVAILABLE, then close the ports."""
        await self._calls.end_streams()
        await asyncio.gather(self._calls.wait(LAST_CALLS_S), self.health.end())
        await self._front.close(self._calls.unread_by)
        if self._private is not None:
            await self._private.wait_for_calls(CALLS_S)
            await self._private.stop(CLOSE_S)
        if self._http is not None:
            await self._http.stop()

    def _methods_for(
        self,
        callers: Callers,
        certificate: "Callable[[grpc.aio.ServicerContext[Any, Any]], Certificate | None]",
        max_metadata_bytes: int | None = None,
    ) -> PortMethods:
        return PortMethods(
            Authentication(
                callers, self._calls.refuse, invocation_metadata, certificate=certificate, log=self._call_log
            ),
            self._arrivals,
            self._traffic,
            max_metadata_bytes=max_metadata_bytes or self._transport.max_call_metadata_bytes,
            interceptors=self._interceptors,
            spans=self._spans,
        )

    def _certificate(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Certificate | None:
        return self._front.certificate(context)


def _no_certificate(context: "grpc.aio.ServicerContext[Any, Any]") -> None:
    return None
