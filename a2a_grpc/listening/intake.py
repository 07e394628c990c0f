"""Decide which connections have to wait, and in which order they pass."""

import math
from collections import Counter
from collections.abc import Callable

from a2a_grpc.listening.connections import Connection
from a2a_grpc.rpc.traffic import Account

WINDOW_S = 0.1
"""Seconds for which the work of a connection counts."""
CALL_WORK = 2048
"""The bytes that cost about as much to read as a call costs to begin."""
HEAVY = 16 * CALL_WORK
"""The work from which a connection may have to wait."""
KNOWN_S = 1.0
"""Seconds after which a connection is no new one."""
PLACES = 2
"""The number of heavy connections that pass also while many calls wait to be begun."""
PLACE_S = 0.25
"""Seconds for which such a connection passes."""
LET_IN_S, SLOW_LET_IN_S, LAST_LET_IN_S = 0.025, 0.075, 0.1
"""Seconds between two connections that pass. The second number is for a second after a connection was ended, and the
last one while many calls wait to be begun."""


class Load:
    """The work that a connection has made lately: the bytes that it sent, and its calls."""

    __slots__ = ("_accepted", "_at", "_received", "_since", "is_known", "size")

    def __init__(self, since: float) -> None:
        self.is_known = False
        """True if the connection is no new one, and none of its calls was charged."""
        self.size = 0.0
        """Bytes, and `CALL_WORK` for each call, of about the last `WINDOW_S`."""
        self._since = self._at = since
        self._received = self._accepted = 0

    def look(self, now: float, connection: Connection, account: Account) -> None:
        """Add the work that has come since the last look."""
        passed_s = now - self._at
        work = connection.received - self._received + CALL_WORK * (account.accepted - self._accepted)
        self.size = self.size * math.exp(-passed_s / WINDOW_S) + work * min(1.0, WINDOW_S / max(passed_s, 1e-6))
        self._at, self._received, self._accepted = now, connection.received, account.accepted
        self.is_known = bool(account.arrived) and not account.charged and now - self._since >= KNOWN_S

    @property
    def is_heavy(self) -> bool:
        """True if the connection may have to wait."""
        return self.size >= HEAVY


class Intake:
    """Lets connections wait, and lets them pass one after another.

    Guarantees:

    - New connections and suspects wait during an attack. A suspect that is cleared passes at once.
    - While many calls wait to be begun, suspects wait, too. So do connections of which no call was answered, unless
      they have been open for `KNOWN_S` and have sent a request. Forty new connections can send 4,000 calls in a moment.
    - Meanwhile those that send most wait as well, except `PLACES` of them. Others do not wait.
    - The connections that wait pass at a pace that the process can serve. Hosts take turns, and those without an ended
      connection come first. Of one host the connection that passed last comes last. Among those that have not
      passed before, connections whose calls were answered come first.
    """

    def __init__(self, is_proven: Callable[[str], bool]) -> None:
        self._is_proven = is_proven
        self.ended: Counter[str] = Counter()
        """The number of connections of each host that were ended during this attack."""
        self._suspects: set[Connection] = set()
        self._next: set[Connection] = set()
        self._at_once = 1
        self._passed_at = 0.0
        self._passed_hosts: dict[str, float] = {}
        self._passed: dict[Connection, float] = {}
        self._places: dict[Connection, float] = {}
        self._waiting: list[Connection] = []
        self._now = 0.0
        self._is_attacked = self._is_crowded = False
        self.is_open = False
        """True once `open` was called."""

    def begin(self, now: float, *, is_attacked: bool, is_crowded: bool) -> None:
        """Begin a look at all connections.

        Args:
            now: The time of the event loop.
            is_attacked: True during an attack.
            is_crowded: True if many calls wait to be begun.
        """
        self._now, self._is_attacked, self._is_crowded = now, is_attacked, is_crowded
        self._waiting = []

    def open(self) -> None:
        """Let all connections pass from now on."""
        self.is_open = True

    def look(self, connection: Connection, load: Load, *, is_suspect: bool) -> None:
        """Let a connection wait, or let it pass."""
        if connection.is_held:
            if self._may_pass(connection, load, is_suspect):
                connection.let_in()
                self._suspects.discard(connection)
            else:
                self._waiting.append(connection)
        elif self._must_wait(connection, load) or (is_suspect and (self._is_attacked or self._is_crowded)):
            connection.hold()
            self._waiting.append(connection)
            if is_suspect:
                self._suspects.add(connection)

    def end(self, *, is_slow: bool) -> int:
        """End the look, and choose the connections that pass in the next one. Return how many connections wait."""
        if not self._is_attacked:
            self.ended.clear()
            self._passed_hosts.clear()
        if not self._waiting:
            self._suspects.clear()
            self._passed.clear()
            self._passed_at = self._now
        pause_s = LAST_LET_IN_S if self._is_crowded else SLOW_LET_IN_S if is_slow else LET_IN_S
        self._next = self._chosen(pause_s)
        return len(self._waiting)

    def _may_pass(self, connection: Connection, load: Load, is_suspect: bool) -> bool:
        """Return True if it is the turn of a connection that waits, or if it is a suspect that is cleared."""
        if self.is_open or connection in self._next:
            return True
        if connection not in self._suspects or is_suspect:
            return False
        self._suspects.discard(connection)
        return not self._must_wait(connection, load)

    def _must_wait(self, connection: Connection, load: Load) -> bool:
        """Return True if a connection must wait, even if it is no suspect."""
        if not self._is_crowded:
            return False
        if not (load.is_known or self._is_proven(connection.peer)):
            return True
        return load.is_heavy and not self._has_place(connection)

    def _has_place(self, connection: Connection) -> bool:
        """Return True if a heavy connection is one of those that pass. Each has its place for `PLACE_S` at most."""
        if (until := self._places.get(connection)) is not None:
            return self._now < until
        self._places = {each: until for each, until in self._places.items() if self._now < until}
        if len(self._places) >= PLACES:
            return False
        self._places[connection] = self._now + PLACE_S
        return True

    def _chosen(self, pause_s: float) -> set[Connection]:
        """Return the connections that pass in the next look. Each time that this does no harm, twice as many pass."""
        if self._is_crowded or self._is_attacked:
            self._at_once = 1
        if not self._waiting or self._now - self._passed_at < pause_s:
            return set()

        def order(waiting: Connection) -> tuple[int, float, float, bool]:
            host = waiting.host
            return (
                self.ended[host],
                self._passed_hosts.get(host, 0.0),
                self._passed.get(waiting, 0.0),
                not self._is_proven(waiting.peer),
            )

        chosen = sorted(self._waiting, key=order)[: self._at_once]
        self._passed_at = self._now
        self._passed_hosts.update((each.host, self._now) for each in chosen)
        self._passed.update((each, self._now) for each in chosen)
        self._at_once *= 2
        return set(chosen)
