"""The delays after which agents attach again, and the cause of losses that recur."""

import random
import time
from collections import deque

from a2a_grpc.backoff import Backoff

RETRY_INITIAL_S, RETRY_MAXIMUM_S = 0.2, 2.0
"""Seconds before the first and the later attempts to attach again."""

AGENTS_PER_S = 500
"""The number of agents that attach again in a second after their sentinel was lost."""

RENEWAL = (0.7, 0.8)
"""The share of the largest age of a connection at which an agent is asked to open a new tunnel. gRPC varies the age by
a tenth."""

RENEW_BEFORE_S = 30.0
"""Seconds before the end of an agent's credentials at which the agent is asked to attach with newer ones."""

TIMES = 3
"""The number of losses after the same time that have a common cause."""
TOLERANCE = 0.05
"""The share by which these times may differ from their mean."""
SHORTEST_S = 1.0
"""Shorter times are not those of a proxy. A tunnel that was lost so soon counts as an attempt that has failed."""


def spread_of(agents: int) -> float:
    """Return the seconds over which agents attach again to a sentinel that they have lost.

    Args:
        agents: The number of agents.
    """
    return min(max(agents / AGENTS_PER_S, RETRY_INITIAL_S), RETRY_MAXIMUM_S)


def renewal_s(max_age_s: float, ends_at: float | None) -> float | None:
    """Return the seconds after which an agent that has just attached is asked to open a new tunnel. None for never.

    Args:
        max_age_s: The largest age of a connection in seconds; 0 for no limit.
        ends_at: The Unix time in seconds at which the credentials of the agent end; None if they do not end.
    """
    ages = [max_age_s * random.uniform(*RENEWAL)] if max_age_s else []
    if ends_at is not None:
        left_s = ends_at - time.time()
        if left_s > RENEW_BEFORE_S:  # else the agent has no newer credentials
            ages.append(left_s - RENEW_BEFORE_S)
    return min(ages, default=None)


class ReattachDelay:
    """Decides after which delay an agent makes its next attempt to attach.

    Guarantees:

    - The first attempt after a loss comes after a random part of the time over which the sentinel spreads its agents,
      two seconds at most.
    - Further attempts come after random delays that grow up to two seconds. They grow also if each attempt succeeds,
      but the tunnel is lost within a second.
    """

    def __init__(self) -> None:
        self._backoff = Backoff(RETRY_INITIAL_S, RETRY_MAXIMUM_S)

    def after_loss_s(self, spread_s: float, age_s: float) -> float:
        """Return the delay after a tunnel was lost.

        Args:
            spread_s: The time over which the sentinel spreads its agents.
            age_s: The age of the tunnel.
        """
        delay_s = random.uniform(0, min(max(spread_s, RETRY_INITIAL_S), RETRY_MAXIMUM_S))
        if age_s < SHORTEST_S:
            return max(delay_s, self.after_failure_s())
        self._backoff.reset()
        return delay_s

    def after_failure_s(self) -> float:
        """Return the delay after an attempt that has failed."""
        return self._backoff.next_s()


class RecurringLoss:
    """Finds out if tunnels are lost after the same time again and again, as by the timeout of a proxy."""

    def __init__(self) -> None:
        self._ages: deque[float] = deque(maxlen=TIMES)

    def lost(self, age_s: float) -> float | None:
        """Note that a tunnel was lost. Return the mean age in seconds if the last three ages are the same, or None.

        Args:
            age_s: The age of the tunnel.
        """
        if age_s < SHORTEST_S:
            self._ages.clear()
            return None
        self._ages.append(age_s)
        mean = sum(self._ages) / len(self._ages)
        if len(self._ages) < TIMES or any(abs(age - mean) > TOLERANCE * mean for age in self._ages):
            return None
        self._ages.clear()
        return mean
