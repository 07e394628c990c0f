"""Find out how long to wait before the next try."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays that double from `initial_s` to `maximum_s`.

    Each delay is shortened at random by up to a half, so that clients that wait for one server do not come back
    together.
    """

    initial_s: float
    maximum_s: float
    _tries: int = 0
    _random: random.Random = field(default_factory=random.Random)

    def next_s(self) -> float:
        """Return the next delay in seconds."""
        whole = min(self.initial_s * 2.0 ** min(self._tries, 64), self.maximum_s)
        self._tries += 1
        return whole * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin with the first delay again, after a success."""
        self._tries = 0
