"""Ids, times and jitter of the product, from the seed and the virtual clock for as long as a simulation runs."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch

from a2a_grpc import ids
from a2a_grpc.backoff import Backoff
from a2a_grpc.push import schedule
from tests.simulation.deliveries import DELAYS_S
from tests.simulation.loop import SimulatedLoop

EPOCH_NS = 1_700_000_000_000_000_000


@contextmanager
def seeded(random: Random, loop: SimulatedLoop) -> Iterator[None]:
    """Nothing that the product asks chance or the calendar for differs between two runs of a seed."""

    next_s = Backoff.next_s

    def jittered(backoff: Backoff) -> float:
        backoff._random = random
        return next_s(backoff)

    with (
        patch.object(os, "urandom", random.randbytes),
        patch.object(ids, "_ready", []),
        patch.object(time, "time_ns", lambda: EPOCH_NS + int(loop.time() * 1e9)),
        patch.object(Backoff, "next_s", jittered),
        patch.object(schedule, "DELAYS_S", DELAYS_S),
    ):
        yield
