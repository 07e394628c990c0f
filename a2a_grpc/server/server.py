"""The server of one agent, from its start to its end."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc.aio

from a2a_grpc.agent import Agent
from a2a_grpc.arguments import checked
from a2a_grpc.auth import Authenticator
from a2a_grpc.auth.protocol import Vouching
from a2a_grpc.auth.settings import AuthSettings
from a2a_grpc.engine import EngineSettings, Stats
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.push.offered import PushSettings
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.server.plan import Plan
from a2a_grpc.server.policy import Authorize
from a2a_grpc.server.running import Running
from a2a_grpc.server.settings import RequestLimits, ServerSettings
from a2a_grpc.server.stopping import signals
from a2a_grpc.store import TaskStore
from a2a_grpc.wire import AgentCard

logger = logging.getLogger("a2a_grpc.server")

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
        self._plan = Plan(
            agent=agent,
            settings=settings or ServerSettings(),
            engine=engine or EngineSettings(),
            transport=transport or TransportSettings(),
            limits=limits or RequestLimits(),
            store=store,
            interceptors=interceptors,
            auth=tuple(auth),
            authorize=authorize,
            auth_settings=callers or AuthSettings(),
            push=push or PushSettings(),
            webhooks=webhooks or WebhookSettings(),
            callbacks=callbacks or CallbackSettings(),
            private_socket=private_socket,
            private_callers=private_callers,
        )
        self.agent = agent
        self.settings = self._plan.settings
        self.auth = self._plan.auth
        self.grpc_address = ""
        self.grpc_addresses: tuple[str, ...] = ()
        self.admin_address: str | None = None
        self.http_url: str | None = None
        self._running = Running(self._plan)
        self._failure: str | None = None
        self._failed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def card(self) -> AgentCard:
        """The agent card, once the server listens."""
        return self._running.card

    @property
    def is_idle(self) -> bool:
        """True while no call is open. It can be read once the server listens."""
        return self._running.calls.is_idle

    @property
    def is_ready(self) -> bool:
        """True while the server accepts messages, as far as it knows without asking its store."""
        return self._running.is_ready

    @property
    def failure(self) -> str | None:
        """The reason why the server cannot serve any longer; None while it can. A failed server cannot start again."""
        return self._failure

    def stats(self) -> Stats:
        """Return what the server is doing now: the tasks at work, and the numbers of runs, messages and followers."""
        return self._running.engine.stats()

    async def wait_failed(self) -> str:
        """Wait until the server fails, for example because it lost a port. Return the reason.

        `stop` is no failure: after it this method goes on waiting.
        """
        await self._failed.wait()
        return self._failure or ""

    async def check_ready(self) -> bool:
        """Return True if the server accepts messages and its store answers. It asks the store once a second at most."""
        return await self._running.readiness.check()

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
        await self._running.open(on_failure=self._fail, is_alive=lambda: self._failure is None)
        ports = self._running.ports
        self.grpc_addresses, self.grpc_address = ports.grpc_addresses, ports.grpc_addresses[0]
        self.admin_address, self.http_url = ports.admin_address, ports.http_url

    async def serve_forever(self) -> None:
        """Serve until SIGTERM or SIGINT (Ctrl-C) comes, then drain and close.

        A second such signal ends the process at once. SIGHUP is ignored. The method also returns when `stop` was
        called.

        Raises:
            ServerFailedError: The server failed and cannot serve any longer.
            RuntimeError: This is not the main thread, which alone receives signals.
        """
        with signals() as signaled:
            await self.serve_until(signaled)

    async def serve_until(
        self, signaled: "asyncio.Future[str]", *, draining: Callable[[str], None] = lambda signal: None
    ) -> None:
        """Serve until a signal is reported or the server is stopped, then drain and close.

        Args:
            signaled: A future whose result is the name of the signal.
            draining: A function that is called with the name of the signal before the server drains.

        Raises:
            ServerFailedError: The server failed and cannot serve any longer.
        """
        failing = asyncio.create_task(self.wait_failed(), name="a2a-grpc:failing")
        stopping = asyncio.create_task(self._stopping.wait(), name="a2a-grpc:stopping")
        try:
            ends: list[asyncio.Future[Any]] = [signaled, failing, stopping]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                await self.stop(min(self.settings.drain_grace_s, FAILED_GRACE_S))
                raise ServerFailedError(failing.result())
            if signaled.done():
                draining(signaled.result())
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
        if not self._running.is_open:
            return
        if self._stopping.is_set():
            await self._closed.wait()
            return
        self._stopping.set()
        try:
            await self._running.close(self.settings.drain_grace_s if grace_s is None else grace_s)
        finally:
            self._closed.set()

    def _fail(self, reason: str) -> None:
        """Record that the server cannot serve any longer, and why."""
        if self._failure is None:
            logger.error("the server failed reason=%s", reason)
            self._failure = reason
            self._failed.set()
            self._running.ports.health.set_ready(False)
