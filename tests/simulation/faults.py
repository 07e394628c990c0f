"""What goes wrong in a simulation, and how often: each seed has some kinds of faults and not others."""

from dataclasses import dataclass
from random import Random

LEASE_S = 1.0


@dataclass
class Faults:
    """The weather. Delays are always there; the rest stops once the simulation calms down."""

    random: Random
    slowness: float
    """1 where the store answers within milliseconds, more where calls of several replicas overlap for longer."""
    doubtful: float
    """Share of the calls of which nobody knows whether they happened."""
    late: float
    """Share of those that happen only after the caller was told that nobody knows."""
    lost: float
    """Share of the wakes that never arrive."""
    doubled: float
    hangs: float
    """Share of the calls that take a good part of a lease."""
    refused: float
    """Share of the notifications that their receivers refuse."""
    mute: float
    """Share of those that are taken, and not answered."""
    slow: float
    """Share of those that are answered late."""
    acts: tuple[str, ...]
    """What happens to replicas."""
    lasting_s: float
    """Until it calms down."""

    @classmethod
    def drawn(cls, random: Random) -> "Faults":
        def sometimes(share: float) -> float:
            return share if random.random() < 0.5 else 0.0

        acts = tuple(act for act in ("crash", "pause", "cut", "drain") if random.random() < 0.55)
        return cls(
            random,
            slowness=random.choice((0.2, 1.0, 1.0, 4.0)),
            doubtful=sometimes(random.choice((0.01, 0.05, 0.15))),
            late=sometimes(0.3),
            lost=sometimes(random.choice((0.1, 0.5, 1.0))),
            doubled=sometimes(0.2),
            hangs=sometimes(0.01),
            refused=sometimes(random.choice((0.1, 0.4))),
            mute=sometimes(0.2),
            slow=sometimes(0.3),
            acts=acts,
            lasting_s=random.uniform(2.0, 5.0),
        )

    @property
    def is_store_well(self) -> bool:
        """True if each call to the store is answered soon."""
        return not (self.doubtful or self.hangs or "cut" in self.acts or self.slowness > 1.0)

    def calm(self) -> None:
        self.doubtful = self.late = self.lost = self.doubled = self.hangs = 0.0
        self.refused = self.mute = self.slow = 0.0
        self.acts = ()

    def happens(self, share: float) -> bool:
        return share > 0.0 and self.random.random() < share

    def delay_s(self) -> float:
        """On the way to the store, or back."""
        if self.happens(self.hangs):
            return self.random.uniform(0.1, 0.9) * LEASE_S
        kind = self.random.random()
        if kind < 0.7:
            return self.random.random() * 0.002 * self.slowness
        return self.random.random() * (0.01 if kind < 0.95 else 0.05) * self.slowness
