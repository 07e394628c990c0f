"""When a notification is tried again, with a clock of its own."""

from itertools import pairwise
from random import Random

import pytest

from a2a_grpc.push.delivery import Outcome, Verdict
from a2a_grpc.push.schedule import DELAYS_S, Again, Dead, Done, Ended, Next, after
from tests.covers import covers

pytestmark = covers("PUSH-5")

MINUTE, HOUR = 60.0, 3600.0
RETRY = Outcome(Verdict.RETRY, "the receiver answered 500")
UNAUTHORIZED = Outcome(Verdict.UNAUTHORIZED, "the receiver answered 401")


class Middle(Random):
    """A source without jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def attempts(outcomes: list[Outcome], random: Random) -> tuple[list[float], Next]:
    """Return at which times attempts with these outcomes are made, from 0 on, and what follows from the last one."""
    now, times, unauthorized = 0.0, [0.0], 0
    for attempt, outcome in enumerate(outcomes, 1):
        unauthorized += outcome.verdict is Verdict.UNAUTHORIZED
        step = after(attempt, outcome, unauthorized=unauthorized, random=random)
        if not isinstance(step, Again):
            return times, step
        now += step.wait_s
        times.append(now)
    raise AssertionError("the deliveries have no end")


def test_there_are_nine_attempts_in_two_days_and_then_the_delivery_is_dead() -> None:
    times, end = attempts([RETRY] * 100, Middle())
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == pytest.approx([5, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR])
    assert end == Dead("the receiver answered 500; this was attempt 9, the last one")


def test_each_wait_is_up_to_a_fifth_longer_or_shorter() -> None:
    random = Random(1)
    for attempt, delay_s in enumerate(DELAYS_S, 1):
        steps = [after(attempt, RETRY, unauthorized=0, random=random) for _ in range(200)]
        waits = [step.wait_s for step in steps if isinstance(step, Again)]
        assert len(waits) == 200
        assert 0.8 * delay_s <= min(waits) < 0.85 * delay_s
        assert 1.15 * delay_s < max(waits) <= 1.2 * delay_s


def test_the_third_refusal_of_the_credentials_is_the_end() -> None:
    times, end = attempts([UNAUTHORIZED] * 100, Middle())
    assert times == [0, 5, 65]
    assert end == Dead("the receiver answered 401, 3 times")
    times, _ = attempts([RETRY, UNAUTHORIZED, RETRY, UNAUTHORIZED, RETRY, UNAUTHORIZED], Middle())
    assert len(times) == 6


@pytest.mark.parametrize(
    ("verdict", "end"),
    [(Verdict.DELIVERED, Done()), (Verdict.GONE, Ended()), (Verdict.REFUSED, Dead("why"))],
)
def test_other_ends_come_at_once(verdict: Verdict, end: Next) -> None:
    for attempt in (1, 9, 12):
        assert after(attempt, Outcome(verdict, "why"), unauthorized=0, random=Random()) == end


def test_the_receiver_can_ask_for_a_longer_wait_and_not_for_a_shorter_one() -> None:
    for asked_s, wait_s in ((600.0, 600.0), (1.0, 5.0)):
        outcome = Outcome(Verdict.RETRY, "", retry_after_s=asked_s)
        assert after(1, outcome, unauthorized=0, random=Middle()) == Again(wait_s)
