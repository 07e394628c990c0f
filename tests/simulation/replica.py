"""An engine as a process: called from outside, paused, cut off, crashed, drained."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from a2a_grpc import Turn
from a2a_grpc.engine import Engine, EngineSettings
from a2a_grpc.engine.background import PeriodicTasks
from a2a_grpc.log import Log
from a2a_grpc.push.configs import Configs
from a2a_grpc.push.sender import Sender
from a2a_grpc.push.vault import Vault
from a2a_grpc.server.pushing import ROUND_S
from tests.simulation.bus import Air, LossyBus
from tests.simulation.deliveries import SimulatedDestination
from tests.simulation.faults import Faults
from tests.simulation.history import History, Step, Trouble
from tests.simulation.loop import GATE, Gate, SimulatedLoop
from tests.simulation.player import make_agent
from tests.simulation.store import FaultyStore

T = TypeVar("T")

MAX_CONFIGS = 1000
"""Push configs of a task."""


class Gone(Exception):
    """The process that was called is not there, or not any more."""


class SimulatedReplica:
    """One process with its engine. All that it does runs behind its gate."""

    def __init__(
        self,
        name: str,
        loop: SimulatedLoop,
        store: FaultyStore,
        air: Air,
        history: History,
        settings: EngineSettings,
        number: Callable[[], int],
        faults: Faults,
    ) -> None:
        self.name = name
        self.gate = Gate()
        self.view = store.view(name)
        self.is_up = False
        self._loop = loop
        self._air = air
        self._history = history
        self._context = contextvars.copy_context()
        self._context.run(GATE.set, self.gate)
        self.bus = LossyBus(air, self._context)
        self._remains: list[asyncio.Task[Any]] = []
        self.gone: asyncio.Future[None] = loop.create_future()
        agent = make_agent(resumable=history.is_resumable, note=self._note, number=number)
        log = Log(self.view.as_store(), self.bus)
        self.engine = Engine(agent, log, settings)
        self._destination = SimulatedDestination(name, loop, faults, history)
        outbox, vault = self.view.as_outbox(), Vault([bytes(32)])
        self.sender = Sender(log, outbox, vault, self._destination, self.engine.replica, sends_all=history.sends_all)
        self.sender._random = faults.random
        self.configs = Configs(outbox, vault, self._destination, self.sender, MAX_CONFIGS)
        self._periodic = PeriodicTasks()

    def _note(self, run: int, turn: Turn, note: str) -> None:
        assert turn.task is not None
        at, opened_by = self._loop.time(), turn.message.message_id
        self._history.steps.append(Step(at, self.name, turn.task.id, run, opened_by, turn.attempt, note))

    def spawn(self, work: Any, name: str) -> "asyncio.Task[Any]":
        """A task of this process."""
        return self._loop.create_task(work, name=name, context=self._context)

    async def start(self) -> None:
        """Raises StoreUnavailable, Gone."""
        self._air.buses.append(self.bus)
        try:
            await self.call(self._serve, "start")
        except BaseException:
            self.crash()
            raise
        self.is_up = True

    async def _serve(self) -> None:
        await self.engine.__aenter__()
        self._periodic.every(ROUND_S, "push", self.sender.round, self.sender.topic)

    async def shut(self, grace_s: float) -> None:
        """End as a server does."""
        await self._periodic.stop()
        await self.engine.drain(grace_s, before_leaving=lambda: self.sender.stop(grace_s))
        self.engine.log.close()

    async def call(
        self, ask: Callable[[], Awaitable[T]], what: str, patience_s: float | None = None, *, is_cut: bool = True
    ) -> T:
        """What the process answers. Raises what it raises; Gone, TimeoutError. A caller that goes away cancels what it
        asked for."""

        async def answered() -> T:
            return await ask()

        if self.gate.is_dead:
            raise Gone(self.name)
        task = self.spawn(answered(), f"call:{what}:{self.name}")
        try:
            await asyncio.wait([task, self.gone], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done() and is_cut:
                task.cancel()
        if task.done():
            return task.result()  # type: ignore[no-any-return]
        task.add_done_callback(_look)
        raise Gone(self.name) if self.gone.done() else TimeoutError

    async def pause(self, for_s: float) -> None:
        """As SIGSTOP, then SIGCONT."""
        since = self._loop.time()
        self.gate.freeze()
        await asyncio.sleep(for_s)
        self._history.troubles.append(Trouble(self.name, since, self._loop.time()))
        self.gate.thaw()

    async def cut_off(self, for_s: float) -> None:
        """Reaches neither the store nor the others."""
        self.view.is_cut = self.bus.is_cut = True
        await asyncio.sleep(for_s)
        self.view.is_cut = self.bus.is_cut = False

    def crash(self) -> None:
        """As SIGKILL."""
        self.is_up = False
        self.gate.kill()
        self._destination.crash()
        self._remains += self._loop.tasks_behind(self.gate)  # kept, so that nothing of them is cleaned up half way
        for task in self._remains:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        if self.bus in self._air.buses:
            self._air.buses.remove(self.bus)
        if not self.gone.done():
            self.gone.set_result(None)

    async def drain(self, grace_s: float) -> None:
        """Ends as a process does that was asked to."""
        self.is_up = False
        with suppress(Gone):
            await self.call(lambda: self.shut(grace_s), "drain")
        self.crash()


def _look(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # whoever asked for it is gone
