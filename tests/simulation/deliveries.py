"""Deliveries of push notifications: the way of each replica to receivers, and the receivers."""

import asyncio

from a2a_grpc.push.delivery import Delivery, Outcome, Verdict
from a2a_grpc.store import PushClaim, PushStep, Then
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.simulation.faults import Faults
from tests.simulation.history import Attempt, Cursor, History, Taken
from tests.simulation.loop import NOBODY

DELAYS_S = (0.05, 0.1, 0.2, 0.4, *(0.8 for _ in range(60)))
"""Seconds between the attempts of a delivery in a simulation. There are so many that none dies."""


class SimulatedDestination:
    """What one replica has of the network: requests take time, are refused, are answered late or never."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, faults: Faults, history: History) -> None:
        self._name = name
        self._loop = loop
        self._faults = faults
        self._history = history
        self._open: list[Attempt] = []

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Every url is allowed."""

    def needs_settled(self, config: TaskPushNotificationConfig) -> bool:
        """Every second receiver gets settled tasks only, as agents do."""
        return config.id[-1] in "02468"

    async def deliver(self, delivery: Delivery) -> Outcome:
        begun = self._loop.time()
        attempt = Attempt(begun, self._name, delivery.task_id, delivery.config.id, delivery.seq, delivery.event)
        self._history.deliveries.append(attempt)
        self._open.append(attempt)
        answer: asyncio.Future[Outcome] = self._loop.create_future()
        arriving = self._loop.call_later(self._faults.delay_s(), self._arrive, attempt, answer, context=NOBODY)
        try:
            return await answer
        except asyncio.CancelledError:
            arriving.cancel()  # the connection is closed before the request has arrived
            raise
        finally:
            self._end(attempt)

    async def close(self) -> None:
        pass

    def crash(self) -> None:
        """End the connections, as the system does when a process ends."""
        for attempt in list(self._open):
            self._end(attempt)

    def _end(self, attempt: Attempt) -> None:
        if attempt in self._open:
            self._open.remove(attempt)
            attempt.ended = self._loop.time()

    def _arrive(self, attempt: Attempt, answer: "asyncio.Future[Outcome]") -> None:
        """The receiver has the request, and decides what it answers."""
        faults = self._faults
        self._history.arrivals.append(attempt)
        if faults.happens(faults.refused):
            self._answer(answer, Outcome(Verdict.RETRY, "the receiver answered 503"), faults.delay_s())
            return
        attempt.is_accepted = True
        if faults.happens(faults.mute):
            self._answer(answer, Outcome(Verdict.RETRY, "no answer"), 0.5 * faults.random.random())
            return
        slow_s = faults.random.random() if faults.happens(faults.slow) else 0.0
        self._answer(answer, Outcome(Verdict.DELIVERED), slow_s + faults.delay_s())

    def _answer(self, answer: "asyncio.Future[Outcome]", outcome: Outcome, delay_s: float) -> None:
        def tell() -> None:
            if not answer.done():
                answer.set_result(outcome)

        self._loop.call_later(delay_s, tell, context=NOBODY)


def note_claims(history: History, at: float, replica: str, claims: list[PushClaim]) -> None:
    """Write down which configs a replica has claimed."""
    for claim in claims:
        history.deliveries.append(Taken(at, claim.name.key.id, claim.name.id, claim.epoch, claim.seq, replica))


def note_step(history: History, at: float, replica: str, step: PushStep, then: Then) -> None:
    """Write down where the cursor of a config is now, and what happened to its claim."""
    history.deliveries.append(Cursor(at, step.name.key.id, step.name.id, step.epoch, step.seq, replica, then))
