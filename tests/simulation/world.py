"""One simulation: replicas, clients, faults; then calm, in which everything must come to its end."""

import asyncio
import logging
import warnings
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

from a2a_grpc import lifecycle
from a2a_grpc.engine import EngineSettings
from a2a_grpc.store import StoreUnavailable, TaskKey
from tests.simulation import deliveries_checker as deliveries
from tests.simulation.bus import Air
from tests.simulation.chance import seeded
from tests.simulation.client import Client, GaveUp
from tests.simulation.faults import LEASE_S, Faults
from tests.simulation.history import History
from tests.simulation.loop import Gate, SimulatedLoop
from tests.simulation.replica import Gone, SimulatedReplica
from tests.simulation.store import FaultyStore

CALM_S = 25.0
"""Within this time after the last fault every task must have ended, or wait for its user."""
LAST_ANSWERS = 40
"""Rounds in which what waits for its user is answered."""


class World:
    """All that there is in one simulation."""

    def __init__(self, seed: int, loop: SimulatedLoop, random: Random) -> None:
        self.loop = loop
        self.random = random
        self.faults = Faults.drawn(random)
        self.settings = EngineSettings(
            block_warning_s=0.0,  # time is simulated, threads are not
            lease_s=LEASE_S,
            poll_interval_s=0.5,
            cancel_grace_s=0.5,
            max_attempts=random.choice((1, 3, 5)),
            max_runs=random.choice((1, 3, 100)),
            max_queued_runs=random.choice((0, 3, 1000)),
            max_queued_turns=random.choice((0, 2, 16)),
            ask_hold_s=random.choice((0.0, 0.5, 60.0)),
            max_held_asks=random.choice((0, 1, 1000)),
            max_runs_per_caller=random.choice((0, 0, 1)),
        )
        self.history = History(LEASE_S, self.settings.max_attempts, is_resumable=random.random() < 0.65)
        self.history.sends_all = random.random() < 0.3
        self.history.is_store_well = self.faults.is_store_well
        self.store = FaultyStore(loop, self.history, self.faults)
        self.air = Air(loop, self.faults)
        self.replicas: list[SimulatedReplica] = []
        self._wanted = random.choice((1, 2, 2, 3))
        self._names = (f"r{number}" for number in count(1))
        self._runs = count(1)
        self._is_over = False

    def pick(self) -> SimulatedReplica:
        """A replica that is up. Raises Gone where there is none."""
        up = [replica for replica in self.replicas if replica.is_up]
        if not up:
            raise Gone("all")
        return self.random.choice(up)

    def impatient(self, share: float = 0.05) -> bool:
        """Whether a caller leaves before its answer comes, this time."""
        return bool(self.faults.acts) and self.random.random() < share

    def purge(self, key: TaskKey) -> None:
        """Purge a task that has ended, and that no process works on: the retention is longer than a pause."""
        has_run = any(replica.engine._runs.get(key) for replica in self.replicas if not replica.gate.is_dead)
        if self.store.heads[key].state in lifecycle.TERMINAL and not has_run:
            self.store.purge_one(key)

    async def live(self) -> None:
        """From the first replica to the last."""
        keeper = asyncio.create_task(self._keep_replicas())
        chaos = asyncio.create_task(self._be_chaos())
        clients = [Client(self, f"c{number}") for number in range(self.random.randint(2, 6))]
        try:
            stories = [asyncio.create_task(client.live(self.faults.lasting_s)) for client in clients]
            await chaos
            self.faults.calm()
            await self._quiet()
            try:
                await self._answer_all(clients[0], stories)
            except GaveUp as error:
                self.history.complaints.append(f"{error} did not succeed, however often")
            done, late = await asyncio.wait(stories, timeout=LEASE_S)
            self.history.complaints += [f"a client's story failed: {task.exception()!r}" for task in done
                                        if task.exception()]  # fmt: skip
            self.history.complaints += ["a client still waits in the end" for _ in late]
            for task in late:
                task.cancel()
            await self._quiet()  # a story's last words may have begun a task
            await self._delivered()
        finally:
            self._is_over = True
            keeper.cancel()
        self.take_stock()
        await self._end()

    def take_stock(self) -> None:
        """Writes down what the store holds."""
        self.history.heads = {key.id: head for key, head in self.store.heads.items()}
        self.history.logs = {key.id: self.store.records(key) for key in self.store.heads}
        self.history.pushes = {(name.key.id, name.id): is_dead for name, is_dead in self.store.pushes().items()}

    async def _keep_replicas(self) -> None:
        """As an orchestrator does: a replica that ends is replaced after a while."""
        while not self._is_over:
            if sum(replica.is_up for replica in self.replicas) < self._wanted:
                replica = SimulatedReplica(
                    next(self._names), self.loop, self.store, self.air, self.history, self.settings,
                    lambda: next(self._runs), self.faults,
                )  # fmt: skip
                self.replicas.append(replica)
                with suppress(StoreUnavailable, Gone):
                    await replica.start()
            await asyncio.sleep(self.random.uniform(0.05, 0.5))

    async def _be_chaos(self) -> None:
        """Something happens to a replica now and then."""
        end = self.loop.time() + self.faults.lasting_s
        acting = set[asyncio.Task[None]]()
        while self.loop.time() < end:
            await asyncio.sleep(self.random.expovariate(1.5))
            if self.faults.acts:
                acting.add(asyncio.create_task(self._act(self.random.choice(self.faults.acts))))
        if acting:
            await asyncio.wait(acting)

    async def _act(self, act: str) -> None:
        random = self.random
        with suppress(Gone):
            replica = self.pick()
            if act == "crash":
                replica.crash()
            elif act == "pause" and not replica.gate.is_frozen:
                await replica.pause(random.choice((0.1, 0.8, 1.5, 3.0)) * LEASE_S * random.random())
            elif act == "cut":
                await replica.cut_off(random.choice((0.1, 0.8, 1.5, 3.0)) * LEASE_S * random.random())
            elif act == "drain" and not replica.gate.is_frozen:
                await replica.drain(random.choice((0.0, 0.3)))

    def _is_quiet(self) -> bool:
        return all(
            head.state in lifecycle.TERMINAL or (head.state in lifecycle.INTERRUPTED and head.last_turn == head.turn)
            for head in self.store.heads.values()
        )

    async def _quiet(self) -> None:
        """Waits until everything has ended or waits for its user, for as long as that may take."""
        end = self.loop.time() + CALM_S
        while not self._is_quiet() and self.loop.time() < end:
            await asyncio.sleep(0.25)

    async def _delivered(self) -> None:
        """Wait until every receiver has got the newest event, for as long as that may take."""
        end = self.loop.time() + CALM_S
        while self.loop.time() < end:
            self.take_stock()
            if not any(deliveries.the_newest_event_was_delivered(self.history)):
                return
            await asyncio.sleep(0.25)

    async def _answer_all(self, client: Client, stories: list["asyncio.Task[None]"]) -> None:
        """Answers what waits for its user, until nothing does any more and every story has its end."""
        for _ in range(LAST_ANSWERS):
            waiting: list[TaskKey] = [
                key for key, head in self.store.heads.items() if head.state in lifecycle.INTERRUPTED
            ]
            if not waiting:
                await asyncio.wait(stories, timeout=CALM_S / LAST_ANSWERS)
                if all(story.done() for story in stories):
                    return
            for key in waiting:
                await client.send(".", key.id)
            await self._quiet()

    async def _end(self) -> None:
        """The replicas end in order; nothing of them is left."""
        await asyncio.sleep(2 * LEASE_S)
        for replica in self.replicas:
            if replica.is_up:
                if not replica.engine.is_healthy:
                    self.history.complaints.append(f"{replica.name} is not healthy in the end")
                replica.is_up = False
                await replica.call(lambda: replica.shut(0.0), "drain", CALM_S)  # noqa: B023
                await asyncio.sleep(LEASE_S)  # its last call to the store may outlive it by a moment
                left = [task.get_name() for task in self.loop.tasks_behind(replica.gate)]
                if left:
                    self.history.complaints.append(f"{replica.name} left {left}")
            replica.crash()


