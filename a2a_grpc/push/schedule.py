"""When an attempt follows a failed one, and when there is no further one."""

from dataclasses import dataclass
from random import Random

from a2a_grpc.push.delivery import Outcome, Verdict

DELAYS_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0, 86400.0)
"""Seconds after each failed attempt. After one more attempt the delivery is dead."""
JITTER = 0.2
"""By which part a delay is longer or shorter at random, so that deliveries to a receiver do not come all at once."""
MAX_UNAUTHORIZED = 3
"""How many attempts may find that the receiver does not accept the credentials."""


@dataclass(frozen=True, slots=True)
class Done:
    """The receiver has the notification."""


@dataclass(frozen=True, slots=True)
class Again:
    """There is a further attempt."""

    wait_s: float
    """Seconds until the attempt."""


@dataclass(frozen=True, slots=True)
class Dead:
    """There is no further attempt."""

    reason: str
    """Why, for people."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The receiver wants nothing more of the config."""


Next = Done | Again | Dead | Ended


def after(attempt: int, outcome: Outcome, *, unauthorized: int, random: Random) -> Next:
    """Return what follows from an attempt.

    Args:
        attempt: Which attempt it was, from 1.
        outcome: Its outcome.
        unauthorized: How many attempts of the delivery had the outcome UNAUTHORIZED, including this one.
        random: The source of the jitter.
    """
    match outcome.verdict:
        case Verdict.DELIVERED:
            return Done()
        case Verdict.GONE:
            return Ended()
        case Verdict.REFUSED:
            return Dead(outcome.reason)
        case Verdict.UNAUTHORIZED if unauthorized >= MAX_UNAUTHORIZED:
            return Dead(f"{outcome.reason}, {unauthorized} times")
        case _ if attempt > len(DELAYS_S):
            return Dead(f"{outcome.reason}; this was attempt {attempt}, the last one")
    delay_s = DELAYS_S[attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    return Again(max(delay_s, outcome.retry_after_s or 0.0))
