"""Wakes between replicas that are late, lost or doubled."""

import asyncio
import contextvars

from a2a_grpc.bus import LocalBus
from a2a_grpc.bus.protocol import Key
from tests.simulation.faults import Faults


class LossyBus(LocalBus):
    """The bus of one replica: listeners of its own are woken at once, the others when chance wants it."""

    def __init__(self, air: "Air", context: contextvars.Context) -> None:
        super().__init__()
        self.context = context
        self.is_cut = False
        self._air = air

    def wake(self, key: Key) -> None:
        super().wake(key)
        if not self.is_cut:
            self._air.carry(self, key)

    def hear(self, key: Key) -> None:
        if not self.is_cut and (topic := self._topics.get(key)):
            topic.invalidate()


class Air:
    """What the buses of all replicas share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, faults: Faults) -> None:
        self._loop = loop
        self._faults = faults
        self.buses: list[LossyBus] = []

    def carry(self, sender: LossyBus, key: Key) -> None:
        faults = self._faults
        for bus in self.buses:
            if bus is sender or faults.happens(faults.lost):
                continue
            for _ in range(2 if faults.happens(faults.doubled) else 1):
                delay_s = faults.random.random() * (0.3 if faults.happens(faults.doubled) else 0.005)
                self._loop.call_later(delay_s, bus.hear, key, context=bus.context)
