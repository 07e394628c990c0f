"""Measure how busy this process is."""

import time
from collections.abc import Callable, Collection

from a2a_grpc.rpc.traffic import Account
from a2a_grpc.rpc.turns import Turns

CROWD, CROWD_END = 128, 32
"""If so many calls wait, this is a crowd, until fewer than the second number wait."""
CROWD_PEERS = 3
"""A crowd needs calls of so many connections. Two connections do not make others wait, since `Turns` is fair."""


class Usage:
    """Measures how much of a processor the process uses."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._used = time.process_time()
        self.process = 0.0
        """The processors that the process used between the last two looks. 1.0 is one processor."""

    def look(self) -> None:
        at, used = self._clock(), time.process_time()
        self.process = (used - self._used) / max(at - self._at, 1e-6)
        self._at, self._used = at, used


class Crowd:
    """Tells whether many calls wait. Such a state is called a crowd.

    A call waits if the server has not begun it yet, or if its request may not be sent yet, because too many other
    requests are arriving.

    Args:
        turns: Returns the calls that wait to be begun, of each port.
    """

    def __init__(self, turns: Callable[[], Collection[Turns]]) -> None:
        self._turns = turns
        self._calls = self._peers = 0
        self.is_there = False
        """True if there was a crowd at the last look."""

    def look(self) -> bool:
        """Return True if there is a crowd. Then count the calls that wait for a place again."""
        self.is_there = self._is_many(CROWD_END if self.is_there else CROWD)
        self._calls = self._peers = 0
        return self.is_there

    def count(self, account: Account) -> None:
        """Count the calls of a connection that wait for a place."""
        if waiting := account.waiting - account.arriving:
            self._calls += waiting
            self._peers += 1

    @property
    def is_coming(self) -> bool:
        """True if there is a crowd that was not there at the last look."""
        return not self.is_there and self._is_many(CROWD)

    def _is_many(self, calls: int) -> bool:
        all_turns = self._turns()
        peers = self._peers + sum(turns.peers for turns in all_turns)
        return peers >= CROWD_PEERS and self._calls + sum(turns.waiting for turns in all_turns) >= calls
