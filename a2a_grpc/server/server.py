"""The server of one agent, from its start to its end."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from a2a_grpc.agent import Agent, build_card, check_agent
from a2a_grpc.arguments import checked
from a2a_grpc.auth import Authenticator
from a2a_grpc.auth.callers import Callers
from a2a_grpc.auth.described import secure
from a2a_grpc.auth.protocol import Certificate, Vouching
from a2a_grpc.auth.settings import AuthSettings
from a2a_grpc.bus import open_bus
from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.unavailable import StoreErrors
from a2a_grpc.engine import Engine, EngineSettings, PeriodicTasks
from a2a_grpc.errors import A2AError
from a2a_grpc.listening.admin import HEALTH_METHODS, Admin
from a2a_grpc.listening.descriptors import shares
from a2a_grpc.listening.front import Front
from a2a_grpc.listening.listeners import Listener
from a2a_grpc.listening.noise import QuietGrpc
from a2a_grpc.listening.port import CALLS_S, CLOSE_S
from a2a_grpc.listening.settings import check_credentials_are_encrypted
from a2a_grpc.listening.tls import LOOK_EVERY_S
from a2a_grpc.log import Log
from a2a_grpc.masking import mask_url
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.rpc import (
    AcceptingServer,
    Arrivals,
    Asking,
    Authentication,
    CallLog,
    Calls,
    Methods,
    Responses,
    TransportSettings,
    for_interceptors,
    instrumented,
    invocation_metadata,
    server_options,
)
from a2a_grpc.rpc.arrivals import Adapt
from a2a_grpc.rpc.limits import MetadataLimit
from a2a_grpc.rpc.other_versions import UNKNOWN, other_versions, refusal
from a2a_grpc.server.admission import Admission
from a2a_grpc.server.limits import check_limits_fit
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.pushing import Pushing, open_pushing, problem
from a2a_grpc.server.readiness import Readiness
from a2a_grpc.server.requests import Checks
from a2a_grpc.server.servicer import Servicer, ServicerOptions
from a2a_grpc.server.settings import RequestLimits, ServerSettings, advertised, callback_endpoint
from a2a_grpc.server.stopping import signals
from a2a_grpc.server.width import Width
from a2a_grpc.store import Coordination, Mailbox, Records, TaskStore, open_store
from a2a_grpc.store.command import db_command
from a2a_grpc.wire import AgentCard

if TYPE_CHECKING:
    from a2a_grpc.server.http import CardPort

logger = logging.getLogger("a2a_grpc.server")

UNKNOWN_METHOD = "(unknown)"
"""The name of methods that are not served, in the log."""

VOUCHED_BYTES = 33 * 1024
"""Room for what a sentinel says of a caller, besides the metadata that the caller sends."""

PUSH_ROUND_S = 0.5
"""Seconds between two looks for push notifications that are due, or that were deleted by another process."""

PUSH_LEASE_S = 0.1
"""Seconds between two checks whether this process may still deliver what it has claimed."""

LOOK_INTERVAL_S = 1.0
"""Seconds between two checks for the health service whether the server is ready."""


BUDGET_S = 20.0
"""The least time in seconds for which calls wait for a store that does not answer."""

RECONNECT_S = 10.0
"""The time in seconds in which a store that is back has to be reached again."""

FAILED_GRACE_S = 5.0
"""The time in seconds that handlers may go on in a server that failed. Meanwhile no other process takes the port."""


class ServerFailedError(RuntimeError):
    """The server failed, for example because it lost its port, and cannot serve any longer. Start another one."""


@checked()
class Server:
    """Serves one agent over gRPC, and its agent card and probes over HTTP.

    Use it as a context manager. The server listens while the block runs. When the block ends, the server drains: it
    accepts no new messages, handlers may finish within `drain_grace_s`, and streams end with UNAVAILABLE.

    A server that loses a port is neither ready nor alive, and `wait_failed` returns. The arguments `agent`,
    `settings` and `auth` are also attributes.

    Example:
        async with Server(agent) as server:
            print(server.grpc_address)
            await server.serve_forever()

    Args:
        agent: The agent to serve.
        settings: Addresses, TLS, the store and limits of calls; by default the defaults of the class. The environment
            is not read: use `serve`, or load the settings with `a2a_grpc.config.load`.
        engine: The limits and times of tasks.
        transport: The limits and times of HTTP/2 connections.
        limits: The limits of one request.
        store: Your own task store, in place of the one that `settings.store` names. The server opens and closes it.
        interceptors: Interceptors of gRPC, the outermost one first.
        auth: Authenticators, which are asked in their order. With at least one, each call needs valid credentials,
            except those of the health service.
        authorize: A function for policies of your own, which may refuse what a known caller asks for.
        callers: The limits of callers, and the logs of calls. The server does not read the credentials that they name:
            use `serve`, or give authenticators.
        push: Whether push notifications are offered, and what is sent; by default none are.
        webhooks: The settings of webhooks: which urls are allowed, for example.
        callbacks: The settings of callbacks to other agents.
        private_socket: The path of a Unix socket on which the server listens for gRPC as well, without TLS, for a
            tunnel to a sentinel. Only this user may be able to read the folder.
        private_callers: The authenticator of this socket, which comes with it. While it vouches for callers, `auth` is
            not asked there.

    Raises:
        TypeError: `agent` is not an `Agent`, another argument has a wrong type, or only one of `private_socket` and
            `private_callers` is given.
        ConfigurationError: Settings do not fit each other, or a URL names no store or bus.

    Attributes:
        card: The agent card, once the server listens.
        grpc_address: HOST:PORT where the server listens for gRPC; empty before it listens. The first one, if `listen`
            names several.
        grpc_addresses: All such addresses, in the order of `listen`.
        admin_address: HOST:PORT of the second gRPC port (`admin_listen`); None if it is off.
        http_url: The URL of the HTTP listener, without a path; None if it is off.
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
        auth: Sequence[Authenticator] = (),
        authorize: Authorize | None = None,
        callers: AuthSettings | None = None,
        push: PushSettings | None = None,
        webhooks: WebhookSettings | None = None,
        callbacks: CallbackSettings | None = None,
        private_socket: Path | None = None,
        private_callers: Vouching | None = None,
    ) -> None:
        check_agent(agent, Agent)
        if store is not None:
            _check_store(store)
        self.agent = agent
        self.settings = settings or ServerSettings()
        self._engine_settings = engine or EngineSettings()
        self._transport = transport or TransportSettings()
        self._limits = limits or RequestLimits()
        check_limits_fit(self.settings, self._engine_settings, self._transport)
        self._interceptors = instrumented(interceptors)
        self._auth_settings = callers or AuthSettings()
        self._authorize = authorize
        self._callers = Callers(
            auth,
            failures_per_minute=self._auth_settings.auth_failures_per_minute,
            calls_per_second=self._auth_settings.calls_per_second,
            calls_burst=self._auth_settings.calls_burst,
        )
        if (private_socket is None) != (private_callers is None):  # without it all callers would be one
            raise TypeError("Server(): private_socket and private_callers come together")
        self._vouching = private_callers
        self._is_vouched = private_callers is not None and private_callers.is_vouching
        if not self._is_vouched:
            _check_scopes(agent, self._callers)
        if self._callers.authenticates:
            check_credentials_are_encrypted(self.settings)
        self.auth = tuple(auth)
        self._call_log: CallLog | None = None
        self._open_to_all = set(HEALTH_METHODS)
        self.card: AgentCard
        self.grpc_address = ""
        self.grpc_addresses: tuple[str, ...] = ()
        self.admin_address: str | None = None
        self.http_url: str | None = None
        self._store = store or open_store(
            self.settings.store, budget_s=max(BUDGET_S, self._engine_settings.outage_s + RECONNECT_S)
        )
        self._store_url = "" if store else mask_url(self.settings.store)
        self._bus = open_bus(self.settings.bus, "" if store else self.settings.store)
        self._log = Log(self._store, self._bus)
        self._engine = Engine(agent, self._log, self._engine_settings)
        self._push_settings = push or PushSettings()
        self._webhook_settings = webhooks or WebhookSettings()
        self._callback_settings = callbacks or CallbackSettings()
        self._given_store = store
        self._pushing: Pushing | None = None
        if self._push_settings.push and (why := self._push_problem()):
            raise ConfigurationError(f"push notifications cannot be offered: {why}")
        self._http: CardPort | None = None
        self._periodic = PeriodicTasks()
        self._quiet = QuietGrpc()
        self._front: Front
        self._private_socket = private_socket
        self._private: AcceptingServer | None = None
        self._listeners = [listener for listener in self.settings.listening if listener.setting != "http_listen"]
        self._shares = shares(len(self._listeners), self.settings.max_connections)
        self._readiness = Readiness(self._store, lambda: self.is_ready)
        self._failure: str | None = None
        self._failed = asyncio.Event()
        self._is_serving = False
        self._stopping = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """True while no call is open. It can be read once the server listens."""
        return self._calls.is_idle

    @property
    def is_ready(self) -> bool:
        """True while the server accepts messages, as far as it knows without asking its store."""
        return (
            self._is_serving
            and self._front.is_accepting
            and not self._engine.is_draining
            and self._engine.is_healthy
            and self._bus.is_healthy
        )

    @property
    def failure(self) -> str | None:
        """The reason why the server cannot serve any longer; None while it can. A failed server cannot start again."""
        return self._failure

    async def wait_failed(self) -> str:
        """Wait until the server fails, for example because it lost a port. Return the reason.

        `stop` is no failure: after it this method goes on waiting.
        """
        await self._failed.wait()
        return self._failure or ""

    async def check_ready(self) -> bool:
        """Return True if the server accepts messages and its store answers. It asks the store once a second at most."""
        return await self._readiness.check()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store and listen. `async with` calls this.

        Raises:
            ConfigurationError: The agent has no valid card, a TLS file cannot be used, or the store cannot be used, for
                example because it keeps the tasks of another agent.
            ListenError: An address cannot be listened on, for example because the port is taken.
            StoreUnavailable: The store does not answer.
        """
        settings = self.settings
        self._build_card("-")  # raises for an agent without a valid card, before a port is bound
        self._admin = Admin(settings)
        self._front = front = Front(
            settings,
            self._transport,
            self._listeners,
            max_connections=self._shares.grpc,
            on_failure=self._fail,
            interceptors=[Asking(self._adapted), *self._interceptors] if self._interceptors else [],
            reuse_port=settings.reuse_port,
        )
        self._arrivals = Arrivals(
            places=max(4, settings.max_bytes_in_flight // (2 * self._transport.max_receive_bytes)),
            timeout_s=settings.request_timeout_s,
            refuse=self._refuse,
            traffic=front.traffic,
        )
        async with AsyncExitStack() as undo:
            undo.push_async_callback(front.close)
            front.bind()
            self.grpc_addresses = front.addresses("listen")
            self.grpc_address = self.grpc_addresses[0]
            self.admin_address = next(iter(front.addresses("admin_listen")), None)
            undo.push_async_callback(self._callers.close)
            await self._callers.open()
            if (call_log := CallLog.opened(self._auth_settings)) is not None:
                self._call_log = call_log
                undo.callback(call_log.close)
            address = advertised(settings.advertise) if settings.advertise else self.grpc_address
            self.card = self._build_card(address)
            self._authentication = self._authenticating(self._callers, front.certificate)
            undo.push_async_callback(self._store.close)
            await self._store.open()
            await self._check_owner()
            if self._push_settings.push:
                store_url = "" if self._given_store else settings.store
                self._pushing = open_pushing(
                    self._push_settings,
                    self._webhook_settings,
                    self._callback_settings,
                    store_url,
                    self._log,
                    self._engine.replica,
                )
                undo.push_async_callback(self._pushing.stop)
            methods, admin_methods = self._methods(), self._admin.handlers()
            undo.push_async_callback(self._bus.stop)
            await self._bus.start()
            await self._listen_http()  # `/readyz` answers 503 until the server is ready
            if self._http is not None:
                undo.push_async_callback(self._http.stop)
            await undo.enter_async_context(self._engine)
            self._admin.tell(True)
            if self.admin_address is None:
                methods |= admin_methods

            def methods_of(listener: Listener) -> Methods:
                is_admin = listener.setting == "admin_listen"
                return self._asked_for(admin_methods if is_admin else methods, is_admin=is_admin)

            await front.start(methods_of)
            if self._private_socket is not None:
                self._private = await self._listen_privately(self._private_socket, methods)
            undo.enter_context(self._quiet)
            undo.pop_all()
        token_keys = self._pushing.token_keys if self._pushing is not None else ()
        self.agent.callbacks.serve(callback_endpoint(self.settings, address), token_keys)
        self._is_serving = True
        if self._pushing is not None:
            self._periodic.every(PUSH_LEASE_S, "push-lease", self._pushing.sender.check_lease)
            self._periodic.every(PUSH_ROUND_S, "push", self._pushing.sender.round, self._pushing.sender.topic)
        if settings.health:
            self._periodic.every(LOOK_INTERVAL_S, "health", self._look)
        if front.tls is not None:
            self._periodic.every(LOOK_EVERY_S, "tls", front.look_at_files)

    def _build_card(self, address: str) -> AgentCard:
        """Return the card for an address, with the credentials that the server accepts."""
        card = build_card(
            self.agent, address=address, tenant=self.settings.tenant, offers_push=bool(self._push_settings.push)
        )
        auth = (self._vouching,) if self._vouching is not None and self._is_vouched else self.auth
        return secure(card, auth, {skill.id: skill.scopes for skill in self.agent.skills.values()})

    def _push_problem(self) -> str:
        """Return why push notifications cannot be offered; "" if they can."""
        store_url = "" if self._given_store else self.settings.store
        return problem(self._push_settings, store_url, self._given_store)

    async def _check_owner(self) -> None:
        """Raise ConfigurationError if the store keeps the tasks of another agent.

        This server would run the tasks of that agent, and would end those whose skills it does not know. Replicas and
        versions of one agent have one name.
        """
        name = self.agent.name
        kept = await self._store.belong_to(name)
        if kept == name:
            return
        whose = f"keeps the tasks of the agent '{kept}', and this agent is '{name}'"
        if not self._store_url:
            raise ConfigurationError(f"the given store {whose}: give each agent a store of its own")
        raise ConfigurationError(
            f"store is '{self._store_url}'; it {whose}: give each agent a store of its own (another file or database; "
            f"on PostgreSQL ?schema=NAME is enough). If '{kept}' is called '{name}' from now on, "
            f"{db_command('rename', self._store_url, name)}"
        )

    async def serve_forever(self) -> None:
        """Serve until SIGTERM or SIGINT (Ctrl-C) comes, then drain and close.

        A second such signal ends the process at once. SIGHUP is ignored. The method also returns when `stop` was
        called.

        Raises:
            ServerFailedError: The server failed and cannot serve any longer.
            RuntimeError: This is not the main thread, which alone receives signals.
        """
        with signals() as told:
            await self.serve_until(told)

    async def serve_until(
        self, told: "asyncio.Future[str]", *, draining: Callable[[str], None] = lambda signal: None
    ) -> None:
        """Serve until a signal is reported or the server is stopped, then drain and close.

        Args:
            told: A future whose result is the name of the signal.
            draining: A function that is called with the name of the signal before the server drains.

        Raises:
            ServerFailedError: The server failed and cannot serve any longer.
        """
        failing = asyncio.create_task(self.wait_failed(), name="a2a-grpc:failing")
        stopping = asyncio.create_task(self._stopping.wait(), name="a2a-grpc:stopping")
        try:
            ends: list[asyncio.Future[Any]] = [told, failing, stopping]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                await self.stop(min(self.settings.drain_grace_s, FAILED_GRACE_S))
                raise ServerFailedError(failing.result())
            if told.done():
                draining(told.result())
            await self.stop()
        finally:
            failing.cancel()
            stopping.cancel()

    async def stop(self, grace_s: float | None = None) -> None:
        """Drain and close. Leaving the `async with` block calls this.

        The server stops in this order:

        1. It is not ready any more, and accepts no new messages.
        2. Handlers finish. At the end of the grace, their tasks are left to other replicas, or end with a reason.
        3. Streams and further calls get UNAVAILABLE.
        4. The ports close.

        All this takes the grace and at most a few seconds more. A second call waits for the first one.

        Args:
            grace_s: Seconds that handlers have to finish; by default `drain_grace_s`.
        """
        if not self._is_serving:
            return
        if self._stopping.is_set():
            await self._closed.wait()
            return
        self._stopping.set()
        self.agent.callbacks.serve("")
        try:
            await self._close(grace_s)
        finally:
            self._closed.set()

    async def _close(self, grace_s: float | None) -> None:
        await self._periodic.stop()
        await self._readiness.stop()
        self._admin.leave()
        grace_s = self.settings.drain_grace_s if grace_s is None else grace_s
        stop_pushing = self._pushing.stop if self._pushing is not None else None
        is_stored = await self._engine.drain(grace_s, before_leaving=stop_pushing)
        self._log.close()
        if not is_stored:  # first, so that what waits for the store ends
            await asyncio.gather(self._bus.stop(), self._store.close())
        await self._calls.end_streams()
        await asyncio.gather(self._calls.wait(1.0), self._admin.end())
        await self._front.close(self._calls.unread_by)
        if self._private is not None:
            await self._private.wait_for_calls(CALLS_S)
            await self._private.stop(CLOSE_S)
        if self._http is not None:
            await self._http.stop()
        await self._callers.close()
        if self._call_log is not None:
            self._call_log.close()
        if is_stored:
            await self._bus.stop()
            await self._store.close()
        self._quiet.__exit__(None, None, None)

    def _fail(self, reason: str) -> None:
        """Record that the server cannot serve any longer, and why."""
        if self._failure is None:
            logger.error("the server failed: %s", reason)
            self._failure = reason
            self._failed.set()
            self._admin.tell(False)

    async def _look(self) -> None:
        """Give the health service the answer that `/readyz` has."""
        self._admin.tell(await self.check_ready())

    def _methods(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of the agent's service, and of the services of other versions, which are refused."""
        settings = self.settings
        self._calls = Calls(
            max_calls=settings.max_calls,
            max_streams=settings.max_streams,
            max_bytes=settings.max_bytes_in_flight,
            responses=Responses(max_bytes=settings.max_response_bytes_in_flight, unread_s=settings.unread_response_s),
            translate=StoreErrors().translate,
        )
        options = ServicerOptions(
            cancel_on_disconnect=settings.cancel_on_disconnect,
            max_send_bytes=self._transport.max_send_bytes,
            names_asked_host=settings.names_asked_host,
            authorize=self._authorize,
        )
        checks, pace = Checks(self.card, self._limits), Pace()
        admission = Admission(
            self.card,
            checks,
            Width(self._limits),
            pace,
            lenient_version=settings.lenient_version,
            only_tenant=settings.tenant if settings.only_tenant else None,
        )
        configs = self._pushing.configs if self._pushing is not None else None
        servicer = Servicer(self.agent, self._engine, self.card, admission, checks, pace, self._calls, options, configs)
        return {**servicer.handlers(), **other_versions()}

    async def _refuse(self, context: Any, error: A2AError) -> None:
        await self._calls.refuse(context, error)

    def _authenticating(self, callers: Callers, certificate: Callable[[Any], Certificate | None]) -> Authentication:
        return Authentication(callers, self._refuse, invocation_metadata, certificate=certificate, log=self._call_log)

    def _asked_for(
        self,
        handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]",
        *,
        is_admin: bool = False,
        adapt: "Adapt | None" = None,
        more_bytes: int = 0,
    ) -> Methods:
        """Return the methods of a port. The caller has to be known, except on the port for operators.

        With interceptors, `Asking` adapts the handlers instead: interceptors see handlers of requests, and can await or
        iterate streams.
        """
        if is_admin:
            self._open_to_all |= handlers.keys()
        adapt = _for_interceptors if self._interceptors else adapt or self._adapted
        handlers = {name: adapt(name, handler) for name, handler in handlers.items()}
        limit = MetadataLimit(self._transport.max_call_metadata_bytes + more_bytes, self._front.traffic)
        limit.refusal = adapt(UNKNOWN_METHOD, limit.refusal)
        return Methods(handlers, adapt(UNKNOWN_METHOD, refusal(UNKNOWN)), limit)

    def _adapted(self, method: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
        return self._authenticated(self._authentication, method, handler)

    def _authenticated(
        self, authentication: Authentication, method: str, handler: "grpc.RpcMethodHandler[Any, Any]"
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return a handler that finds out who calls, and reads the request when there is room for it."""
        handler = self._arrivals.asked_for(handler)
        if method in self._open_to_all or not authentication.is_needed:
            return handler
        return authentication.guarded(method, handler)

    async def _listen_privately(
        self, path: Path, handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> AcceptingServer:
        """Serve methods on a Unix socket as well. Its connections have no largest age: a sentinel keeps them."""
        callers = self._callers.after(self._vouching) if self._vouching else self._callers
        adapt = partial(self._authenticated, self._authenticating(callers, _no_certificate))
        transport = replace(
            self._transport,
            max_connection_age_s=0,
            max_connection_idle_s=0,
            max_call_metadata_bytes=self._transport.max_call_metadata_bytes + VOUCHED_BYTES,
        )
        server = AcceptingServer(
            server_options(transport),
            [Asking(adapt), *self._interceptors] if self._interceptors else [],
            traffic=self._front.traffic,  # without a limit of waiting calls, since gRPC gives all connections one name
        )
        server.add_insecure_port(f"unix:{path}")
        server.serve(self._asked_for(handlers, adapt=adapt, more_bytes=VOUCHED_BYTES))
        await server.start()
        return server

    async def _listen_http(self) -> None:
        settings, tls = self.settings, self._front.tls
        listener = next((one for one in settings.listening if one.setting == "http_listen"), None)
        if listener is None:
            return
        from a2a_grpc.server.http import CardPort  # aiohttp takes longer to import than the rest together

        http = CardPort(
            self.card,
            max_age_s=settings.card_max_age_s,
            is_alive=lambda: self._failure is None,
            is_ready=self.check_ready,
            names_asked_host=settings.names_asked_host,
            jwks=self._pushing.jwks if self._pushing is not None else None,
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


def _no_certificate(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    return None


def _for_interceptors(method: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    return for_interceptors(handler)


def _check_store(store: object) -> None:
    """Raise TypeError for an object that lacks a method of a store."""
    kind = type(store).__name__
    if not _has_methods(store, Records):
        raise TypeError(f"Server(): store is of type {kind}; it must be a TaskStore")
    if not (_has_methods(store, Coordination) and _has_methods(store, Mailbox)):
        raise TypeError(f"Server(): store is of type {kind}, which only keeps tasks; give OneServer(store)")


def _has_methods(store: object, part: type) -> bool:
    return all(hasattr(store, name) for name in vars(part) if not name.startswith("_"))


def _check_scopes(agent: Agent, callers: Callers) -> None:
    """Raise ConfigurationError if a skill needs scopes that no caller can have."""
    for skill in agent.skills.values():
        if skill.scopes and not callers.authenticates:
            raise ConfigurationError(
                f"the skill '{skill.id}' needs the scope {', '.join(map(repr, skill.scopes))}, but the server does not "
                "authenticate its callers; give --auth, --api-keys or --jwt-issuer, or Server(…, auth=[…])"
            )
