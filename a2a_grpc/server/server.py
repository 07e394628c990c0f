"""A server: one agent on its ports, put together here, from start to drain."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from a2a_grpc.address import join_address, split_address
from a2a_grpc.agent import Agent, build_card
from a2a_grpc.bus import open_bus
from a2a_grpc.config import ConfigurationError
from a2a_grpc.engine import Engine, EngineSettings, Upkeep
from a2a_grpc.log import Log
from a2a_grpc.rpc import Calls, TransportSettings, server_options
from a2a_grpc.rpc.elsewhere import OtherVersions
from a2a_grpc.server.admin import Admin
from a2a_grpc.server.gate import Gate
from a2a_grpc.server.limits import check_limits_fit
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.ports import cannot_listen, check_free
from a2a_grpc.server.requests import Checks, RequestLimits
from a2a_grpc.server.servicer import Servicer, ServicerOptions
from a2a_grpc.server.settings import OFF, ServerSettings, advertised
from a2a_grpc.server.width import Width
from a2a_grpc.store import StoreUnavailable, TaskStore, open_store
from a2a_grpc.wire import AgentCard

if TYPE_CHECKING:
    from a2a_grpc.server.http import HttpListener

LOOK_INTERVAL_S = 1.0
"""Between two looks whether the server is ready, for the health service."""
STORE_ANSWERS_WITHIN_S = 1.0
"""A store that takes longer makes the server not ready."""


class Server:
    """Serves one agent over gRPC, its card and probes over HTTP.

    `async with Server(agent) as server:` listens from the first line of the block on; `grpc_address` and `http_url`
    tell where. Leaving the block drains: no new work, runs may finish within the grace, streams end with UNAVAILABLE.

    A `store` of one's own takes the place of the one that the settings name; the server opens and closes it.
    """

    def __init__(
        self,
        agent: Agent,
        settings: ServerSettings | None = None,
        *,
        engine: EngineSettings | None = None,
        transport: TransportSettings | None = None,
        limits: RequestLimits | None = None,
        store: TaskStore | None = None,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    ) -> None:
        self.agent = agent
        self.settings = settings or ServerSettings()
        self._engine_settings = engine or EngineSettings()
        self._transport = transport or TransportSettings()
        self._limits = limits or RequestLimits()
        check_limits_fit(self.settings, self._engine_settings, self._transport)
        self._interceptors = interceptors
        self.card: AgentCard
        self.grpc_address = ""
        self.admin_address: str | None = None
        self.http_url: str | None = None
        self._store = store or open_store(self.settings.store)
        self._bus = open_bus(self.settings.bus, "" if store else self.settings.store)
        self._log = Log(self._store, self._bus)
        self._engine = Engine(agent, self._log, self._engine_settings)
        self._http: HttpListener | None = None
        self._upkeep = Upkeep()
        self._is_serving = False
        self._stopped = False

    @property
    def is_ready(self) -> bool:
        """Whether the server takes work, as far as it knows without asking."""
        return self._is_serving and not self._engine.is_draining and self._engine.is_healthy and self._bus.is_healthy

    async def check_ready(self) -> bool:
        """Whether the server takes work and its store takes what comes of it; asks the store."""
        if not self.is_ready:
            return False
        try:
            async with asyncio.timeout(STORE_ANSWERS_WITHIN_S):
                await self._store.ping()
        except (TimeoutError, StoreUnavailable):
            return False
        return True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Opens the store, listens on both ports. Raises ConfigurationError for an agent, files or a store that cannot
        be served, ListenError for a port that is taken, StoreUnavailable."""
        settings = self.settings
        build_card(self.agent, address="-")  # an agent that has no valid card fails before a port is bound
        self._admin = Admin(settings)
        credentials, tls = self._credentials()
        async with AsyncExitStack() as undo:
            self._grpc, self.grpc_address = await self._bind(undo, "listen", credentials)
            self._admin_grpc = None
            if settings.admin_listen != OFF:
                self._admin_grpc, self.admin_address = await self._bind(undo, "admin_listen", credentials)
            address = advertised(settings.advertise) if settings.advertise else self.grpc_address
            self.card = build_card(self.agent, address=address, tenant=settings.tenant)
            self._register()
            undo.push_async_callback(self._store.close)
            await self._store.open()
            undo.push_async_callback(self._bus.stop)
            await self._bus.start()
            await self._listen_http(tls)  # `/readyz` says 503 until all is there
            if self._http is not None:
                undo.push_async_callback(self._http.stop)
            await undo.enter_async_context(self._engine)
            await self._admin.tell(True)
            await self._grpc.start()
            if self._admin_grpc is not None:
                await self._admin_grpc.start()
            undo.pop_all()
        self._is_serving = True
        if settings.health:
            self._upkeep.every(LOOK_INTERVAL_S, "health", self._look)

    async def stop(self, grace_s: float | None = None) -> None:
        """Drains and closes. Bounded: by the grace (default: `drain_grace_s`), then by seconds.

        The order: not ready any more, no new messages, runs finish or are failed with the reason, streams end, ports
        close.
        """
        if not self._is_serving or self._stopped:
            return
        self._stopped = True
        await self._upkeep.stop()
        await self._admin.leave()
        await self._engine.drain(self.settings.drain_grace_s if grace_s is None else grace_s)
        self._log.close()
        await self._calls.end_streams()
        await self._grpc.stop(1.0)
        await self._calls.wait(1.0)
        if self._admin_grpc is not None:
            await self._admin_grpc.stop(1.0)
        if self._http is not None:
            await self._http.stop()
        await self._bus.stop()
        await self._store.close()

    async def _look(self) -> None:
        """Tells the health service what `/readyz` would."""
        await self._admin.tell(await self.check_ready())

    async def _bind(
        self, undo: AsyncExitStack, name: str, credentials: grpc.ServerCredentials | None
    ) -> tuple[grpc.aio.Server, str]:
        """A gRPC server that has the port that a setting names, with its address; it does not listen yet."""
        settings = self.settings
        options = server_options(self._transport, reuse_port=settings.reuse_port, channelz=settings.channelz)
        server = grpc.aio.server(options=options, interceptors=list(self._interceptors))
        host, port = split_address(name, getattr(settings, name))
        address = join_address(host, port)
        try:
            if port and not settings.reuse_port:
                check_free(host, port, "gRPC")  # gRPC tells that it could not, but not why
            port = (
                server.add_insecure_port(address)
                if credentials is None
                else server.add_secure_port(address, credentials)
            )
        except RuntimeError as error:
            raise cannot_listen(host, port, "gRPC", error) from error
        undo.push_async_callback(_free_port, server)
        return server, join_address(host, port)

    def _register(self) -> None:
        settings = self.settings
        self._calls = Calls(
            max_calls=settings.max_calls,
            max_streams=settings.max_streams,
            max_bytes=settings.max_bytes_in_flight,
        )
        options = ServicerOptions(
            cancel_on_disconnect=settings.cancel_on_disconnect,
            max_send_bytes=self._transport.max_send_bytes,
        )
        checks, pace = Checks(self.card, self._limits), Pace()
        gate = Gate(
            self.card,
            checks,
            Width(self._limits),
            pace,
            lenient_version=settings.lenient_version,
            only_tenant=settings.tenant if settings.only_tenant else None,
        )
        servicer = Servicer(self.agent, self._engine, self.card, gate, checks, pace, self._calls, options)
        self._grpc.add_generic_rpc_handlers((servicer.handlers(), OtherVersions()))
        self._admin.register(self._admin_grpc or self._grpc)

    async def _listen_http(self, tls: ssl.SSLContext | None) -> None:
        settings = self.settings
        if settings.http_listen == OFF:
            return
        from a2a_grpc.server.http import HttpListener  # aiohttp takes longer to import than the rest together

        host, port = split_address("http_listen", settings.http_listen)
        listener = HttpListener(self.card, max_age_s=settings.card_max_age_s, is_ready=self.check_ready)
        try:
            port = await listener.start(host, port, tls=tls, reuse_port=settings.reuse_port)
        except OSError as error:
            await listener.stop()
            raise cannot_listen(host, port, "HTTP", error) from error
        self._http = listener
        self.http_url = f"{'https' if tls else 'http'}://{join_address(host, port)}"

    def _credentials(self) -> tuple[grpc.ServerCredentials | None, ssl.SSLContext | None]:
        settings = self.settings
        if not settings.tls_cert or not settings.tls_key:
            return None, None
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            certificate, key = Path(settings.tls_cert).read_bytes(), Path(settings.tls_key).read_bytes()
            tls.load_cert_chain(settings.tls_cert, settings.tls_key)
        except OSError as error:  # ssl.SSLError is one
            what = error.filename or f"{settings.tls_cert} with {settings.tls_key}"
            raise ConfigurationError(f"tls_cert, tls_key: {what}: {error.strerror or error.reason}") from error  # type: ignore[attr-defined]
        return grpc.ssl_server_credentials([(key, certificate)]), tls


async def _free_port(server: grpc.aio.Server) -> None:
    await server.start()  # stopping one that never started would keep its port
    await server.stop(None)