class _Errors(logging.Handler):
    """Errors in the product's log are complaints."""

    def __init__(self, history: History) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        error = f": {record.exc_info[1]!r}" if record.exc_info and record.exc_info[1] else ""
        self._history.complaints.append(f"logged: {record.getMessage()}{error}")


def simulate(seed: int) -> History:
    """What happened in the simulation of a seed: the same each time."""
    random = Random(seed)
    loop = SimulatedLoop(random)
    logger = logging.getLogger("a2a_grpc")
    level = logger.level
    with seeded(random, loop):
        world = World(seed, loop, random)
        errors = _Errors(world.history)
        loop.set_exception_handler(lambda _, context: _complain(world.history, context))
        logger.addHandler(errors)
        logger.setLevel(logging.ERROR)
        logger.propagate, propagates = False, logger.propagate
        try:
            loop.run_until_complete(world.live())
        except RuntimeError as stuck:
            world.history.complaints.append(f"the simulation ended with {stuck!r}")
            world.take_stock()
        finally:
            logger.removeHandler(errors)
            logger.setLevel(logging.CRITICAL + 1)
            _bury(loop)
            logger.setLevel(level)
            logger.propagate = propagates
    return world.history


def _complain(history: History, context: dict[str, Any]) -> None:
    gate: Gate | None = getattr(context.get("task"), "gate", None)
    if gate is not None and gate.is_dead:
        return  # nobody is left who could have ended it
    history.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def _bury(loop: SimulatedLoop) -> None:
    """Ends what was killed: it never runs again, and nobody is to wonder about it."""
    loop.set_exception_handler(lambda _, context: None)
    with warnings.catch_warnings():
        # Cleanups begin what cannot go on.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        for task in list(loop.unfinished):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(Exception):
                task.get_coro().close()
    loop.close()
