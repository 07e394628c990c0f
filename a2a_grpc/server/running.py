"""The parts of a server, which are opened at its start and closed at its end."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from a2a_grpc.bus import open_bus
from a2a_grpc.engine import Engine, PeriodicTasks
from a2a_grpc.listening.noise import QuietGrpc
from a2a_grpc.log import Log
from a2a_grpc.rpc import CallLog, Calls, instrumented
from a2a_grpc.server.handlers import Handlers, calls_of, rpc_handlers
from a2a_grpc.server.plan import Plan
from a2a_grpc.server.ports import Ports
from a2a_grpc.server.preconditions import check_owner
from a2a_grpc.server.pushing import Pushing, open_pushing
from a2a_grpc.server.readiness import Readiness
from a2a_grpc.server.settings import advertised, callback_endpoint
from a2a_grpc.server.telemetry import ServerTelemetry
from a2a_grpc.store import open_store
from a2a_grpc.watched import LOOK_EVERY_S
from a2a_grpc.wire import AgentCard

LOOK_INTERVAL_S = 1.0
"""Seconds between two checks for the health service whether the server is ready."""

BUDGET_S = 20.0
"""The least time in seconds for which calls wait for a store that does not answer."""

RECONNECT_S = 10.0
"""The time in seconds in which a store that is back has to be reached again."""


class Running:
    """The store, the bus, the engine, the ports and the background work of one server.

    Guarantees:

    - A start that fails leaves nothing open.
    - Messages are accepted only after everything else is open, and handlers finish before anything else closes.

    Args:
        plan: The parts and the settings of the server.

    Raises:
        ConfigurationError: A URL names no store or bus.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.store = plan.store or open_store(
            plan.settings.store, budget_s=max(BUDGET_S, plan.engine.outage_s + RECONNECT_S)
        )
        self.log = Log(self.store, open_bus(plan.settings.bus, plan.database_url))
        self._telemetry = ServerTelemetry(plan.agent, serves_metrics=plan.settings.metrics)
        self.engine = Engine(plan.agent, self.log, plan.engine, self._telemetry.runs)
        self._interceptors = instrumented(plan.interceptors, is_traced=self._telemetry.is_traced)
        self._call_log: CallLog | None = None
        self._periodic = PeriodicTasks()
        self._quiet = QuietGrpc()
        self.readiness = Readiness(self.store, lambda: self.is_ready)
        self.is_open = False
        """True once `open` has succeeded."""
        self.pushing: Pushing | None = None
        """The parts that send push notifications; None if they are not offered."""
        self.calls: Calls
        """The open calls, once `open` was called, as are the ports and the card."""
        self.ports: Ports
        self.card: AgentCard

    @property
    def is_ready(self) -> bool:
        """True while messages are accepted, as far as this is known without asking the store."""
        return (
            self.is_open
            and self.ports.is_accepting
            and not self.engine.is_draining
            and self.engine.is_healthy
            and self.log.bus.is_healthy
        )

    async def open(self, *, on_failure: Callable[[str], None], is_alive: Callable[[], bool]) -> None:
        """Open the store and listen, and begin the background work.

        Args:
            on_failure: Called with the reason if a port is lost for good.
            is_alive: Says whether the server can serve, for `/livez`.

        Raises:
            ConfigurationError: The agent has no valid card, a file cannot be used, or the store cannot be used.
            ListenError: An address cannot be listened on.
            StoreUnavailable: The store does not answer.
        """
        plan, settings = self._plan, self._plan.settings
        async with AsyncExitStack() as undo:
            undo.callback(self._telemetry.close)
            plan.card("-")  # raises for an agent without a valid card, before a port is bound
            self.calls = calls_of(settings)
            if (call_log := CallLog.opened(plan.auth_settings)) is not None:
                self._call_log = call_log
                undo.callback(call_log.close)
            self.ports = ports = Ports(
                settings,
                plan.transport,
                self.calls,
                interceptors=self._interceptors,
                callers=plan.callers,
                call_log=self._call_log,
                spans=self._telemetry.calls,
                on_failure=on_failure,
            )
            undo.push_async_callback(ports.close)
            ports.bind()
            undo.push_async_callback(plan.callers.close)
            await plan.callers.open()
            address = advertised(settings.advertise) if settings.advertise else ports.grpc_addresses[0]
            self.card = plan.card(address)
            undo.push_async_callback(self.store.close)
            await self.store.open()
            await check_owner(self.store, plan.agent.name, plan.shown_store)
            if plan.push.push:
                self.pushing = open_pushing(
                    *(plan.push, plan.webhooks, plan.callbacks, plan.database_url),
                    self.log,
                    self.engine.replica,
                    self._telemetry.deliveries,
                )
                undo.push_async_callback(self.pushing.stop)
            handlers = self._handlers()
            sender = self.pushing.sender if self.pushing is not None else None
            self._telemetry.watch(self.calls, plan.callers, self.engine, self.log, sender)
            undo.push_async_callback(self.log.bus.stop)
            await self.log.bus.start()
            jwks = self.pushing.jwks if self.pushing is not None else None
            # `/readyz` answers 503 until the server is ready.
            await ports.listen_http(
                self.card, is_alive=is_alive, is_ready=self.readiness.check, jwks=jwks, scrape=self._telemetry.scrape
            )
            await undo.enter_async_context(self.engine)
            ports.health.set_ready(True)
            served = await ports.serve(handlers)
            if plan.private_socket is not None:
                callers = plan.callers.after(plan.private_callers) if plan.private_callers else plan.callers
                await ports.serve_privately(plan.private_socket, served, callers)
            undo.enter_context(self._quiet)
            undo.pop_all()
        token_keys = self.pushing.token_keys if self.pushing is not None else ()
        plan.agent.callbacks.serve(callback_endpoint(settings, address), token_keys)
        self.is_open = True
        self._begin_periodic()

    def _begin_periodic(self) -> None:
        if self.pushing is not None:
            self.pushing.start(self._periodic)
        if self._plan.settings.health:
            self._periodic.every(LOOK_INTERVAL_S, "health", self._look)
        if self.ports.has_tls_files:
            self._periodic.every(LOOK_EVERY_S, "tls", self.ports.look_at_files)

    async def close(self, grace_s: float) -> None:
        """Let handlers finish for `grace_s` seconds, then close everything."""
        self._plan.agent.callbacks.serve("")
        await self._periodic.stop()
        await self.readiness.stop()
        self.ports.health.leave()
        stop_pushing = self.pushing.stop if self.pushing is not None else None
        is_stored = await self.engine.drain(grace_s, before_leaving=stop_pushing)
        self.log.close()
        if not is_stored:  # first, so that what waits for the store ends
            await asyncio.gather(self.log.bus.stop(), self.store.close())
        await self.ports.close()
        await self._plan.callers.close()
        if self._call_log is not None:
            self._call_log.close()
        if is_stored:
            await self.log.bus.stop()
            await self.store.close()
        self._telemetry.close()
        self._quiet.__exit__(None, None, None)

    async def _look(self) -> None:
        """Give the health service the answer that `/readyz` has."""
        self.ports.health.set_ready(await self.readiness.check())

    def _handlers(self) -> Handlers:
        plan = self._plan
        return rpc_handlers(
            plan.agent,
            self.engine,
            self.card,
            self.calls,
            plan.settings,
            plan.transport,
            plan.limits,
            authorize=plan.authorize,
            configs=self.pushing.configs if self.pushing is not None else None,
        )
