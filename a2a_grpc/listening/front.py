"""Bind and serve the gRPC ports of a program, with one set of certificates and one guard against floods."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import grpc.aio

from a2a_grpc.auth.certificates import certificate_of, check_installed
from a2a_grpc.auth.protocol import Certificate
from a2a_grpc.listening.connections import can_look
from a2a_grpc.listening.debt import Allowance
from a2a_grpc.listening.guard import Guard
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.port import GrpcPort
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.listening.tls import TlsFiles
from a2a_grpc.rpc import Methods, TransportSettings, server_options
from a2a_grpc.rpc.accept import accepts_any_path
from a2a_grpc.rpc.traffic import Traffic


class Front:
    """The gRPC ports of one program.

    Guarantees:

    - Each port has the guarantees of `GrpcPort`, and its connections those of `Guard` if `end_floods` is set.
    - The TLS files are those that `TlsFiles` has found good last, once `look_at_files` is called from time to time.
    - After `close` nothing of the ports is left.

    Args:
        settings: Certificates, and whether floods are ended.
        transport: The limits and times of connections.
        listeners: The addresses.
        max_connections: The number of connections that each port may have.
        on_failure: Called with the reason if a port is lost for good.
        on_bound_again: Called when a port was lost and is served again. The calls that were open go on for ten minutes.
        interceptors: Interceptors of gRPC, the outermost one first.
        reuse_port: True if other processes share the ports.
        traffic: The bytes of each connection that its calls explain; by default new accounts.

    Raises:
        ConfigurationError: A TLS file cannot be used.
    """

    def __init__(
        self,
        settings: ListenSettings,
        transport: TransportSettings,
        listeners: Sequence[Listener],
        *,
        max_connections: int,
        on_failure: Callable[[str], None],
        on_bound_again: Callable[[], None] = lambda: None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        reuse_port: bool = False,
        traffic: Traffic | None = None,
    ) -> None:
        self._settings = settings
        self._transport = transport
        self._listeners = listeners
        self._max_connections = max_connections
        self._on_failure = on_failure
        self._on_bound_again = on_bound_again
        self._interceptors = interceptors
        self._reuse_port = reuse_port
        # Only the accept loop of this package knows which bytes of a connection belong to calls.
        self._is_guarded = settings.end_floods and accepts_any_path() and can_look()
        self._guard: Guard | None = None
        self._ports: list[GrpcPort] = []
        self.traffic = traffic or Traffic()
        """The bytes of each connection that its calls explain."""
        self.tls = TlsFiles(settings) if settings.tls_cert else None
        """The certificates; None without TLS."""
        if settings.tls_client_ca:
            check_installed()

    @property
    def is_accepting(self) -> bool:
        """True while gRPC accepts calls on all ports."""
        return all(port.is_accepting for port in self._ports)

    @property
    def is_guarded(self) -> bool:
        """True if connections that flood are ended."""
        return self._is_guarded

    def certificate(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Certificate | None:
        """Return the client certificate of a call's connection; None if there is none, or if none are asked for."""
        return certificate_of(context.auth_context()) if self._settings.tls_client_ca else None

    def addresses(self, setting: str) -> tuple[str, ...]:
        """Return the HOST:PORT of each port of a setting, once they are bound."""
        pairs = zip(self._listeners, self._ports, strict=True)
        return tuple(port.address for listener, port in pairs if listener.setting == setting)

    def bind(self) -> None:
        """Take all ports. Raise ListenError if one cannot be had; `close` then frees the others."""
        for listener in self._listeners:
            port = self._port(listener)
            port.bind()
            self._ports.append(port)

    async def start(self, methods: Callable[[Listener], Methods]) -> None:
        """Begin to accept calls.

        Args:
            methods: Returns the methods of a port.
        """
        for listener, port in zip(self._listeners, self._ports, strict=True):
            await port.start(methods(listener))
        if self._is_guarded:
            transport = self._transport
            allowance = Allowance(
                request_bytes=transport.max_receive_bytes,
                metadata_bytes=transport.max_call_metadata_bytes,
                streams=transport.max_streams_per_connection,
            )
            buffer_bytes = transport.socket_buffer_bytes
            self._guard = Guard(self._ports, self.traffic, allowance=allowance, buffer_bytes=buffer_bytes)
            self._guard.start()

    async def look_at_files(self) -> None:
        """Read the TLS files again if they have changed."""
        if self.tls is not None:
            await self.tls.look()

    async def close(self, unread_by: Collection[str] = ()) -> None:
        """Close the ports, see `GrpcPort.close`."""
        if self._guard is not None:
            self._guard.stop()
        await asyncio.gather(*(port.close(unread_by) for port in self._ports))

    def _port(self, listener: Listener) -> GrpcPort:
        settings = self._settings
        return GrpcPort(
            listener.host,
            listener.port,
            setting=listener.setting,
            options=[
                *server_options(
                    self._transport,
                    reuse_port=self._reuse_port,
                    channelz=settings.channelz,
                    is_guarded=self._is_guarded,
                ),
                # More connections would take the file descriptors that other parts of the program need.
                ("grpc.max_allowed_incoming_connections", self._max_connections),
            ],
            credentials=partial(self.tls.credentials, mutual=listener.is_mutual) if self.tls else None,
            interceptors=self._interceptors,
            shared=self._reuse_port,
            on_failure=self._on_failure,
            on_bound_again=self._on_bound_again,
            traffic=self.traffic,
            max_streams=self._transport.max_streams_per_connection,
        )
