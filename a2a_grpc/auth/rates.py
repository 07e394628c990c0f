"""How often something may happen: a token bucket for each caller or address."""

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_KNOWN = 10_000
"""Buckets that are kept. The one that was used least recently is forgotten, which fills it."""


class Rates:
    """A token bucket for each key.

    A bucket holds up to `burst` tokens and gains `per_second` tokens a second. A new bucket is full.

    Guarantee: at most `MAX_KNOWN` buckets are kept.
    """

    def __init__(self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Take a token from the bucket of a key. Return 0, or the seconds after which the bucket has a token again."""
        now = self._clock()
        level, since = self._buckets.get(key, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._per_second)
        is_enough = level >= 1.0
        self._buckets[key] = (level - 1.0 if is_enough else level, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_KNOWN:
            self._buckets.popitem(last=False)
        return 0.0 if is_enough else (1.0 - level) / self._per_second
